"""Gains: the target rows that one learning curve saves over another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xlt.analysis.curves.curve import LearningCurve
from xlt.analysis.curves.monotone import Array, fit_monotone, percentiles, rows_to_reach
from xlt.analysis.trials.scores import ExperimentScores
from xlt.analysis.uncertainty.resampling import RowResampler, draw_seed, resampled_mean
from xlt.analysis.uncertainty.trial_units import has_several_draws
from xlt.data.core.errors import InputError, unknown
from xlt.trainables.spec.cell_key import CellKey


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
