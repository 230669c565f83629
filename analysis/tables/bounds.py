"""Floor and ceiling of a metric: what no model has to learn, and what none can exceed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xlt.analysis.tables.cells import TableCell
from xlt.analysis.tables.metric_cells import MetricCells
from xlt.analysis.trials.scored_rows import TestRows
from xlt.data.core.text import first_line
from xlt.trainables.metrics.arrays import Scores, Values, count_classes
from xlt.trainables.metrics.prevalence import resampled_at
from xlt.trainables.metrics.registry import METRICS, undefined
from xlt.trainables.metrics.resampled import weight_type
from xlt.trainables.spec.methods import BASELINES


def write_bounds(metric_cells: MetricCells) -> list[str]:
    """Write the floor, the baselines and the ceiling of a table, and the cells that reach no more.

    The floor is the best constant answer on these test rows: F1 of calling every row positive or of
    one class, or an AUROC of 0.5. The ceiling is the score of the right answers where the plan
    knows which labels are wrong.

    Args:
        metric_cells: Cells of a metric.

    Returns:
        One sentence for each; none if no trial has usable predictions, and for metrics that are not
        resampled.
    """
    metric, rows = metric_cells.metric, metric_cells.test_rows
    plan, prevalence = metric_cells.collected.plan, metric_cells.collected.prevalence
    num_classes = len(plan.classes)
    known = metric in resampled_at(prevalence, num_classes)
    if rows is None or not known or undefined(metric, rows.y_true, num_classes):
        return []
    floors = _values(metric_cells, rows, _as_scores(np.arange(num_classes)[:, None], rows))
    best = num_classes - 1 - int(floors[::-1].argmax())  # positive, if both are equal
    floor, names = floors[best], ("negative", "positive")
    answer = f"calling every row {(names if num_classes == 2 else plan.classes)[best]}"
    if METRICS[metric].from_ranks:
        answer = "the same score for every row"
    with_value = [cell for cell in metric_cells.cells if cell.mean is not None]
    low = [cell for cell in with_value if (cell.mean or 0.0) <= floor]
    sentences = [f"Floor: {answer} has {metric} {floor:.3f}{_no_higher(low)}."]
    sentences += _write_baselines(metric_cells, with_value)
    known_wrong = set(plan.wrong_labels)  # known of two classes only
    wrong = np.array([row_id in known_wrong for row_id in rows.ids])
    if wrong.any():
        right = np.where(wrong, 1 - rows.y_true, rows.y_true)
        (ceiling,) = _values(metric_cells, rows, _as_scores(right[None], rows))
        sentences.append(
            f"Ceiling: {wrong.sum()} of {len(rows.ids)} test labels are known to be wrong; the "
            f"right answers have {metric} {ceiling:.3f}."
        )
    return sentences


def _as_scores(answers: NDArray[Any], rows: TestRows) -> Scores:
    """Scores of 1 for answers, which are num_runs x num_rows or x 1 class numbers, else of 0."""
    answers = np.broadcast_to(answers, (len(answers), len(rows.ids)))
    if rows.y_score.ndim == 1:
        return answers.astype(np.float64)
    return np.asarray(np.eye(rows.y_score.shape[1])[answers])


def _values(metric_cells: MetricCells, rows: TestRows, scores: Scores) -> Values:
    """The metric of each run of scores on the test rows."""
    known = resampled_at(metric_cells.collected.prevalence, count_classes(scores))
    resampled = known[metric_cells.metric]
    once_each = np.ones((len(rows.ids), 1), weight_type(len(rows.ids)))
    return resampled.weighted(rows.y_true, scores, once_each)[:, 0]


def _write_baselines(metric_cells: MetricCells, cells: list[TableCell]) -> list[str]:
    """A sentence on each baseline that ran: the cells of its pattern that are no higher."""
    methods = {row.cell: row.method for row in metric_cells.collected.rows}
    baselines = [cell for cell in cells if methods.get(cell.key) in BASELINES]
    low: dict[str, list[TableCell]] = {}
    for baseline in baselines:
        others = [c for c in cells if c.pattern == baseline.pattern and c not in baselines]
        reached = [c for c in others if (c.mean or 0.0) <= (baseline.mean or 0.0)]
        if others:
            low.setdefault(baseline.base_model, []).extend(reached)
    none = ": every other cell of its patterns has a higher mean, untested"
    return [
        f"Baseline {first_line(name)}{_no_higher(reached) or none}."
        for name, reached in low.items()
    ]


def _no_higher(cells: list[TableCell]) -> str:
    """A clause that names cells; empty for none."""
    names = (f"{first_line(cell.base_model)} x {first_line(cell.pattern)}" for cell in cells)
    return f"; mean no higher: {', '.join(names)}" if cells else ""
