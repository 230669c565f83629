"""Run a trial in a worker process of any backend, and write its result or its error.

An error is a result too: it goes to the trial's folder, and the process stays warm for the next
trial. A backend handles only the death of a process, and storage that accepts no files.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import pyarrow as pa

from xlt.data.core.errors import InputError
from xlt.data.core.memory import importing_torch
from xlt.data.core.retry import retry
from xlt.data.dataset.schema import Dataset
from xlt.sweep.backends.artifact_policy import ArtifactPolicy
from xlt.sweep.backends.events import Ended, Failed, Finished, Preempted, Step, Unwritable
from xlt.trainables.results.attributions import save_attributions
from xlt.trainables.results.best_model import drop_worse_models
from xlt.trainables.results.location import LostLocationError
from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import TrialResult
from xlt.trainables.spec.trial_spec import TrialSpec

if TYPE_CHECKING:
    from xlt.trainables.training.checkpoints import Checkpoints
    from xlt.trainables.trial.first_stage_kept import KeptFirstStage

REPORT_SECONDS = 1.0
"""Least time between two reports of a trial, because the driver handles each one."""

Report = Callable[[Step], None]
"""Receiver of the progress of a trial."""


def run_and_save(
    spec: TrialSpec,
    dataset: Dataset,
    results: Results,
    policy: ArtifactPolicy,
    report: Report,
    preempted: Callable[[], bool] = lambda: False,
) -> Ended | None:
    """Run a trial and write its folder.

    In a group of workers, each worker calls this function; only the first one writes.

    Args:
        spec: The trial.
        dataset: The rows from which the trial draws.
        results: Location of the result folder.
        policy: Files to keep besides the result.
        report: Receiver of the progress.
        preempted: Function that returns whether the machine is being taken away; the trial then
            saves a checkpoint and stops.

    Returns:
        How the trial ended; None for all workers of a group but the first.
    """
    from xlt.trainables.training.checkpoints import PreemptedError  # imports torch
    from xlt.trainables.training.loop import DivergedError
    from xlt.trainables.training.workers import Workers
    from xlt.trainables.trial.energy import measure_energy
    from xlt.trainables.trial.run_trial import run_trial

    workers = Workers.current()
    if _trains_nothing(spec, policy):
        return _test_kept(spec, dataset, results, policy) if workers.is_first else None
    result: TrialResult | Exception
    try:
        with measure_energy(policy.energy_country if workers.is_first else "") as add_energy:
            result = add_energy(
                run_trial(
                    spec,
                    dataset,
                    report=lambda *progress: report(Step(*progress)),
                    keep_models=policy.models,
                    explain=policy.explain,
                    checkpoints=_checkpoints(spec, results, policy, preempted),
                    first_stage=_first_stage(spec, results, policy),
                )
            )
    except Exception as error:
        # These two reach all workers at the same step. Any other error may hit one worker alone,
        # and it has to end the whole group, because the other workers wait for this one.
        if workers.size > 1 and not isinstance(error, (DivergedError, PreemptedError)):
            raise
        result = error
    return _write(spec, result, results, policy) if workers.is_first else None


def run_and_save_pack(
    specs: Sequence[TrialSpec],
    dataset: Dataset,
    results: Results,
    policy: ArtifactPolicy,
    reports: Mapping[str, Report],
    preempted: Callable[[], bool] = lambda: False,
    later: TrialSpec | None = None,
) -> Iterator[tuple[TrialSpec, Ended]]:
    """Run trials side by side (:func:`run_pack`) and write their folders.

    Args:
        specs: The trials; a single trial runs alone.
        dataset: The rows from which the trials draw.
        results: Location of the result folders.
        policy: Files to keep besides the results.
        reports: Trial id -> receiver of its progress.
        preempted: Function of :func:`run_and_save`.
        later: A trial that will probably run here next. If its base model is another one, it is
            read while these trials train.

    Yields:
        Each trial as soon as it ends, and how it ended.
    """
    with importing_torch():
        from xlt.trainables.loading.read_ahead import read_ahead
        from xlt.trainables.trial.energy import measure_energy
        from xlt.trainables.trial.run_pack import run_pack

    if later and later.base_identity != specs[0].base_identity:
        read_ahead(later)
    for spec in (spec for spec in specs if _trains_nothing(spec, policy)):
        yield spec, _test_kept(spec, dataset, results, policy)
    specs = [spec for spec in specs if not _trains_nothing(spec, policy)]
    if not specs:
        return
    all_checkpoints = {s.trial_id: _checkpoints(s, results, policy, preempted) for s in specs}
    first_stages = {s.trial_id: _first_stage(s, results, policy) for s in specs}
    pairs = run_pack(
        specs,
        dataset,
        report=lambda spec, *progress: reports[spec.trial_id](Step(*progress)),
        keep_models=policy.models,
        explain=policy.explain,
        checkpoints={name: kept for name, kept in all_checkpoints.items() if kept},
        first_stages={name: kept for name, kept in first_stages.items() if kept},
    )
    with measure_energy(policy.energy_country) as add_energy:
        for spec, result in pairs:
            if isinstance(result, TrialResult):
                result = add_energy(result)
            yield spec, _write(spec, result, results, policy)


def _trains_nothing(spec: TrialSpec, policy: ArtifactPolicy) -> bool:
    """Whether kept models of other trials take the place of training."""
    return spec.trial_id in policy.extensions or bool(spec.mean_of)


def _test_kept(
    spec: TrialSpec, dataset: Dataset, results: Results, policy: ArtifactPolicy
) -> Ended:
    """Test kept models: that of a finished trial in more languages, or the mean of several."""
    from xlt.trainables.inference.extend import extend_trial
    from xlt.trainables.trial.average_seeds import average_seeds

    result: TrialResult | Exception
    trial_id, models = spec.trial_id, policy.models
    try:
        if spec.mean_of:
            members = policy.members[trial_id]
            result = average_seeds(spec, dataset, results, members, models, policy.explain)
        else:
            result = extend_trial(spec, dataset, results, policy.extensions[trial_id], models)
    except Exception as error:
        result = error
    return _write(spec, result, results, policy)


def _first_stage(
    spec: TrialSpec, results: Results, policy: ArtifactPolicy
) -> KeptFirstStage | None:
    """Return the trial whose kept model may be a trial's first stage; None if there is none."""
    from xlt.trainables.trial.first_stage_kept import KeptFirstStage

    first_id = policy.first_stages.get(spec.trial_id)
    return KeptFirstStage(results, first_id) if first_id else None


