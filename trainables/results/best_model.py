"""Of a cell's trials only the best keeps its model, so that disks do not fill."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from xlt.data.core.files import to_json
from xlt.data.core.retry import retry
from xlt.trainables.results.result import RECORD, Results

METRICS_OF_BEST = ("auroc", "auroc_ovr", "accuracy")
"""The first that there is decides: rankings need no threshold, but test rows of every class."""


def drop_worse_models(results: Results, trial_ids: Iterable[str]) -> str | None:
    """Remove the models of all done trials of a cell but the best.

    Only models that were kept to find the best: what another experiment of the same location has
    kept for itself stays.

    The choice looks at the test rows: the model that stays serves to tag texts, and its own test
    score flatters it. Two processes may do this at once: neither removes the best one's.

    Args:
        results: Where their folders lie.
        trial_ids: Of one cell; those not done are left alone.

    Returns:
        The trial whose model stays; None while none is done.
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
    """Remove a done trial's weights, if they were kept to find the best.

    They go from its record first, so that it stays whole throughout.
    """
    record = retry(lambda: results.read_json("trials", trial_id, RECORD))
    if record.get("execution", {}).get("keep_models") != "best":
        return
    names = [name for name in record["files"] if name.startswith("model/")]
    if not names:
        return
    files = {name: file for name, file in record["files"].items() if name not in names}
    whole = to_json(record | {"files": files})
    retry(lambda: results.write(f"trials/{trial_id}/{RECORD}", whole))
    for name in names:
        retry(partial(results.fs.delete_file, results.path("trials", trial_id, name)))
