"""A done trial, found by its folder, its id or its cell, and what of its model was kept."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.text import shown
from xlt.data.dataset.schema import BINARY
from xlt.trainables.models.base_models import MINIATURE, BaseModel, identity
from xlt.trainables.results.plan import Plan, PlannedTrial
from xlt.trainables.results.result import Results, TrialState
from xlt.trainables.spec.trial_spec import TrialSpec

FOLDER_SHA256 = "sha256:"
"""What the identity of a base model from a local folder begins with."""
NUM_NEAR = 3
"""Ids that an error names."""


@dataclass(frozen=True)
class FinishedTrial:
    """A done trial that kept its model.

    Attributes:
        uri: The results location.
        spec: The trial; its ``base_path`` is where the base model lies now.
        signature: What its numbers depend on beside the spec.
        files: Name of a weights file in its folder -> SHA-256.
        classes: Name of each class.
        moved: Whether its base model lies elsewhere than when it was trained.
    """

    uri: str
    spec: TrialSpec
    signature: Mapping[str, Any]
    files: Mapping[str, str]
    classes: tuple[str, ...]
    moved: bool = False

    @property
    def trial_id(self) -> str:
        """Names its folder."""
        return self.spec.trial_id


def find_trial(
    trial: str,
    trial_id: str | None = None,
    *,
    model: str | None = None,
    pattern: str | None = None,
    seed: int | None = None,
    base_path: str | None = None,
) -> FinishedTrial:
    """Find a done trial that kept its model.

    Args:
        trial: ``RESULTS/trials/<trial_id>``, or RESULTS and one of the ways below; local paths or
            pyarrow.fs URIs.
        trial_id: Its id, or a beginning that no other trial's id has.
        model: Name of its base model, with ``pattern`` and ``seed`` as far as they are needed.
        pattern: Name of its pattern.
        seed: Its seed.
        base_path: Folder where its base model lies now, if it was moved.

    Raises:
        InputError: No such trial, or several; it is not done, kept no model, or the folder does
            not hold its base model.
    """
    root, _, name = trial.rstrip("/").rpartition("/trials/")
    by_cell = not (model is None and pattern is None and seed is None)
    ways = [bool(root), trial_id is not None, by_cell]
    if sum(ways) != 1:
        raise InputError(
            "a trial is named in one way: RESULTS/trials/ID, or RESULTS with --trial ID, or "
            "RESULTS with --model, --pattern and --seed",
            trial,
        )
    results = Results(root or trial)
    results.check()
    plans = [results.read_plan(name) for name in results.experiments()]
    if by_cell:
        found = _by_cell(plans, model, pattern, seed, results.uri)
    else:
        found = _by_id(results, trial_id or name)
    state = results.state(found)
    try:
        files = kept_files(state)
    except InputError as error:
        raise InputError(error.problems, results.path("trials", found)) from error
    record: Any = state.record
    spec = TrialSpec.parse(record["spec"])
    done = FinishedTrial(
        uri=results.uri,
        spec=spec,
        signature=record["signature"],
        files=files,
        classes=_classes(plans, results, found),
    )
    return _with_base(done, base_path)


def kept_files(state: TrialState) -> dict[str, str]:
    """The weights that a trial kept.

    Args:
        state: What lies in its folder.

    Returns:
        Name of each file, below the trial's folder -> its SHA-256.

    Raises:
        InputError: The trial is not done or kept none.
    """
    if state.state != "done" or state.record is None:
        detail = f": {state.detail}" if state.detail else ""
        raise InputError(f"the trial is {state.state}{detail}; `xlt run` finishes it")
    files = state.record["files"]
    names = sorted(n for n in files if n.startswith("model/") and n.endswith(".safetensors"))
    if not names:
        kept = "adapters" if state.record["spec"]["method"] == "lora" else "all"
        raise InputError(
            "the trial kept no model; remove its folder and train it again with "
            f"storage.keep_models={kept} (to explain it, an `explain` block does, too)"
        )
    return {name: files[name]["sha256"] for name in names}


def _by_id(results: Results, name: str) -> str:
    ids = results.trial_ids()
    if name in ids:
        return name
    fitting = [i for i in ids if name and i.startswith(name)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise InputError(
            f"{len(fitting)} trials begin with {name!r}: {shown(fitting)}; give more of the id",
            results.uri,
        )
    near = difflib.get_close_matches(name, ids, n=NUM_NEAR, cutoff=0.3)
    hint = f" Nearest: {', '.join(near)}." if near else ""
    raise InputError(
        f"unknown trial {name!r} among {len(ids)}.{hint} `xlt status` lists what is there.",
        results.uri,
    )


def _by_cell(
    plans: Iterable[Plan], model: str | None, pattern: str | None, seed: int | None, uri: str
) -> str:
    cells = [cell for plan in plans for cell in plan.cells]
    if not cells:
        raise InputError("holds no experiment; give a results location", uri)
    _known("model", model, (cell.base_model for cell in cells), uri)
    _known("pattern", pattern, (cell.pattern for cell in cells), uri)
    chosen = [c for c in cells if model in (None, c.base_model) and pattern in (None, c.pattern)]
    trials = [trial for cell in chosen for trial in cell.trials]
    _known("seed", seed, (trial.seed for trial in trials), uri)
    found = dict.fromkeys(trial.trial_id for trial in trials if seed in (None, trial.seed))
    if len(found) == 1:
        return next(iter(found))
    named = [f"model={model}", f"pattern={pattern}", f"seed={seed}"]
    asked = ", ".join(part for part in named if not part.endswith("None"))
    raise InputError(
        f"{len(found)} trials have {asked}: {shown(found)}; say more, or give --trial", uri
    )


def _known(kind: str, value: object, known: Iterable[object], uri: str) -> None:
    names = {str(name) for name in known}
    if value is not None and str(value) not in names:
        raise InputError(unknown(kind, str(value), names), uri)


def _classes(plans: Iterable[Plan], results: Results, trial_id: str) -> tuple[str, ...]:
    """Names of the classes, from the plan that has the trial; without one, as far as known."""

    def trials(plan: Plan) -> Iterable[PlannedTrial]:
        return (trial for cell in plan.cells for trial in (*cell.trials, *cell.replaced))

    for plan in plans:
        if any(trial.trial_id == trial_id for trial in trials(plan)):
            return plan.class_names
    scores = results.read_table(trial_id, "predictions.parquet", ["y_score"])["y_score"]
    return tuple(map(str, range(len(scores[0])))) if pa.types.is_list(scores.type) else BINARY


def _with_base(trial: FinishedTrial, base_path: str | None) -> FinishedTrial:
    """The trial with the place where its base model lies, checked as far as no weights are read."""
    spec = trial.spec
    of_folder = spec.base_identity.startswith(FOLDER_SHA256)
    if base_path is None:
        if of_folder and not Path(spec.base_path).is_dir():
            raise InputError(
                f"base model {spec.base_model!r} is no longer in {spec.base_path!r}; "
                "--base-path says where it is now",
                trial.trial_id,
            )
        return trial
    if spec.base_identity.startswith(MINIATURE):
        raise InputError(
            f"base model {spec.base_model!r} is a miniature, which lies in the cache; leave "
            "--base-path out, and set XLT_CACHE if the cache was moved"
        )
    folder = Path(base_path).expanduser().absolute()
    if not folder.is_dir():
        raise InputError(f"--base-path {base_path!r} is no folder; give that of the base model")
    if of_folder:
        known = BaseModel(
            name=spec.base_model, path=str(folder), method=spec.method, learning_rate=1.0
        )
        if identity(known) != spec.base_identity:
            raise InputError(
                f"the files in {str(folder)!r} are not those of base model {spec.base_model!r} "
                f"({spec.base_identity[:19]}...); give a folder with the same names and contents"
            )
    moved = spec.model_copy(update={"base_path": str(folder)})
    return replace(trial, spec=moved, moved=True)
