"""Keep the weights of only the trial with the lowest training loss in each cell."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial
from typing import Any

from xlt.data.core.files import to_json
from xlt.data.core.retry import retry
from xlt.trainables.results.layout import RECORD, is_model, trial_file
from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import is_finite, seal_record, verify_seal

HOW_CHOSEN = "its training loss in the last epoch is the lowest of its cell; no test row was used"
"""Reason why a trial's model is kept, as ``xlt predict`` prints it."""


def drop_worse_models(results: Results, trial_ids: Iterable[str]) -> str | None:
    """Remove the weights of all done trials of a cell except the best.

    Weights that another experiment in the same location keeps for itself are not removed.

    The best trial has the lowest training loss in its last epoch. Test rows choose nothing, so the
    test score of the kept model is not too high for having been chosen. Two processes may call this
    at the same time; neither removes the best model.

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
        loss: Any = (records[trial_id].get("convergence") or {}).get("final_loss")
        return float(loss) if is_finite(loss) else math.inf, trial_id

    best = min(records, key=rank)
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
    verify_seal(record)
    files = {name: file for name, file in record["files"].items() if name not in names}
    content = to_json(seal_record(record | {"files": files}))
    retry(lambda: results.write(trial_file(trial_id, RECORD), content))
    for name in names:
        retry(partial(results.fs.delete_file, results.path(trial_file(trial_id, name))))
