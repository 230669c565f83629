"""What a worker process does for any backend: each trial to a result folder, errors recorded."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from xlt.data.core.errors import InputError
from xlt.data.core.retry import retry
from xlt.data.dataset.schema import Dataset
from xlt.trainables.results.attributions import save_attributions
from xlt.trainables.results.best_model import drop_worse_models
from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import TrialResult
from xlt.trainables.spec.explain import Explain
from xlt.trainables.spec.trial_spec import TrialSpec

if TYPE_CHECKING:
    from xlt.trainables.training.checkpoints import Checkpoints

REPORT_SECONDS = 1.0
"""Least time between two progress reports of a trial; each one passes through the driver."""

Report = Callable[[int, int, float], None]


@dataclass(frozen=True)
class ArtifactPolicy:
    """What trials leave besides their results; it changes no number.

    Attributes:
        models: Which weights, see :func:`run_trial`.
        cells: With best: trial id -> the trials of its cell.
        explain: How test rows are explained, while the weights are there; None: not.
        checkpoint_minutes: Least time between two checkpoints while it trains; None: none.
    """

    models: Literal["none", "adapters", "all", "best"] = "none"
    cells: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    explain: Explain | None = None
    checkpoint_minutes: float | None = None


def run_and_save(
    spec: TrialSpec,
    dataset: Dataset,
    results: Results,
    policy: ArtifactPolicy,
    report: Report,
    preempted: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Run a trial and write its folder.

    Each worker of a group calls this; the first one writes, and its outcome counts.

    An error is a result too: it is written to the folder and returned, so that the process stays
    warm for the next trial. Only what ends the process itself is left to the backend, and a
    location that takes no files: more trials would be computed for nothing.

    Args:
        spec: The trial.
        dataset: The rows that it draws from.
        results: Where its folder goes.
        policy: Which files besides the result it keeps.
        report: Told (step, num_steps, loss).
        preempted: Whether its machine is taken away; the trial then saves a checkpoint and ends.

    Returns:
        ``{"metrics": {name: value}, "convergence": {name: value}}``, ``{"error": text}``,
        ``{"left": step}`` of a trial that goes on from its checkpoint, or ``{"unwritable": text}``
        where neither could be written.
    """
    from xlt.trainables.training.checkpoints import PreemptedError  # torch: not needed to launch
    from xlt.trainables.training.loop import DivergedError
    from xlt.trainables.training.workers import Workers
    from xlt.trainables.trial.run_trial import run_trial

    workers = Workers.current()
    try:
        result = run_trial(
            spec,
            dataset,
            report=report,
            keep_models=policy.models,
            explain=policy.explain,
            checkpoints=_checkpoints(spec, results, policy, preempted),
        )
    except Exception as error:
        # What all workers see ends them at the same step; what befalls one of them alone has to
        # end its group, because the others wait for it.
        if workers.size > 1 and not isinstance(error, (DivergedError, PreemptedError)):
            raise
        return _write(spec, error, results, policy) if workers.is_first else {}
    return _write(spec, result, results, policy) if workers.is_first else {}


def run_and_save_pack(
    specs: Sequence[TrialSpec],
    dataset: Dataset,
    results: Results,
    policy: ArtifactPolicy,
    reports: Mapping[str, Report],
    preempted: Callable[[], bool] = lambda: False,
    later: TrialSpec | None = None,
) -> Iterator[tuple[TrialSpec, dict[str, Any]]]:
    """Run trials side by side (:func:`run_pack`) and write their folders.

    Args:
        specs: The members; a single one is run alone.
        dataset: The rows that they draw from.
        results: Where their folders go.
        policy: Which files besides the results they keep.
        reports: By trial id, told (step, num_steps, loss).
        preempted: As of :func:`run_and_save`.
        later: A trial that is likely to start here after them: its base model, if it is another
            one, is read meanwhile.

    Yields:
        Each member as soon as it ended, with what :func:`run_and_save` returns of it.
    """
    from xlt.trainables.loading.read_ahead import read_ahead
    from xlt.trainables.trial.run_pack import run_pack  # torch: not needed to launch

    if later and later.base_identity != specs[0].base_identity:
        read_ahead(later)
    kept = {spec.trial_id: _checkpoints(spec, results, policy, preempted) for spec in specs}
    ended = run_pack(
        specs,
        dataset,
        report=lambda spec, *progress: reports[spec.trial_id](*progress),
        keep_models=policy.models,
        explain=policy.explain,
        checkpoints={trial_id: one for trial_id, one in kept.items() if one},
    )
    for spec, result in ended:
        yield spec, _write(spec, result, results, policy)


