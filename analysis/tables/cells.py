"""Table entries: mean (std) over the runs of a cell, with marks for missing and failed runs.

A run is a trial of the cell: a seed, or a seed on one of several draws of training rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from xlt.analysis.trials.training_state import cell_training
from xlt.analysis.trials.trial_names import Run, has_draws, name_runs
from xlt.analysis.trials.trial_row import TrialRow
from xlt.data.core.text import first_line
from xlt.trainables.metrics.registry import needs_every_class
from xlt.trainables.results.plan import PlannedCell
from xlt.trainables.spec.cell_key import CellKey

if TYPE_CHECKING:
    from xlt.analysis.uncertainty.variance_components import VarianceComponents

CellState = Literal[
    "complete", "partial", "failed", "corrupt", "pending", "undefined", "impossible"
]

INCOMPLETE, UNTRAINED, NOTE = "†", "‡", "*"
"""Marks behind the value of a cell: runs are missing or failed; runs in the mean did not train; a
note applies."""


@dataclass(frozen=True)
class TableCell:
    """A table entry.

    Attributes:
        base_model: Row of the table.
        pattern: Column of the table.
        state: complete (all planned runs have a value), partial (some have), failed, corrupt or
            pending (none has), undefined (all are done without the metric), impossible (no run can
            be planned).
        mean: Mean over ``n`` runs, a fraction of 1; None for n = 0.
        std: Sample standard deviation (ddof=1) over ``n`` runs; None for n < 2.
        n: Number of runs with a value.
        num_planned: Number of planned runs.
        problems: A phrase for each kind of run without a value, with the runs.
        note: Reason why the cell is impossible, or why its settings differ from other cells.
        untrained: A phrase on the runs in the mean that did not train; empty if all did.
        interval: 95 % confidence interval of the mean (low, high); None: not asked for, or unknown.
        components: Variance components of the runs' scores; None: not asked for, or unknown.
    """

    base_model: str
    pattern: str
    state: CellState
    mean: float | None
    std: float | None
    n: int
    num_planned: int
    problems: tuple[str, ...]
    note: str
    untrained: str = ""
    interval: tuple[float, float] | None = None
    components: VarianceComponents | None = None

    @property
    def key(self) -> CellKey:
        """Name of the cell."""
        return CellKey(self.base_model, self.pattern)


def aggregate(
    planned: PlannedCell,
    rows: Sequence[TrialRow],
    metric: str,
    measured: Mapping[str, float] | None = None,
    unusable: Mapping[str, str] = {},
) -> TableCell:
    """Aggregate the runs of a cell.

    Args:
        planned: The cell.
        rows: Rows of the cell's trials, from ``Collected.rows``.
        metric: Name of a metric or of a measure; a done trial may lack it.
        measured: Trial id -> value of a measure; None: the rows have the metric.
        unusable: Trial id -> reason why a done trial could not be measured.
    """
    if measured is None:
        measured = {row.trial_id: row.metrics[metric] for row in rows if metric in row.metrics}
    values = [measured[row.trial_id] for row in rows if row.trial_id in measured]
    without = [row for row in rows if row.trial_id not in measured]
    states = {row.state for row in without}
    state: CellState
    if not rows:
        state = "impossible"
    elif values:
        state = "partial" if without else "complete"
    else:
        ranked: tuple[CellState, ...] = ("failed", "corrupt")
        state = next((state for state in ranked if state in states), "pending")
        state = "undefined" if states == {"done"} else state
    reason = planned.skipped or ("" if rows else "no trials planned")
    return TableCell(
        base_model=planned.base_model,
        pattern=planned.pattern,
        state=state,
        mean=float(np.mean(values)) if values else None,
        std=float(np.std(values, ddof=1)) if len(values) > 1 else None,
        n=len(values),
        num_planned=len(rows),
        problems=_problems(without, metric, unusable, has_draws([row.draw_index for row in rows])),
        note=reason or planned.note,
        untrained=_untrained(rows),
    )


def _untrained(rows: Sequence[TrialRow]) -> str:
    """Name the runs that did not train. They count in the mean, which would be too high without."""
    with_draw = has_draws([row.draw_index for row in rows])
    runs: dict[str, list[Run]] = {}
    for row in rows:
        if row.training in ("stuck", "diverged"):
            runs.setdefault(row.training, []).append(row.run)
    if not runs:
        return ""
    which = ", ".join(f"{name_runs(named, with_draw)} {state}" for state, named in runs.items())
    state = cell_training([row.training for row in rows if row.training])
    if state == "unstable":
        which = f"unstable: {which}, the others trained"
    evidence = next(row.training_evidence for row in rows if row.training_evidence)
    return f"{which}; still counted in the mean ({evidence})"


def _problems(
    without: Sequence[TrialRow], metric: str, unusable: Mapping[str, str], with_draw: bool
) -> tuple[str, ...]:
    """Runs without a value; those with the same problem share a phrase."""
    runs: dict[str, list[Run]] = {}
    for row in without:
        detail = first_line(unusable.get(row.trial_id, row.detail))
        state: str = row.state
        if state == "done":
            state = f"without {metric}"
            if needs_every_class(metric) and not detail:
                detail = "it has no value on test rows that lack a class"
        problem = f"{state}: {detail}" if detail else state
        runs.setdefault(problem, []).append(row.run)
    return tuple(f"{name_runs(which, with_draw)} {problem}" for problem, which in runs.items())


def format_mean(mean: float, std: float | None) -> str:
    """Format a mean like the paper, e.g. ``0.857 (0.007)``; ``0.857 (n/a)`` without a std."""
    return f"{mean:.3f} ({'n/a' if std is None else f'{std:.3f}'})"


def format_cell(cell: TableCell, num_seeds: int | None) -> str:
    """Format a cell, e.g. ``0.857 (0.007)`` or ``failed [0/3]†``.

    Args:
        cell: The cell.
        num_seeds: Number of seeds that the caption states for all cells; None: each cell shows its
            own.
    """
    if cell.state == "impossible":
        return "-"
    marks = mark_cell(cell)
    if cell.state == "undefined":
        return f"n/a{marks}"
    if cell.mean is None:
        return f"{cell.state} [0/{cell.num_planned}]{marks}"
    value = format_mean(cell.mean, cell.std)
    if cell.interval:
        value += f" {format_interval(*cell.interval)}"
    if cell.state == "partial":
        return f"{value} [{cell.n}/{cell.num_planned}]{marks}"
    count = "" if num_seeds else f" n={cell.n}"
    return f"{value}{count}{marks}"


def mark_cell(cell: TableCell) -> str:
    """Marks that refer to the footnotes of a cell."""
    incomplete, untrained = INCOMPLETE * bool(cell.problems), UNTRAINED * bool(cell.untrained)
    return incomplete + untrained + NOTE * bool(cell.note)


def format_interval(low: float, high: float) -> str:
    """Format a confidence interval, e.g. ``[0.812, 0.861]``."""
    return f"[{low:.3f}, {high:.3f}]"


def write_footnotes(cells: Sequence[TableCell]) -> list[str]:
    """Write one sentence for each reason, with all cells that it applies to."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        name = f"{first_line(cell.base_model)} x {first_line(cell.pattern)}"
        for problem in cell.problems:
            reasons.setdefault((INCOMPLETE, problem), []).append(name)
        if cell.untrained:
            reasons.setdefault((UNTRAINED, cell.untrained), []).append(name)
        if cell.note:
            mark = "-" if cell.state == "impossible" else NOTE
            reasons.setdefault((mark, first_line(cell.note)), []).append(name)
    return [f"{mark} {', '.join(names)}: {why}" for (mark, why), names in reasons.items()]