def _checkpoints(
    spec: TrialSpec, results: Results, policy: ArtifactPolicy, preempted: Callable[[], bool]
) -> Checkpoints | None:
    """Return where a trial writes its checkpoints; None if they are disabled."""
    from xlt.trainables.training.checkpoints import Checkpoints
    from xlt.trainables.trial.signature import read_versions

    minutes = policy.checkpoint_minutes
    if minutes is None:
        return None
    return Checkpoints(results, spec.trial_id, 60 * minutes, read_versions(), preempted)


def _write(
    spec: TrialSpec, result: TrialResult | Exception, results: Results, policy: ArtifactPolicy
) -> Ended:
    """Write the result or the error of a trial, then remove its checkpoint."""
    from xlt.trainables.training.checkpoints import PreemptedError

    if isinstance(result, PreemptedError):
        return Preempted(result.step)
    if isinstance(result, LostLocationError):  # the checkpoint could not be read
        return Unwritable(str(result))
    ended: Finished | Failed | Unwritable
    if isinstance(result, Exception):
        ended = record_failure(spec, results, result)
    else:
        ended = _save(result, results, policy)
    if not isinstance(ended, Unwritable):  # else the trial resumes from its checkpoint
        with suppress(OSError):  # a checkpoint that stays does no harm
            results.remove_checkpoint(spec.trial_id)
    return ended


def _save(result: TrialResult, results: Results, policy: ArtifactPolicy) -> Finished | Unwritable:
    """Write the folder of a result."""
    trial_id = result.spec.trial_id
    try:
        retry(lambda: results.save(result))
        if attributions := result.attributions:
            retry(lambda: save_attributions(results, trial_id, attributions))
        if policy.models == "best":
            drop_worse_models(results, policy.cells.get(trial_id, ()))
    except (pa.ArrowException, OSError, InputError) as error:  # InputError: other folders read here
        return Unwritable(str(error))
    return Finished(result.metrics, result.convergence)


def record_failure(spec: TrialSpec, results: Results, error: BaseException) -> Failed | Unwritable:
    """Write an error and its traceback to the trial's folder."""
    text = describe(error)
    lines = "".join(traceback.format_exception(error))
    try:
        retry(lambda: results.save_failure(spec, text, lines))
    except (pa.ArrowException, OSError) as storage_error:
        return Unwritable(str(storage_error))
    return Failed(text)


def describe(error: BaseException) -> str:
    """Describe an error in one or a few lines, with its type unless it is a ValueError."""
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"


def limit_rate(report: Report) -> Report:
    """Limit the calls of a function to one in :data:`REPORT_SECONDS`."""
    last = 0.0

    def report_seldom(step: Step) -> None:
        nonlocal last
        if time.monotonic() - last >= REPORT_SECONDS:
            last = time.monotonic()
            report(step)

    return report_seldom
