"""Whether scores are probabilities: calibration error, Brier score, reliability curve."""

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
    """Rows in bins of about equal mass; empty bins are left out.

    Attributes:
        mean_score: (num_bins,) mean probability of class 1.
        positives: (num_bins,) share of rows of class 1.
        mass: (num_bins,) share of all rows; sums to 1.
    """

    mean_score: NDArray[np.float64]
    positives: NDArray[np.float64]
    mass: NDArray[np.float64]


@dataclass(frozen=True)
class BrierParts:
    """Brier score = reliability - resolution + uncertainty + within_bins.

    Attributes, each (...,) as the scores are (..., num_rows):
        calibration_error: :func:`expected_calibration_error`, which is of the same bins.
        reliability: Mean squared distance of a bin's score from its share of positives; 0 is best.
        resolution: Mean squared distance of a bin's share of positives from that of all rows.
        uncertainty: Variance of the labels, which no score can change.
        within_bins: What binning leaves over; 0 if the scores within each bin are equal.
    """

    calibration_error: Values
    reliability: Values
    resolution: Values
    uncertainty: float
    within_bins: Values


def reliability_curve(
    y_true: Labels, y_score: Scores, num_bins: int = NUM_BINS
) -> ReliabilityCurve:
    """The points of a reliability diagram.

    Bin edges are quantiles of the scores, so equal scores share a bin; the points are those of
    ``sklearn.calibration.calibration_curve(strategy="quantile")``, which keeps the masses to
    itself.

    Args:
        y_true: (num_rows,) 0 or 1.
        y_score: (num_rows,) probability of class 1.
        num_bins: At most so many points.
    """
    made = _bins(y_true, y_score, num_bins)
    kept = made.mass > 0
    return ReliabilityCurve(made.mean_score[kept], made.positives[kept], made.mass[kept])


def expected_calibration_error(y_true: Labels, y_score: Scores, num_bins: int = NUM_BINS) -> Values:
    """Mean over rows of the distance between a bin's score and its share of positives.

    Naeini et al. 2015 (AAAI), with bins of equal mass instead of equal width because those are
    less biased (Nixon et al. 2019, arXiv 1904.01685, section 3), and of the probability of
    class 1 instead of the larger one. A perfectly calibrated score has more than 0 on few rows.

    Args:
        y_true: (num_rows,) 0 or 1.
        y_score: (..., num_rows) probability of class 1.
        num_bins: Bins.

    Returns:
        (...,) fractions of 1.
    """
    return brier_parts(y_true, y_score, num_bins).calibration_error


def brier_parts(y_true: Labels, y_score: Scores, num_bins: int = NUM_BINS) -> BrierParts:
    """The Brier score's decomposition by Murphy 1973 (J. Appl. Meteor. 12, 595-600).

    Over bins it is exact only with the two terms within bins of Stephenson et al. 2008 (Weather
    and Forecasting 23, 752-757): the variance of the scores less twice their covariance with the
    labels, added up in ``within_bins``.

    Args:
        y_true: (num_rows,) 0 or 1.
        y_score: (..., num_rows) probability of class 1.
        num_bins: Bins of about equal mass.
    """
    made = _bins(y_true, y_score, num_bins)
    mass, apart = made.mass, made.mean_score - made.positives
    prior = float(np.mean(y_true))
    spread = y_score - np.take_along_axis(made.mean_score, made.rows, axis=-1)
    outcome = y_true - np.take_along_axis(made.positives, made.rows, axis=-1)
    return BrierParts(
        calibration_error=np.asarray((mass * np.abs(apart)).sum(axis=-1)),
        reliability=np.asarray((mass * apart**2).sum(axis=-1)),
        resolution=np.asarray((mass * (made.positives - prior) ** 2).sum(axis=-1)),
        uncertainty=prior * (1 - prior),
        within_bins=np.asarray((spread**2).mean(axis=-1) - 2 * (spread * outcome).mean(axis=-1)),
    )


def bins_of(y_score: Scores, num_bins: int) -> NDArray[np.intp]:
    """(..., num_rows) each row's bin, of about equal mass; equal scores share one."""
    shares = np.linspace(0, 1, num_bins + 1)[1:-1]
    # Sorted first: of sorted rows NumPy finds percentiles in a fraction of the time.
    edges = np.percentile(np.sort(y_score, axis=-1), shares * 100, axis=-1)
    return np.asarray(np.count_nonzero(edges[..., None] < y_score, axis=0))


@dataclass(frozen=True)
class _Bins:
    """Bins of rows, (..., num_bins) each; those without rows have zeros.

    Attributes:
        rows: (..., num_rows) the bin of each row.
        mass: Share of all rows.
        mean_score: Mean probability of class 1.
        positives: Share of rows of class 1.
    """

    rows: NDArray[np.intp]
    mass: Values
    mean_score: Values
    positives: Values


def _bins(y_true: Labels, y_score: Scores, num_bins: int) -> _Bins:
    rows = bins_of(y_score, num_bins)
    shape = (*y_score.shape[:-1], num_bins)
    places = rows.reshape(-1, rows.shape[-1]) + num_bins * np.arange(math.prod(shape[:-1]))[:, None]

    def sums(values: Labels | Scores) -> Values:
        weights = np.broadcast_to(values, y_score.shape).ravel()
        found = np.bincount(places.ravel(), weights, math.prod(shape)).reshape(shape)
        return found.astype(np.float64)

    counts = sums(np.ones(len(y_true)))
    means = (ratio(sums(values), counts) for values in (y_score, y_true))
    return _Bins(rows, counts / len(y_true), *means)
