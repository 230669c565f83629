"""Learning curves over target rows, and how many target rows one curve is worth over another."""

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
from xlt.trainables.metrics.registry import METRICS
from xlt.trainables.spec.cell_key import CellKey


@dataclass(frozen=True)
class CurvePoint:
    """A cell on its curve.

    Attributes:
        num_target_rows: Training rows in the target language.
        cell: Mean, std, n and interval; its mean is a number.
    """

    num_target_rows: int
    cell: TableCell


@dataclass(frozen=True)
class LearningCurve:
    """The cells of a base model that differ in target rows only.

    Attributes:
        name: The base model; with ``/num_source_rows`` where it has several curves in a language.
        base_model: Table row.
        target_lang: Language of target and test rows.
        num_source_rows: Training rows in the source language; 0 for a monolingual base model.
        points: num_points, by ascending target rows, no number twice.
    """

    name: str
    base_model: str
    target_lang: str
    num_source_rows: int
    points: tuple[CurvePoint, ...]

    @property
    def num_rows(self) -> Array:
        """Target rows, num_points."""
        return np.array([point.num_target_rows for point in self.points], np.float64)

    @property
    def means(self) -> Array:
        """Means over runs, num_points."""
        return np.array([point.cell.mean for point in self.points], np.float64)

    @property
    def weights(self) -> Array:
        """Runs, num_points."""
        return np.array([point.cell.n for point in self.points], np.float64)


@dataclass(frozen=True)
class LabelGain:
    """How many target rows another curve needs for the score of a cell.

    Attributes:
        than: The other curve.
        rows: Target rows at which it reaches the score; ``inf`` and ``-inf``: above and below what
            was measured of it.
        interval: 95 % of ``rows``, ends infinite likewise; None: see ``without``.
        without: Why there is no interval; else empty.
    """

    than: LearningCurve
    rows: float
    interval: tuple[float, float] | None
    without: str = ""


@dataclass(frozen=True)
class LearningCurves:
    """The curves of an experiment.

    Attributes:
        collected: What they were made from.
        metric: Name of the metric.
        curves: In the order of the plan.
        gains: Gain of each cell over the curve that was asked for.
        cells: Every cell of the plan, those on no curve included.
        left_out: Why a cell with a value is on no curve.
        without: Why a cell has no interval.
        intervals: Intervals of the means.
        num_resamples: Resamples that the intervals of gains are made from.
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


def learning_curves(
    collected: Collected,
    metric: str = "auroc",
    than: str | None = None,
    num_resamples: int = NUM_RESAMPLES,
    method: str = "t",
) -> LearningCurves:
    """Arrange the cells of an experiment as curves and compare these with one of them.

    Args:
        collected: The trials.
        metric: Name of a metric.
        than: Name of the curve that the others are compared with, within each target language;
            None: no gains.
        num_resamples: Of test rows and runs.
        method: Name in ``INTERVALS``, for the means; gains have percentiles.

    Raises:
        InputError: An unknown metric, interval or curve, no cell with a value, or a curve in the
            same language as no other.
    """
    known = {*collected.metrics, *METRICS}
    if metric not in known:
        raise InputError(unknown("metric", metric, known), f"results {collected.uri}")
    scores = load_scores(collected)
    check_resamples(num_resamples)
    intervals = CellIntervals(scores, method)
    found, without = intervals.of(metric)
    several = len(collected.plan.draws) > 1
    spread = intervals.components(metric) if several and scores.cells else {}
    rows = collected.by_cell
    cells = []
    for planned in collected.plan.cells:
        key = planned.key
        cell = aggregate(planned, rows[key], metric)
        cells.append(replace(cell, interval=found.get(key), components=spread.get(key)))
    curves, left_out = _curves(collected, cells)
    if not curves:
        raise InputError(
            f"no cell has a value of {metric} yet; `xlt status` shows the trials",
            f"results {collected.uri}",
        )
    gains: dict[CellKey, LabelGain] = {}
    if than is not None:
        resampler = RowResampler(metric, num_resamples) if scores.cells else None
        gains = label_gains(curves, than, scores, without, resampler)
    return LearningCurves(
        collected, metric, curves, gains, tuple(cells), left_out, without, intervals, num_resamples
    )


def _curves(
    collected: Collected,
    cells: Sequence[TableCell],
) -> tuple[tuple[LearningCurve, ...], dict[CellKey, str]]:
    """Cells by base model, target language and source rows; only done trials know their rows."""
    languages = {c.key: c.target_lang for c in collected.plan.cells}
    placed: dict[tuple[str, str, int], dict[int, CurvePoint]] = {}
    left_out: dict[CellKey, str] = {}
    for cell in cells:
        if cell.mean is None:
            continue
        key = cell.key
        done = next(row for row in collected.by_cell[key] if row.is_done)
        num_rows = done.num_target_rows or 0
        place = cell.base_model, languages[key], (done.num_train_rows or 0) - num_rows
        points = placed.setdefault(place, {})
        if num_rows in points:
            other = points[num_rows].cell.pattern
            left_out[key] = f"{other} has {num_rows} target and {place[2]} source rows, too"
        else:
            points[num_rows] = CurvePoint(num_rows, cell)
    names = [(model, lang) for model, lang, _ in placed]
    curves = tuple(
        LearningCurve(
            name=model if names.count((model, lang)) == 1 else f"{model}/{num_source_rows}",
            base_model=model,
            target_lang=lang,
            num_source_rows=num_source_rows,
            points=tuple(points[num_rows] for num_rows in sorted(points)),
        )
        for (model, lang, num_source_rows), points in placed.items()
    )
    return curves, left_out


# --- how many rows another curve needs ------------------------------------------------------


def label_gains(
    curves: Sequence[LearningCurve],
    than: str,
    scores: ExperimentScores,
    without_interval: Mapping[CellKey, str],
    resampler: RowResampler | None,
) -> dict[CellKey, LabelGain]:
    """Every point of the other curves against the one in its language.

    The distance of two curves at the same score, in rows (Le Scao & Rush 2021, NAACL, "How many
    data points is a prompt worth?").

    Args:
        curves: All curves.
        than: Name of the one to compare with, in each language that it is there for.
        scores: Predictions of their cells.
        without_interval: Why a cell cannot be resampled.
        resampler: Of the metric of the curves; None: no intervals.

    Returns:
        Gain of each cell; a curve has none over itself.

    Raises:
        InputError: No curve of this name, or no other in its languages.
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
                    fits[key] = fit_monotone(resampled_means(c, scores, resampler), c.weights)
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
    """Why two curves cannot be resampled together; empty if they can."""
    keys = [p.cell.key for c in (curve, other) for p in c.points]
    for key in keys:
        if key in without_interval:
            return f"{key.path}: {without_interval[key]}"
    if len({scores.cells[key].ids for key in keys}) > 1:
        return f"cells of {curve.name} and {other.name} were tested on different rows"
    return ""


def resampled_means(
    curve: LearningCurve, scores: ExperimentScores, resampler: RowResampler
) -> Array:
    """Means of a curve's cells, runs of each cell and test rows drawn anew.

    Test rows are drawn alike for all cells, and so are several draws of training rows and their
    seeds, which cells share; seeds on one draw are drawn for each cell by itself.

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
