"""Footnote on early stopping: the epochs whose weights were tested."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from statistics import median
from typing import Any

from xlt.analysis.tables.metric_cells import MetricCells
from xlt.data.core.text import first_few, first_line
from xlt.trainables.spec.trial_spec import TrialSpec


def write_stopping_note(metric_cells: MetricCells) -> list[str]:
    """Write which epochs were best on dev rows, for trials with the same largest number of epochs.

    A best epoch that is also the largest one says that more epochs might have been better.

    Args:
        metric_cells: Cells of a metric; only their done trials count.

    Returns:
        One sentence for each largest number of epochs; none without early stopping.
    """
    collected, keys = metric_cells.collected, {cell.key for cell in metric_cells.cells}
    best_epochs: dict[int, list[int]] = defaultdict(list)
    names: dict[int, dict[str, None]] = defaultdict(dict)
    for row in collected.rows:
        record = collected.records.get(row.trial_id, {})
        best = _read_best_epoch(record) if row.is_done and row.cell in keys else None
        if best is None:
            continue
        num_epochs = TrialSpec.parse(record["spec"]).num_epochs
        if best <= num_epochs:
            best_epochs[num_epochs].append(best)
            names[num_epochs][
                f"{first_line(row.cell.base_model)} x {first_line(row.cell.pattern)}"
            ] = None
    return [
        _describe(num_epochs, sorted(best), first_few(list(names[num_epochs])))
        for num_epochs, best in sorted(best_epochs.items())
    ]


def _read_best_epoch(record: Mapping[str, Any]) -> int | None:
    """Read the best epoch of a trial, counted from 1; None without early stopping."""
    convergence = record.get("convergence")
    best = convergence.get("best_epoch") if isinstance(convergence, dict) else None
    return best if isinstance(best, int) and best > 0 else None


def _describe(num_epochs: int, best: list[int], cells: str) -> str:
    """Write the sentence; ``best`` are the sorted best epochs of the trials."""
    among = str(best[0]) if best[0] == best[-1] else f"{best[0]} to {best[-1]}"
    middle = f", median {median(best):g}" * (len(best) > 1)
    trials = f"{len(best)} trials" if len(best) > 1 else "1 trial"
    at_end = best.count(num_epochs)
    which = f"In {at_end} of them it" if len(best) > 1 else "It"
    more = f" {which} is the last possible one: more epochs may be better."
    return (
        f"Early stopping: best epoch {among} of {num_epochs}{middle} ({trials} of {cells})."
        f"{more * bool(at_end)}"
    )
