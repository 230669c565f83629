"""Table entries: the runs of a cell as mean (std), and what is missing or failed beside it.

A run is a trial of the cell: a seed, or with several draws of training rows a seed on a draw.
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
"""Marks behind a cell's value: seeds are missing or failed; runs in it did not train; a note
applies."""


@dataclass(frozen=True)
class TableCell:
    """A table entry.

    Attributes:
        base_model: Row.
        pattern: Column.
        state: complete (all planned runs), partial (some), failed, corrupt or pending (none),
            undefined (all are done without the metric), impossible (none can be planned).
        mean: Over ``n`` runs, a fraction of 1; None for n = 0.
        std: Sample standard deviation (ddof=1) over ``n`` runs; None for n < 2.
        n: Runs with a value.
        num_planned: Runs planned.
        problems: A phrase for each kind of run without a value, with the runs.
        note: Why the cell is impossible, or why its settings differ from the rest.
        untrained: A phrase on the runs in the mean that did not train; empty if all did.
        interval: (low, high) of the mean; None if not asked for, or there is none.
        components: What spreads the runs' scores; None likewise.
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
        """The cell's name."""
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
        rows: num_runs of ``Collected.rows``.
        metric: Name of a metric or of a measure; a done trial may be without it.
        measured: Trial id -> value of a measure; None: the metric is that of the rows.
        unusable: Trial id -> why a done trial could not be measured.
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
    """Which runs did not train: they are in the mean, as leaving them out would flatter it."""
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
    return f"{which}; in the mean all the same ({evidence})"


def _problems(
    without: Sequence[TrialRow], metric: str, unusable: Mapping[str, str], with_draw: bool
) -> tuple[str, ...]:
    """Runs without a value, those with the same problem in one phrase."""
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


def mean_std(mean: float, std: float | None) -> str:
    """As the paper prints it, e.g. ``0.857 (0.007)``; without a std ``0.857 (n/a)``."""
    return f"{mean:.3f} ({'n/a' if std is None else f'{std:.3f}'})"


def cell_text(cell: TableCell, num_seeds: int | None) -> str:
    """What a cell shows; ``num_seeds`` is None where cells have unequal numbers of seeds."""
    if cell.state == "impossible":
        return "-"
    marks = (INCOMPLETE if cell.problems else "") + (UNTRAINED if cell.untrained else "")
    marks += NOTE if cell.note else ""
    if cell.state == "undefined":
        return f"n/a{marks}"
    if cell.mean is None:
        return f"{cell.state} [0/{cell.num_planned}]{marks}"
    value = mean_std(cell.mean, cell.std)
    if cell.interval:
        value += f" {interval_text(*cell.interval)}"
    if cell.state == "partial":
        return f"{value} [{cell.n}/{cell.num_planned}]{marks}"
    count = "" if num_seeds else f" n={cell.n}"
    return f"{value}{count}{marks}"


def interval_text(low: float, high: float) -> str:
    """As every table prints it, e.g. ``[0.812, 0.861]``."""
    return f"[{low:.3f}, {high:.3f}]"