def _checkpoints(
    spec: TrialSpec, results: Results, policy: ArtifactPolicy, preempted: Callable[[], bool]
) -> Checkpoints | None:
    """Where a trial's state is kept while it trains, if it is."""
    from xlt.trainables.training.checkpoints import Checkpoints
    from xlt.trainables.trial.signature import versions

    minutes = policy.checkpoint_minutes
    if minutes is None:
        return None
    return Checkpoints(results, spec.trial_id, 60 * minutes, versions(), preempted)


def _write(
    spec: TrialSpec, ended: TrialResult | Exception, results: Results, policy: ArtifactPolicy
) -> dict[str, Any]:
    """Write what became of a trial, and drop its checkpoint; returns as :func:`run_and_save`."""
    from xlt.trainables.training.checkpoints import PreemptedError

    if isinstance(ended, PreemptedError):
        return {"left": ended.step}
    if isinstance(ended, Exception):
        outcome = record_failure(spec, results, ended)
    else:
        outcome = _save(ended, results, policy)
    if "unwritable" not in outcome:  # else the trial goes on from it
        with suppress(OSError):  # it is in no one's way
            results.remove_checkpoint(spec.trial_id)
    return outcome


def _save(result: TrialResult, results: Results, policy: ArtifactPolicy) -> dict[str, Any]:
    """Write a result's folder; returns as :func:`run_and_save`."""
    trial_id = result.spec.trial_id
    try:
        retry(lambda: results.save(result))
        if attributions := result.attributions:
            retry(lambda: save_attributions(results, trial_id, attributions))
        if policy.models == "best":
            drop_worse_models(results, policy.cells.get(trial_id, ()))
    except (pa.ArrowException, OSError, InputError) as error:  # the last of folders that it reads
        return {"unwritable": str(error)}
    return {"metrics": result.metrics, "convergence": result.convergence}


def record_failure(spec: TrialSpec, results: Results, error: BaseException) -> dict[str, Any]:
    """Write an error to the trial's folder; returns as :func:`run_and_save`."""
    text = describe(error)
    told = "".join(traceback.format_exception(error))
    try:
        retry(lambda: results.save_failure(spec, text, told))
    except (pa.ArrowException, OSError) as refused:
        return {"unwritable": str(refused)}
    return {"error": text}


def refuse_unwritable(results: Results, outcome: dict[str, Any]) -> None:
    """Raise InputError for an outcome that says that the location takes no files."""
    if "unwritable" in outcome:
        raise InputError(
            f"results location {results.uri!r} cannot be written any more: "
            f"{outcome['unwritable']}; what was finished is kept; free space or mend the access, "
            "then start again"
        )


def describe(error: BaseException) -> str:
    """An error in one or a few lines, with its type where the text alone says too little."""
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"


def seldom(report: Report) -> Report:
    """The same, but called at most once in :data:`REPORT_SECONDS`."""
    last = 0.0

    def maybe(step: int, num_steps: int, loss: float) -> None:
        nonlocal last
        if time.monotonic() - last >= REPORT_SECONDS:
            last = time.monotonic()
            report(step, num_steps, loss)

    return maybe
