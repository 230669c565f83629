"""Find a done trial by its folder, its id or its cell, and the weights that it kept."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.text import first_few
from xlt.data.dataset.schema import BINARY
from xlt.trainables.models.base_models import MINIATURE, BaseModel, identify
from xlt.trainables.results.best_model import HOW_CHOSEN
from xlt.trainables.results.layout import is_weights, split_trial_uri
from xlt.trainables.results.plan import Plan, PlannedTrial
from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import TrialState
from xlt.trainables.spec.methods import BASELINES, OF_A_PART
from xlt.trainables.spec.trial_spec import TrialSpec

FOLDER_SHA256 = "sha256:"
"""Prefix of the identity of a base model from a local folder."""
NUM_NEAR = 3
"""Number of similar ids in an error."""


@dataclass(frozen=True)
class FinishedTrial:
    """A done trial that kept its weights.

    Attributes:
        uri: Results location.
        spec: The trial; its ``base_path`` is the present place of the base model.
        signature: Everything beside the spec that its numbers depend on.
        files: Name of a weights file in its folder -> SHA-256.
        classes: Name of each class.
        chosen: Why the model of this trial was kept and not those of other seeds; empty if the
            experiment did not choose.
        moved: Whether the base model was moved after the training.
        prevalence: Share of class 1 among the texts that its task is about; None: not known.
    """

    uri: str
    spec: TrialSpec
    signature: Mapping[str, Any]
    files: Mapping[str, str]
    classes: tuple[str, ...]
    chosen: str = ""
    moved: bool = False
    prevalence: float | None = None

    @property
    def trial_id(self) -> str:
        """Name of its folder."""
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
    """Find a done trial that kept its weights.

    Args:
        trial: Folder of the trial, ``RESULTS/trials/<trial_id>``; or RESULTS together with
            ``trial_id`` or with ``model``, ``pattern`` and ``seed``. A local path or a pyarrow.fs
            URI.
        trial_id: Id of the trial, or an unambiguous beginning of it.
        model: Name of the base model; ``pattern`` and ``seed`` are needed only to select one of
            several trials.
        pattern: Name of the pattern.
        seed: Seed of the trial.
        base_path: Present folder of the base model, if it was moved.

    Raises:
        InputError: There is no such trial, or there are several; the trial is not done or kept no
            weights; or the folder does not hold its base model.
    """
    root, name = split_trial_uri(trial)
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
        full_id = _by_cell(plans, results, model, pattern, seed)
    else:
        full_id = _by_id(results, trial_id or name)
    state = results.state(full_id)
    try:
        files = list_kept_weights(state)
    except InputError as error:
        raise InputError(error.problems, results.trial_path(full_id)) from error
    record: Any = state.record
    spec = TrialSpec.parse(record["spec"])
    plan = _plan_of(plans, full_id)
    done = FinishedTrial(
        uri=results.uri,
        spec=spec,
        signature=record["signature"],
        files=files,
        classes=plan.class_names if plan else _default_classes(results, full_id),
        prevalence=plan.prevalence if plan else None,
        chosen=HOW_CHOSEN if record.get("execution", {}).get("keep_models") == "best" else "",
    )
    return _with_base(done, base_path)


def list_kept_weights(state: TrialState) -> dict[str, str]:
    """List the weights that a trial kept.

    Args:
        state: State of the trial's folder.

    Returns:
        File name, relative to the trial's folder -> SHA-256.

    Raises:
        InputError: The trial is not done or kept no weights.
    """
    if state.state != "done" or state.record is None:
        detail = f": {state.detail}" if state.detail else ""
        raise InputError(f"the trial is {state.state}{detail}; `xlt run` finishes it")
    files = state.record["files"]
    names = sorted(filter(is_weights, files))
    method = state.record["spec"]["method"]
    if not names and method in BASELINES:
        raise InputError(f"method {method} keeps no model; choose a trial of a fine-tuning method")
    if not names:
        kept = "adapters" if method in OF_A_PART else "all"
        raise InputError(
            "the trial kept no model; remove its folder and train it again with "
            f"storage.keep_models={kept} (to explain it, an `explain` block does, too)"
        )
    return {name: files[name]["sha256"] for name in names}


def _by_id(results: Results, name: str) -> str:
    ids = results.trial_ids()
    if name in ids:
        return name
    matches = [i for i in ids if name and i.startswith(name)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise InputError(
            f"{len(matches)} trials begin with {name!r}: {first_few(matches)}; give more of the id",
            results.uri,
        )
    near = difflib.get_close_matches(name, ids, n=NUM_NEAR, cutoff=0.3)
    hint = f" Nearest: {', '.join(near)}." if near else ""
    raise InputError(
        f"unknown trial {name!r} among {len(ids)}.{hint} `xlt status` lists the trials.",
        results.uri,
    )


def _by_cell(
    plans: Iterable[Plan], results: Results, model: str | None, pattern: str | None,
    seed: int | None,
) -> str:  # fmt: skip
    """The only trial of the cell, or the only one that kept weights (``keep_models: best``)."""
    uri = results.uri
    cells = [cell for plan in plans for cell in plan.cells]
    if not cells:
        raise InputError("holds no experiment; give a results location", uri)
    _known("model", model, (cell.base_model for cell in cells), uri)
    _known("pattern", pattern, (cell.pattern for cell in cells), uri)
    chosen = [c for c in cells if model in (None, c.base_model) and pattern in (None, c.pattern)]
    trials = [trial for cell in chosen for trial in cell.trials]
    _known("seed", seed, (trial.seed for trial in trials), uri)
    matches = dict.fromkeys(trial.trial_id for trial in trials if seed in (None, trial.seed))
    if len(matches) == 1:
        return next(iter(matches))
    states = results.states(matches)
    kept = [i for i in matches if any(map(is_weights, (states[i].record or {}).get("files", ())))]
    if len(kept) == 1:
        return kept[0]
    conditions = [f"model={model}", f"pattern={pattern}", f"seed={seed}"]
    given = ", ".join(condition for condition in conditions if not condition.endswith("None"))
    raise InputError(
        f"{len(matches)} trials have {given}: {first_few(matches)}; "
        "give more of --model, --pattern and --seed, or give --trial",
        uri,
    )


def _known(kind: str, value: object, known: Iterable[object], uri: str) -> None:
    names = {str(name) for name in known}
    if value is not None and str(value) not in names:
        raise InputError(unknown(kind, str(value), names), uri)


def _plan_of(plans: Iterable[Plan], trial_id: str) -> Plan | None:
    """The first plan that has the trial."""

    def trials(plan: Plan) -> Iterable[PlannedTrial]:
        return (trial for cell in plan.cells for trial in (*cell.trials, *cell.replaced))

    return next((p for p in plans if any(t.trial_id == trial_id for t in trials(p))), None)


def _default_classes(results: Results, trial_id: str) -> tuple[str, ...]:
    """Names of the classes of a trial without a plan."""
    table = results.read_table(trial_id, "predictions", ["y_score"])
    if not table.num_rows or not table.column_names:
        raise InputError(f"the predictions of trial {trial_id} hold no scores; run it again")
    scores = table["y_score"]
    return tuple(map(str, range(len(scores[0])))) if pa.types.is_list(scores.type) else BINARY


def _with_base(trial: FinishedTrial, base_path: str | None) -> FinishedTrial:
    """Set the present place of the trial's base model, and check it without reading weights."""
    spec = trial.spec
    of_folder = spec.base_identity.startswith(FOLDER_SHA256)
    if base_path is None:
        if of_folder and not Path(spec.base_path).is_dir():
            raise InputError(
                f"base model {spec.base_model!r} is no longer in {spec.base_path!r}; "
                "give its present folder with --base-path",
                trial.trial_id,
            )
        return trial
    if spec.base_identity.startswith(MINIATURE):
        raise InputError(
            f"base model {spec.base_model!r} is a miniature in the cache folder; omit "
            "--base-path, and set XLT_CACHE if the cache folder was moved"
        )
    folder = Path(base_path).expanduser().absolute()
    if not folder.is_dir():
        raise InputError(f"--base-path {base_path!r} is no folder; give the base model's folder")
    if of_folder:
        given = BaseModel(
            name=spec.base_model, path=str(folder), method=spec.method, learning_rate=1.0
        )
        if identify(given) != spec.base_identity:
            raise InputError(
                f"the files in {str(folder)!r} differ from base model {spec.base_model!r} "
                f"({spec.base_identity[:19]}...); give a folder with the same files"
            )
    moved = spec.model_copy(update={"base_path": str(folder)})
    return replace(trial, spec=moved, moved=True)
