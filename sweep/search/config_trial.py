"""The work of a process in a search: train a config on one replicate after the other."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np
from ray import tune

from xlt.analysis.search.choose import average_by_kind, compute_dev_loss, count_epochs, rank
from xlt.analysis.trials.training_state import training_state
from xlt.data.core.retry import retry
from xlt.sweep.backends.artifact_policy import ArtifactPolicy
from xlt.sweep.backends.events import Ended, Failed, Finished, Unwritable
from xlt.sweep.backends.worker import Report, run_and_save_pack
from xlt.sweep.on_ray.worker import import_code, receive
from xlt.sweep.search.config_report import ConfigReport, wrap
from xlt.trainables.results.result import Results
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.watchdog import kill_if_stalled

FAILED_RANK = -2.0
"""Rank of a config that failed, below all other ranks; Tune needs a rank in every report."""


def try_config(config: dict[str, Any], shared: dict[str, Any]) -> None:
    """Train a config on its replicates; Tune calls this in a worker process.

    Args:
        config: Number of the ``cell``, and the ``config`` to try on it.
        shared: Values that all configs share, see :func:`search_on_tune`.
    """
    import_code()
    templates, kinds = shared["cells"][config["cell"]]
    specs = [template.tuned(**config["config"]) for template in templates]
    results, num_stuck, size = shared["results"], 0, shared["pack_size"]
    scores, losses = np.full((2, len(kinds)), np.nan)
    for number, spec in enumerate(specs):
        if number % size == 0:
            start = time.monotonic()
            pack = specs[number : number + size]
            finished = _find_finished(pack, results)
            new = [member for member in pack if member.trial_id not in finished]
            events = finished | _run_trials(new, results, shared)
            hours = (time.monotonic() - start) / 3600 / max(1, len(new))
        event, was_finished = events[spec.trial_id], spec.trial_id in finished
        match event:
            case Failed() | Unwritable():
                tune.report(wrap(ConfigReport(number, FAILED_RANK, failure=event)))
                return
            case Finished(metrics, convergence):
                scores[number] = metrics[shared["metric"]]
                losses[number] = retry(partial(compute_dev_loss, results, spec.trial_id))
                num_stuck += training_state(convergence)[0] != "trained"
                num_epochs = count_epochs(spec.num_epochs, convergence)
        report = ConfigReport(
            number + 1,
            rank(scores, losses, kinds, num_stuck),
            average_by_kind(scores, kinds),
            epochs=0 if was_finished else num_epochs,
            hours=0.0 if was_finished else hours,
        )
        tune.report(wrap(report))


def _find_finished(specs: list[TrialSpec], results: Results) -> dict[str, Ended]:
    """Return how finished trials ended, by trial id."""
    states = {spec.trial_id: retry(partial(results.state, spec.trial_id)) for spec in specs}
    return {
        trial_id: Finished(state.record["metrics"], state.record.get("convergence") or {})
        for trial_id, state in states.items()
        if state.state == "done" and state.record is not None
    }


def _run_trials(
    specs: list[TrialSpec], results: Results, shared: dict[str, Any]
) -> dict[str, Ended]:
    """Run trials, and return how they ended, by trial id."""
    if not specs:
        return {}
    with kill_if_stalled(specs[0].resources.stall_minutes):
        dataset = receive(specs[0], shared)
        reports: dict[str, Report] = {spec.trial_id: lambda *_: None for spec in specs}
        events = run_and_save_pack(specs, dataset, results, ArtifactPolicy(), reports)
        return {spec.trial_id: event for spec, event in events}
