"""make_learning_curves: the learning curves of an experiment, and the gains over one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from xlt.analysis.curves.curve import LearningCurve, group_by_curve
from xlt.analysis.curves.gains import LabelGain, compare_curves
from xlt.analysis.metrics.one_thread import one_thread
from xlt.analysis.tables.cells import TableCell
from xlt.analysis.tables.metric_cells import collect_metric_cells
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.scores import load_scores
from xlt.analysis.uncertainty.intervals import CellIntervals
from xlt.analysis.uncertainty.resampling import NUM_RESAMPLES, RowResampler, check_resamples
from xlt.data.core.errors import InputError
from xlt.trainables.metrics.registry import selection_metric
from xlt.trainables.spec.cell_key import CellKey


@dataclass(frozen=True)
class LearningCurves:
    """The curves of an experiment.

    Attributes:
        collected: The trials.
        metric: Name of the metric.
        curves: Curves in the order of the plan.
        gains: Gain of each cell over the curve that was asked for.
        cells: All cells of the plan, even those on no curve.
        left_out: Reasons why cells with a value are on no curve.
        without: Reasons why cells have no interval.
        intervals: Confidence intervals of the means.
        num_resamples: Number of resamples for the intervals of gains.
    """

    collected: Collected
    metric: str
    curves: tuple[LearningCurve, ...]
    gains: Mapping[CellKey, LabelGain]
    cells: tuple[TableCell, ...]
    left_out: Mapping[CellKey, str]
    without: Mapping[CellKey, str]
    intervals: CellIntervals
    num_resamples: int


@one_thread
def make_learning_curves(
    collected: Collected,
    metric: str | None = None,
    than: str | None = None,
    num_resamples: int = NUM_RESAMPLES,
    method: str = "t",
) -> LearningCurves:
    """Arrange the cells of an experiment as curves, and compare the curves with one of them.

    Args:
        collected: The trials, as they are or at a prevalence.
        metric: Name of a metric; None: the one that selects models, AUROC or its macro average.
        than: Name of the curve that the others are compared with, within each target language;
            None: no gains.
        num_resamples: Number of resamples of test rows and runs, for gains.
        method: Name in ``INTERVALS`` for the means; gains always have percentile intervals.

    Raises:
        InputError: The metric, interval or curve is unknown, no cell has a value, or the curve is
            the only one in its languages.
    """
    check_resamples(num_resamples)
    metric = metric or selection_metric(len(collected.plan.classes))
    scores = load_scores(collected)
    intervals = CellIntervals(scores, method, collected.prevalence)
    metric_cells = collect_metric_cells(collected, metric, intervals=intervals)
    by_key, without = {cell.key: cell for cell in metric_cells.cells}, metric_cells.without_interval
    cells = [by_key[planned.key] for planned in collected.plan.cells]
    curves, left_out = group_by_curve(collected, cells)
    if not curves:
        raise InputError(
            f"no cell has a value of {metric} yet; `xlt status` shows the trials",
            f"results {collected.uri}",
        )
    gains: dict[CellKey, LabelGain] = {}
    if than is not None:
        prevalence = collected.prevalence
        resampler = (
            RowResampler(metric, num_resamples, prevalence, scores.num_classes)
            if scores.cells
            else None
        )
        gains = compare_curves(curves, than, scores, without, resampler)
    return LearningCurves(
        collected, metric, curves, gains, tuple(cells), left_out, without, intervals, num_resamples
    )
