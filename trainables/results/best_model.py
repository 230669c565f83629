"""Keep the weights of only the best trial in each cell, to save disk space."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from xlt.data.core.files import to_json
from xlt.data.core.retry import retry
from xlt.trainables.metrics.registry import METRICS
from xlt.trainables.results.layout import RECORD, is_model, trial_file
from xlt.trainables.results.result import Results

METRICS_OF_BEST = (*(metric.name for metric in METRICS.values() if metric.selects), "accuracy")
"""Metrics that rank trials; the first one in a trial's record counts. AUROC comes first because it
needs no threshold, but it is undefined unless each class has test rows."""


def drop_worse_models(results: Results, trial_ids: Iterable[str]) -> str | None:
    """Remove the weights of all done trials of a cell except the best.

    Weights that another experiment in the same location keeps for itself are not removed.

    The choice uses the test rows: the kept model is for tagging texts, and its own test score is
    optimistic. Two processes may call this at the same time; neither removes the best model.

    Args:
        results: Location of the trial folders.
        trial_ids: Trials of one cell; trials that are not done are ignored.

    Returns:
        The trial whose weights stay; None if no trial is done.
    """
    cell = list(trial_ids)
    states = retry(lambda: results.states(cell))
    records = {i: s.record for i, s in states.items() if s.state == "done" and s.record}
    if not records:
        return None

    def rank(trial_id: str) -> tuple[float, str]:
        metrics = records[trial_id]["metrics"]
        return next(metrics[name] for name in METRICS_OF_BEST if name in metrics), trial_id

    best = max(records, key=rank)
    for trial_id in records.keys() - {best}:
        _drop_model(results, trial_id)
    return best


def _drop_model(results: Results, trial_id: str) -> None:
    """Remove the weights of a done trial if they were kept with ``keep_models: best``.

    The record is rewritten first, so that the folder is valid at any time.
    """
    record = retry(lambda: results.read_json(trial_file(trial_id, RECORD)))
    if record.get("execution", {}).get("keep_models") != "best":
        return
    names = [name for name in record["files"] if is_model(name)]
    if not names:
        return
    files = {name: file for name, file in record["files"].items() if name not in names}
    content = to_json(record | {"files": files})
    retry(lambda: results.write(trial_file(trial_id, RECORD), content))
    for name in names:
        retry(partial(results.fs.delete_file, results.path(trial_file(trial_id, name))))
