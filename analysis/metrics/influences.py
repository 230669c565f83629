"""Closed-form influences of test rows on measures of scores and of decisions.

A threshold or bin that is chosen from the rows jumps when single rows are left out. The jackknife
does not estimate the variance of such a value (Efron 1982, The Jackknife, the Bootstrap and Other
Resampling Plans, section 3.4). The infinitesimal jackknife does: the influence of a row is the
covariance over resamples of the value with how often the row is drawn (Efron 2014, Journal of the
American Statistical Association 109:991, section 3). For a value that depends on nearly normal
counts, e.g. on how many rows lie below a threshold, this covariance is the mean derivative over
their distribution (Stein 1981, Annals of Statistics 9:1135, lemma 1). So each function here is a
derivative in which jumps are smoothed over the spread of the counts, and no resample is drawn:
thousands of trials would take too long.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xlt.analysis.metrics.calibration import NUM_BINS, assign_bins
from xlt.analysis.metrics.thresholds import logit, weigh_negatives
from xlt.trainables.metrics.arrays import Labels, Scores, Values, ratio

Derivative = Callable[[Labels, Scores], Values]
"""Function of num_rows labels and num_runs x num_rows scores. It returns num_runs x num_rows
changes of the value when one more row like each is added, as if rows were divisible."""
SMALLEST = np.finfo(np.float64).tiny


def within_classes(derivative: Derivative, y_true: Labels, scores: Scores) -> Values:
    """Influence of every test row on every run's value, for rows drawn within their class.

    A class keeps its size in every resample, so all of its rows together have no influence: the
    mean over the class is subtracted.

    Args:
        derivative: One of this module.
        y_true: num_rows, 0 or 1.
        scores: num_runs x num_rows.

    Returns:
        num_runs x num_rows; the sum of squares of a run estimates the variance of its value.
    """
    derivatives = derivative(y_true, scores)
    for label in (0, 1):
        rows = np.flatnonzero(y_true == label)
        derivatives[:, rows] -= derivatives[:, rows].mean(axis=1, keepdims=True)
    return derivatives


def macro_f1_derivative(
    y_true: Labels, decided: NDArray[np.bool_], prevalence: float | None = None
) -> Values:
    """Derivative of the mean F1 of both classes, with decisions that stay as they are.

    A threshold that is chosen as the best one may move: near its best a value hardly changes
    (envelope theorem).

    Args:
        y_true: num_rows, 0 or 1.
        decided: num_runs x num_rows, whether rows are decided positive.
        prevalence: Share of class 1; None: that of the rows.
    """
    positive = y_true == 1
    weights = np.where(positive, 1.0, weigh_negatives(y_true, prevalence))
    both = (positive, decided), (~positive, ~decided)
    first, second = (_f1_derivative(own, called, weights) for own, called in both)
    return (first + second) / 2


def _f1_derivative(own: NDArray[np.bool_], decided: NDArray[np.bool_], weights: Values) -> Values:
    """Derivative of the F1 of a class from its own rows and the rows that are decided to be so."""
    counted = weights * (decided.astype(np.float64) + own)
    both = counted.sum(axis=1, keepdims=True)
    hits = weights * (decided & own)
    value = ratio(2 * hits.sum(axis=1, keepdims=True), both)
    moved: Values = ratio(2 * hits - value * counted, np.broadcast_to(both, hits.shape))
    return moved


def logit_median_derivative(y_true: Labels, scores: Scores) -> Values:
    """Derivative of the median log odds: a row above moves it up by half a rank, one below down."""
    middle = _at_median(y_true, scores)
    away, near, logits = middle.away, middle.near, logit(middle.ascending)
    # Logits a rank: Stein's mean slope is that of a regression.
    slope = ratio((near * away * logits).sum(axis=1), (near * away**2).sum(axis=1))
    moved: Values = slope[:, None] * (0.5 - (scores <= middle.median))
    return moved


def class_logit_median_derivative(label: int, y_true: Labels, scores: Scores) -> Values:
    """Derivative of the median log odds of one class; rows of the other have none."""
    result, rows = np.zeros(scores.shape), np.flatnonzero(y_true == label)
    result[:, rows] = logit_median_derivative(y_true[rows], scores[:, rows])
    return result


@dataclass(frozen=True)
class _Middle:
    """The rows of each run in relation to the median score.

    Attributes:
        order: num_runs x num_rows row numbers in ascending order of score.
        ascending: num_runs x num_rows scores in this order.
        median: num_runs x 1 median scores.
        away: num_rows distances of the ranks from the rank of the median.
        near: num_runs x num_rows shares of resamples in which a rank becomes the median.
    """

    order: NDArray[np.intp]
    ascending: Scores
    median: Scores
    away: Values
    near: Values


def _at_median(y_true: Labels, scores: Scores) -> _Middle:
    """Find the median and which rows are near it.

    The number of rows of a class below the median varies with m q (1 - q), for m rows with a share
    q below.
    """
    order = np.argsort(scores, axis=1, kind="stable")
    ascending = np.take_along_axis(scores, order, axis=1)
    median = np.asarray(np.median(ascending, axis=1, keepdims=True))
    below = scores <= median
    variance = np.zeros(len(scores))
    for label in (0, 1):
        rows = np.flatnonzero(y_true == label)
        share = below[:, rows].sum(axis=1) / max(len(rows), 1)
        variance += len(rows) * share * (1 - share)
    away = np.arange(scores.shape[1]) - (scores.shape[1] - 1) / 2
    near = np.exp(-(away**2) / (2 * np.maximum(variance, 0.25))[:, None])  # two rows at least
    return _Middle(order, ascending, median, away, near / near.sum(axis=1, keepdims=True))


def brier_derivative(y_true: Labels, scores: Scores) -> Values:
    """Derivative of the Brier score."""
    squares = (scores - y_true) ** 2
    moved: Values = (squares - squares.mean(axis=1, keepdims=True)) / scores.shape[1]
    return moved


def ece_derivative(y_true: Labels, scores: Scores) -> Values:
    """Derivative of the calibration error, with bins that stay where they are.

    The derivative of a bin's absolute sum is the mean of its sign over resamples. Rows that move to
    the next bin are ignored: where the signs of two bins differ, the scores between them are right.
    """
    from scipy.special import erf

    places = assign_bins(scores, NUM_BINS) + NUM_BINS * np.arange(len(scores))[:, None]
    apart = scores - y_true

    def by_bin(values: Values, rows: NDArray[np.intp]) -> Values:
        size = NUM_BINS * len(scores)
        sums = np.bincount(places[:, rows].ravel(), values[:, rows].ravel(), minlength=size)
        return sums.astype(np.float64)

    rows = [np.flatnonzero(y_true == label) for label in (0, 1)]
    sums = [by_bin(apart, own) for own in rows]
    variances = sum(
        by_bin(apart**2, own) - total**2 / max(len(own), 1)
        for own, total in zip(rows, sums, strict=True)
    )
    sign = erf((sums[0] + sums[1]) / np.sqrt(2 * np.maximum(variances, SMALLEST)))
    value = np.abs(sums[0] + sums[1]).reshape(len(scores), -1).sum(axis=1) / scores.shape[1]
    moved: Values = (sign[places] * apart - value[:, None]) / scores.shape[1]
    return moved
