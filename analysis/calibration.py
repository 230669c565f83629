"""Whether scores are probabilities: calibration error, Brier score, reliability curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.predictions import Labels, Scores

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

    Attributes:
        calibration_error: :func:`expected_calibration_error`, which is of the same bins.
        reliability: Mean squared distance of a bin's score from its share of positives; 0 is best.
        resolution: Mean squared distance of a bin's share of positives from that of all rows.
        uncertainty: Variance of the labels, which no score can change.
        within_bins: What binning leaves over; 0 if the scores within each bin are equal.
    """

    calibration_error: float
    reliability: float
    resolution: float
    uncertainty: float
    within_bins: float


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
    bins, mass = _bins(y_score, num_bins)
    return ReliabilityCurve(_means(y_score, bins), _means(y_true, bins), mass)


def expected_calibration_error(y_true: Labels, y_score: Scores, num_bins: int = NUM_BINS) -> float:
    """Mean over rows of the distance between a bin's score and its share of positives.

    Naeini et al. 2015 (AAAI), with bins of equal mass instead of equal width because those are
    less biased (Nixon et al. 2019, arXiv 1904.01685, section 3), and of the probability of
    class 1 instead of the larger one. A perfectly calibrated score has more than 0 on few rows.

    Args:
        y_true: (num_rows,) 0 or 1.
        y_score: (num_rows,) probability of class 1.
        num_bins: Bins.

    Returns:
        A fraction of 1.
    """
    return brier_parts(y_true, y_score, num_bins).calibration_error


def brier_parts(y_true: Labels, y_score: Scores, num_bins: int = NUM_BINS) -> BrierParts:
    """The Brier score's decomposition by Murphy 1973 (J. Appl. Meteor. 12, 595-600).

    Over bins it is exact only with the two terms within bins of Stephenson et al. 2008 (Weather
    and Forecasting 23, 752-757): the variance of the scores less twice their covariance with the
    labels, added up in ``within_bins``.

    Args:
        y_true: (num_rows,) 0 or 1.
        y_score: (num_rows,) probability of class 1.
        num_bins: Bins of about equal mass.
    """
    bins, mass = _bins(y_score, num_bins)
    score, positives = _means(y_score, bins), _means(y_true, bins)
    prior = float(np.mean(y_true))
    spread, outcome = y_score - score[bins], y_true - positives[bins]
    return BrierParts(
        calibration_error=float(mass @ np.abs(score - positives)),
        reliability=float(mass @ (score - positives) ** 2),
        resolution=float(mass @ (positives - prior) ** 2),
        uncertainty=prior * (1 - prior),
        within_bins=float(np.mean(spread**2) - 2 * np.mean(spread * outcome)),
    )


def _bins(y_score: Scores, num_bins: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """(num_rows,) each row's bin, counted without empty ones; the share of rows of each bin."""
    edges = np.percentile(y_score, np.linspace(0, 1, num_bins + 1) * 100)
    bins = np.searchsorted(edges[1:-1], y_score)
    counts = np.bincount(bins, minlength=num_bins)
    kept = counts > 0
    return (np.cumsum(kept) - 1)[bins], counts[kept] / len(y_score)


def _means(values: Labels | Scores, bins: NDArray[np.intp]) -> NDArray[np.float64]:
    return np.bincount(bins, weights=values) / np.bincount(bins)
