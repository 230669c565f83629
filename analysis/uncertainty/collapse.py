"""Cells of which only some runs collapsed: their mean has no t interval.

Scores of such a cell are of two kinds, far apart. With one collapsed seed in five, intervals of the
mean F1 over three seeds hold the truth in half of the cases (docs/benchmarks.md), because half of
all cells show no collapsed seed at all. So an interval is about the runs that do not collapse, and
a cell with both kinds has none.
"""

from __future__ import annotations

import numpy as np

from xlt.analysis.trials.scores import CellScores
from xlt.analysis.trials.trial_names import has_draws, name_runs
from xlt.trainables.metrics.arrays import Values, count_classes, decide
from xlt.trainables.metrics.registry import needs_every_class

MIN_DECIDED = 0.02
"""Minimal number of test rows that a run does not call of a class, as a share of those that are not
of it: of two classes, those called positive as a share of the positive ones, likewise for negative.
A run below it calls nearly all rows of one class, and counts as collapsed in metrics of
decisions."""
WIDE_SPREAD, WIDE_COVERAGE = 0.1, 0.8
"""Standard deviation over runs of a metric of decisions above which intervals are too short, and
the share of simulated intervals that hold the truth then (docs/benchmarks.md)."""


def describe_collapse(cell: CellScores, metric: str, values: Values) -> str:
    """Say which runs collapsed and what all scored; empty if all or none did.

    A run collapsed if it did not train (:mod:`xlt.analysis.trials.training_state`) or, for metrics
    of decisions, if it calls nearly all rows of one class (:data:`MIN_DECIDED`).

    Args:
        cell: The cell.
        metric: Name of a metric.
        values: num_runs values of the metric.
    """
    collapsed = np.array([run in cell.untrained for run in cell.runs])
    if not needs_every_class(metric):
        decided = decide(cell.scores)
        for label in range(count_classes(cell.scores)):
            others = (decided != label).sum(axis=1)
            collapsed |= others < MIN_DECIDED * np.count_nonzero(cell.y_true != label)
    if collapsed.all() or not collapsed.any():
        return ""
    with_draw = has_draws([draw_index for draw_index, _ in cell.runs])
    which = [cell.runs[number] for number in np.flatnonzero(collapsed)]
    scores = ", ".join(
        f"{name} {value:.3f}" for name, value in zip(cell.trial_names, values, strict=True)
    )
    named = name_runs(which, with_draw)
    return f"{named} collapsed, the others did not; their mean is of two kinds: {scores}"
