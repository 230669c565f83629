"""Calibration of probabilities: calibration error, Brier score, reliability curve."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xlt.trainables.metrics.arrays import Labels, Scores, Values, ratio

NUM_BINS = 15
"""Bins of the calibration error, as in Guo et al. 2017 (arXiv 1706.04599), section 5."""


@dataclass(frozen=True)
class ReliabilityCurve:
    """Points of a reliability diagram: bins of about equal mass, without empty ones.

    Attributes:
        mean_score: (num_bins,) mean probability of class 1 in each bin.
        positives: (num_bins,) share of class 1 in each bin.
        mass: (num_bins,) share of all rows that are in each bin; sums to 1.
    """

    mean_score: NDArray[np.float64]
    positives: NDArray[np.float64]
    mass: NDArray[np.float64]


@dataclass(frozen=True)
class BrierParts:
    """Parts of the Brier score: reliability - resolution + uncertainty + within_bins.

    Attributes, each (...,) for scores of shape (..., num_rows):
        calibration_error: Expected calibration error: mean over rows of the distance between the
            mean score and the share of positives in the row's bin (Naeini et al. 2015, AAAI). Bins
            have equal mass instead of equal width because this is less biased (Nixon et al. 2019,
            arXiv 1904.01685, section 3), and the score is the probability of class 1 instead of the
            larger one. On few rows even a perfectly calibrated score has an error above 0.
        reliability: Mean squared distance between a bin's mean score and its share of positives;
            0 is best.
        resolution: Mean squared distance between a bin's share of positives and that of all rows.
        uncertainty: Variance of the labels, which no score can change.
        within_bins: Remainder from differences within bins; 0 if the scores in each bin are equal.
    """

    calibration_error: Values
    reliability: Values
    resolution: Values
    uncertainty: float
    within_bins: Values


def reliability_curve(
    y_true: Labels, y_score: Scores, num_bins: int = NUM_BINS
) -> ReliabilityCurve:
    """Compute the points of a reliability diagram.

    Bin edges are quantiles of the scores, so equal scores share a bin. The points equal those of
    ``sklearn.calibration.calibration_curve(strategy="quantile")``, which does not return masses.

    Args:
        y_true: (num_rows,) 0 or 1.
        y_score: (num_rows,) probability of class 1.
        num_bins: Maximum number of points.
    """
    bins = _bin_rows(y_true, y_score, num_bins)
    kept = bins.mass > 0
    return ReliabilityCurve(bins.mean_score[kept], bins.positives[kept], bins.mass[kept])


def brier_parts(y_true: Labels, y_score: Scores, num_bins: int = NUM_BINS) -> BrierParts:
    """Decompose the Brier score (Murphy 1973, J. Appl. Meteor. 12, 595-600).

    Over bins the decomposition is exact only with the two terms within bins of Stephenson et al.
    2008 (Weather and Forecasting 23, 752-757): the variance of the scores minus twice their
    covariance with the labels. ``within_bins`` is the sum of both.

    Args:
        y_true: (num_rows,) 0 or 1.
        y_score: (..., num_rows) probability of class 1.
        num_bins: Number of bins of about equal mass.
    """
    bins = _bin_rows(y_true, y_score, num_bins)
    mass, distance = bins.mass, bins.mean_score - bins.positives
    prior = float(np.mean(y_true))
    spread = y_score - np.take_along_axis(bins.mean_score, bins.rows, axis=-1)
    outcome = y_true - np.take_along_axis(bins.positives, bins.rows, axis=-1)
    return BrierParts(
        calibration_error=np.asarray((mass * np.abs(distance)).sum(axis=-1)),
        reliability=np.asarray((mass * distance**2).sum(axis=-1)),
        resolution=np.asarray((mass * (bins.positives - prior) ** 2).sum(axis=-1)),
        uncertainty=prior * (1 - prior),
        within_bins=np.asarray((spread**2).mean(axis=-1) - 2 * (spread * outcome).mean(axis=-1)),
    )


def assign_bins(y_score: Scores, num_bins: int) -> NDArray[np.intp]:
    """(..., num_rows) bin of each row; bins have about equal mass, and equal scores share one."""
    shares = np.linspace(0, 1, num_bins + 1)[1:-1]
    # NumPy finds percentiles of sorted rows in a fraction of the time.
    edges = np.percentile(np.sort(y_score, axis=-1), shares * 100, axis=-1)
    return np.asarray(np.count_nonzero(edges[..., None] < y_score, axis=0))


@dataclass(frozen=True)
class _Bins:
    """Bins of rows, (..., num_bins) each; empty bins have zeros.

    Attributes:
        rows: (..., num_rows) bin of each row.
        mass: Share of all rows that are in the bin.
        mean_score: Mean probability of class 1.
        positives: Share of class 1.
    """

    rows: NDArray[np.intp]
    mass: Values
    mean_score: Values
    positives: Values


def _bin_rows(y_true: Labels, y_score: Scores, num_bins: int) -> _Bins:
    rows = assign_bins(y_score, num_bins)
    shape = (*y_score.shape[:-1], num_bins)
    places = rows.reshape(-1, rows.shape[-1]) + num_bins * np.arange(math.prod(shape[:-1]))[:, None]

    def sums(values: Labels | Scores) -> Values:
        weights = np.broadcast_to(values, y_score.shape).ravel()
        totals = np.bincount(places.ravel(), weights, math.prod(shape)).reshape(shape)
        return totals.astype(np.float64)

    counts = sums(np.ones(len(y_true)))
    means = (ratio(sums(values), counts) for values in (y_score, y_true))
    return _Bins(rows, counts / len(y_true), *means)
