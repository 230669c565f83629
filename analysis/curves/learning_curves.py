"""Learning curves over target rows, and the target rows that one curve saves over another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from xlt.analysis.curves.monotone import Array, fit_monotone, percentiles, rows_to_reach
from xlt.analysis.tables.cells import TableCell, aggregate
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.scores import ExperimentScores, load_scores
from xlt.analysis.uncertainty.intervals import CellIntervals
from xlt.analysis.uncertainty.resampling import (
    NUM_RESAMPLES,
    RowResampler,
    check_resamples,
    draw_seed,
    resampled_mean,
)
from xlt.analysis.uncertainty.trial_units import has_several_draws
from xlt.data.core.errors import InputError, unknown
from xlt.data.dataset.patterns import SUFFIXES, TranslatedRows
from xlt.trainables.metrics.registry import METRICS
from xlt.trainables.spec.cell_key import CellKey

_SUFFIX_OF: dict[TranslatedRows | None, str] = {
    translate: f"+{suffix}" for suffix, translate in SUFFIXES.items()
}


@dataclass(frozen=True)
class CurvePoint:
    """A cell on its curve.

    Attributes:
        num_target_rows: Number of training rows in the target language.
        cell: Mean, std, n and interval of the cell; the mean is not None.
    """

    num_target_rows: int
    cell: TableCell


@dataclass(frozen=True)
class LearningCurve:
    """Cells of a base model that differ only in the number of target rows.

    Attributes:
        name: Name of the base model, with the suffix of its patterns such as ``+tt`` if they read
            translations, and with ``/num_source_rows`` if this gives several curves in a language.
        base_model: Name of the base model.
        target_lang: Language of target and test rows.
        num_source_rows: Number of training rows in the source language; 0 for a monolingual base
            model.
        points: num_points points with distinct, ascending numbers of target rows.
    """

    name: str
    base_model: str
    target_lang: str
    num_source_rows: int
    points: tuple[CurvePoint, ...]

    @property
    def num_rows(self) -> Array:
        """num_points numbers of target rows."""
        return np.array([point.num_target_rows for point in self.points], np.float64)

    @property
    def means(self) -> Array:
        """num_points means over runs."""
        return np.array([point.cell.mean for point in self.points], np.float64)

    @property
    def weights(self) -> Array:
        """num_points numbers of runs."""
        return np.array([point.cell.n for point in self.points], np.float64)


@dataclass(frozen=True)
class LabelGain:
    """Number of target rows that another curve needs to reach the score of a cell.

    Attributes:
        than: The other curve.
        rows: Target rows at which that curve reaches the score; ``inf``: more than its last point
            has, ``-inf``: fewer than its first point has.
        interval: 95 % confidence interval of ``rows``, whose ends can be infinite, too; None: see
            ``without``.
        without: Reason why there is no interval; empty if there is one.
    """

    than: LearningCurve
    rows: float
    interval: tuple[float, float] | None
    without: str = ""


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


def make_learning_curves(
    collected: Collected,
    metric: str = "auroc",
    than: str | None = None,
    num_resamples: int = NUM_RESAMPLES,
    method: str = "t",
) -> LearningCurves:
    """Arrange the cells of an experiment as curves, and compare the curves with one of them.

    Args:
        collected: The trials, as they are or at a prevalence.
        metric: Name of a metric.
        than: Name of the curve that the others are compared with, within each target language;
            None: no gains.
        num_resamples: Number of resamples of test rows and runs, for gains.
        method: Name in ``INTERVALS`` for the means; gains always have percentile intervals.

    Raises:
        InputError: The metric, interval or curve is unknown, no cell has a value, or the curve is
            the only one in its languages.
    """
    known = {*collected.metrics, *METRICS}
    if metric not in known:
        raise InputError(unknown("metric", metric, known), f"results {collected.uri}")
    scores = load_scores(collected)
    check_resamples(num_resamples)
    intervals = CellIntervals(scores, method, collected.prevalence)
    by_cell, without = intervals.of(metric)
    several = len(collected.plan.draws) > 1
    components = intervals.components(metric) if several and scores.cells else {}
    rows = collected.by_cell
    cells = []
    for planned in collected.plan.cells:
        key = planned.key
        cell = aggregate(planned, rows[key], metric)
        cells.append(replace(cell, interval=by_cell.get(key), components=components.get(key)))
    curves, left_out = _curves(collected, cells)
    if not curves:
        raise InputError(
            f"no cell has a value of {metric} yet; `xlt status` shows the trials",
            f"results {collected.uri}",
        )
    gains: dict[CellKey, LabelGain] = {}
    if than is not None:
        prevalence = collected.prevalence
        resampler = RowResampler(metric, num_resamples, prevalence) if scores.cells else None
        gains = compare_curves(curves, than, scores, without, resampler)
    return LearningCurves(
        collected, metric, curves, gains, tuple(cells), left_out, without, intervals, num_resamples
    )


def _curves(
    collected: Collected,
    cells: Sequence[TableCell],
) -> tuple[tuple[LearningCurve, ...], dict[CellKey, str]]:
    """Group cells by base model, target language, translated rows and source rows."""
    planned = {c.key: c for c in collected.plan.cells}
    by_curve: dict[tuple[str, str, str, int], dict[int, CurvePoint]] = {}
    left_out: dict[CellKey, str] = {}
    for cell in cells:
        if cell.mean is None:
            continue
        key = cell.key
        done = next(row for row in collected.by_cell[key] if row.is_done)
        num_rows = done.num_target_rows or 0
        name = cell.base_model + _SUFFIX_OF.get(planned[key].translate, "")
        num_source_rows = (done.num_train_rows or 0) - num_rows
        place = name, cell.base_model, planned[key].target_lang, num_source_rows
        points = by_curve.setdefault(place, {})
        if num_rows in points:
            other = points[num_rows].cell.pattern
            left_out[key] = f"{other} has {num_rows} target and {num_source_rows} source rows, too"
        else:
            points[num_rows] = CurvePoint(num_rows, cell)
    names = [(name, lang) for name, _, lang, _ in by_curve]
    curves = tuple(
        LearningCurve(
            name=name if names.count((name, lang)) == 1 else f"{name}/{num_source_rows}",
            base_model=model,
            target_lang=lang,
            num_source_rows=num_source_rows,
            points=tuple(points[num_rows] for num_rows in sorted(points)),
        )
        for (name, model, lang, num_source_rows), points in by_curve.items()
    )
    return curves, left_out


# --- how many rows another curve needs ------------------------------------------------------


def compare_curves(
    curves: Sequence[LearningCurve],
    than: str,
    scores: ExperimentScores,
    without_interval: Mapping[CellKey, str],
    resampler: RowResampler | None,
) -> dict[CellKey, LabelGain]:
    """Compare every point of the other curves with one curve in the same language.

    A gain is the distance between two curves at the same score, in rows (Le Scao & Rush 2021,
    NAACL, "How many data points is a prompt worth?").

    Args:
        curves: All curves.
        than: Name of the curve to compare with, in each language that has one of this name.
        scores: Predictions of the cells.
        without_interval: Reasons why cells cannot be resampled.
        resampler: Resampler of the metric of the curves; None: no intervals.

    Returns:
        Gain of each cell that is not on the curve itself.

    Raises:
        InputError: No curve has this name, or no other curve is in its languages.
    """
    names = [curve.name for curve in curves]
    if than not in names:
        raise InputError(unknown("curve", than, names))
    others = {curve.target_lang: curve for curve in curves if curve.name == than}
    pairs = [(c, others[c.target_lang]) for c in curves if c.target_lang in others]
    pairs = [(curve, other) for curve, other in pairs if curve is not other]
    if not pairs:
        raise InputError(f"no other curve in the language of {than!r} to compare it with")
    fits: dict[str, Array] = {}
    gains: dict[CellKey, LabelGain] = {}
    for curve, other in pairs:
        estimate, reached = (fit_monotone(c.means[None], c.weights) for c in (curve, other))
        without, drawn = _unusable(curve, other, scores, without_interval), {}
        if resampler and not without:
            for c in (curve, other):
                key = f"{c.target_lang}/{c.name}"
                if key not in fits:
                    fits[key] = fit_monotone(resample_means(c, scores, resampler), c.weights)
                drawn[c.name] = fits[key]
        for index, point in enumerate(curve.points):
            own = point.num_target_rows
            rows = rows_to_reach(estimate[:, index], own, other.num_rows, reached)
            interval = None
            if drawn:
                many = rows_to_reach(
                    drawn[curve.name][:, index], own, other.num_rows, drawn[other.name]
                )
                interval = percentiles(many)
            gains[point.cell.key] = LabelGain(other, float(rows[0]), interval, without)
    return gains


def _unusable(
    curve: LearningCurve,
    other: LearningCurve,
    scores: ExperimentScores,
    without_interval: Mapping[CellKey, str],
) -> str:
    """Reason why two curves cannot be resampled together; empty if they can."""
    keys = [p.cell.key for c in (curve, other) for p in c.points]
    for key in keys:
        if key in without_interval:
            return f"{key.path}: {without_interval[key]}"
    if len({scores.cells[key].ids for key in keys}) > 1:
        return f"cells of {curve.name} and {other.name} were tested on different rows"
    return ""


def resample_means(
    curve: LearningCurve, scores: ExperimentScores, resampler: RowResampler
) -> Array:
    """Means of a curve's cells over resampled runs and test rows.

    All cells share the resamples of test rows. They also share those of several draws of training
    rows and their seeds. Seeds on a single draw are resampled separately for each cell.

    Returns:
        num_resamples x num_points.
    """
    cells = [scores.cells[p.cell.key] for p in curve.points]
    purposes = [("draws",) if has_several_draws(c.runs) else ("seeds", c.key.path) for c in cells]
    return np.stack(
        [
            resampled_mean(resampler.values(cell), cell.runs, draw_seed(*purpose))
            for cell, purpose in zip(cells, purposes, strict=True)
        ],
        axis=1,
    )
