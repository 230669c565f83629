"""Data of the page's plots, as plain JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xlt.analysis.metrics.class_scores import score_classes
from xlt.analysis.metrics.plot_points import CellCurves, make_cell_curves, thin
from xlt.analysis.page.rows import RowPool, shown_probabilities
from xlt.analysis.tables import paper
from xlt.analysis.tables.cells import TableCell
from xlt.analysis.tables.metric_cells import MetricCells
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.scores import CellScores, ExperimentScores
from xlt.analysis.trials.trial_names import has_draws, run_name
from xlt.analysis.trials.trial_row import TrialRow
from xlt.data.core.errors import InputError
from xlt.data.core.text import first_line, remove_secrets
from xlt.trainables.metrics.arrays import decide
from xlt.trainables.spec.cell_key import CellKey

CURVE_POINTS, CURVE_BUDGET, MIN_POINTS = 80, 40_000, 12
"""Points of a curve: maximum, because more are not distinguishable at the width of a plot; budget
of all curves of a page, so that thousands of trials need only a few megabytes; and minimum."""
MAX_CURVES = 6
"""Maximum number of runs of a cell with curves, the number of colours in page.js."""
NUM_HARD = 10
"""Number of test rows in the list of those that most runs get wrong."""


def plot_cells(
    collected: Collected, scores: ExperimentScores, metrics: Sequence[MetricCells], pool: RowPool
) -> list[dict[str, Any]]:
    """Collect values, intervals, curves and hardest test rows of every planned cell.

    With more than two classes a cell has a confusion matrix instead of curves. For a cell without
    either ``why`` has the reason.

    Args:
        collected: The trials.
        scores: Predictions of the cells.
        metrics: Cells of each metric to plot, with intervals.
        pool: Pool that the hardest rows are added to.
    """
    values: dict[CellKey, dict[str, Any]] = {}
    for of_metric in metrics:
        if of_metric.metric not in collected.metrics:
            continue
        for cell in of_metric.cells:
            if cell.n:
                value = _values(cell, collected.by_cell[cell.key], of_metric.metric)
                values.setdefault(cell.key, {})[of_metric.metric] = value
    num_drawn = sum(min(len(cell.runs), MAX_CURVES) for cell in scores.cells.values())
    num_points = share_budget(CURVE_BUDGET, 4 * num_drawn, CURVE_POINTS, MIN_POINTS)
    plotted: list[dict[str, Any]] = []
    for planned in collected.plan.cells:
        key = planned.key
        shown: dict[str, Any] = {
            "model": first_line(key.base_model),
            "pattern": first_line(key.pattern),
        }
        shown |= {"values": values.get(key, {}), "why": "", "curves": None, "hard": None}
        plotted.append(shown)
        shown |= {"confusion": None} if scores.num_classes > 2 else {}
        try:
            if key not in scores.cells:
                raise InputError(scores.left_out.get(key, "no run is done"))
            shown["hard"] = _hard(scores.cells[key], pool)
            if scores.num_classes > 2:
                shown["confusion"] = score_classes(scores.cells[key]).matrix.tolist()
                continue
            shown["curves"] = _curves(make_cell_curves(scores.cells[key], MAX_CURVES), num_points)
            shown["curves"]["num_runs"] = len(scores.cells[key].runs)
        except InputError as error:
            shown["why"] = remove_secrets(first_line(str(error)))
    return plotted


def _values(cell: TableCell, rows: Sequence[TrialRow], metric: str) -> dict[str, Any]:
    """Runs, mean and interval of a cell, and the published mean."""
    value = paper.find_published(metric, cell.key)
    with_draw = has_draws([row.draw_index for row in rows])
    return {
        "runs": [
            [run_name(row.run, with_draw), round_number(row.metrics[metric], 4)]
            for row in rows
            if metric in row.metrics
        ],
        "mean": round_number(cell.mean, 4),
        "interval": to_list(np.array(cell.interval), 4) if cell.interval else None,
        "published": value.mean if value else None,
    }


def _hard(cell: CellScores, pool: RowPool) -> list[list[Any]]:
    """List [row, number of wrong runs, mean of :func:`shown_probabilities`], most wrong first.

    Rows with equal numbers are sorted by the distance of their mean probability from right.
    """
    wrong = (decide(cell.scores) != cell.y_true).sum(axis=0)
    shown, distance = shown_probabilities(cell.y_true, cell.scores.mean(axis=0, keepdims=True))
    mean, order = shown[0], np.lexsort((-distance[0], -wrong))[:NUM_HARD]
    return [
        [pool.place(cell.ids[k], int(cell.y_true[k])), int(wrong[k]), round_number(mean[k], 3)]
        for k in order
        if wrong[k]
    ]


def _curves(curves: CellCurves, num_points: int) -> dict[str, Any]:
    bins = curves.reliability
    return {
        "negatives": to_list(curves.negatives, 4),
        "positives": to_list(curves.positives, 4),
        "reliability": [
            to_list(values, 4) for values in (bins.mean_score, bins.positives, bins.mass)
        ],
        "runs": [
            {
                "name": run.name,
                "roc": [to_list(axis, 3) for axis in thin(run.roc, num_points)],
                "pr": [to_list(axis, 3) for axis in thin(run.precision_recall, num_points)],
            }
            for run in curves.runs
        ],
    }


def share_budget(budget: int, num_users: int, most: int, fewest: int) -> int:
    """Share of a budget for each user, within limits."""
    return min(most, max(fewest, budget // max(num_users, 1)))


def round_number(value: Any, digits: int) -> float | None:
    """A JSON number; None for infinity and nan, which JSON lacks."""
    return round(float(value), digits) if np.isfinite(value) else None


def to_list(values: NDArray[np.float64], digits: int) -> list[float | None]:
    """A list of JSON numbers."""
    if np.isfinite(values).all():  # nearly always
        shown: list[float | None] = np.round(values, digits).tolist()
        return shown
    return [round_number(value, digits) for value in values]
