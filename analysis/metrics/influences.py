"""INFLUENCES: how much each test row moves what boundary is judged by, in closed form.

A threshold or bin that is chosen from the rows moves by jumps as single rows are left out, for
which the jackknife is no estimate (Efron 1982, The Jackknife, the Bootstrap and Other Resampling
Plans, section 3.4). What a row does on average over resamples is the covariance of the value with
how often the row is drawn (the infinitesimal jackknife: Efron 2014, Journal of the American
Statistical Association 109:991, section 3). For a value that depends on nearly normal counts, e.g.
on how many rows lie below a threshold, that is the mean derivative over their distribution
(Stein 1981, Annals of Statistics 9:1135, lemma 1): derivatives, with jumps smoothed by as much as
the counts spread. So no resample is drawn, which thousands of trials would not have time for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from xlt.analysis.arrays import THRESHOLD, Labels, Scores, Values, ratio
from xlt.analysis.metrics.calibration import NUM_BINS, bins_of
from xlt.analysis.metrics.thresholds import best_threshold, every_cut, logit

Derivative = Callable[[Labels, Scores], Values]
"""Function of num_items labels and num_runs x num_items scores; num_runs x num_items changes of the
value by one row more like each, as if rows were divisible."""
SMALLEST = np.finfo(np.float64).tiny


def influences(name: str, y_true: Labels, scores: Scores) -> Values:
    """Influence of every test row on every run's value, for rows drawn within their class.

    Args:
        name: In :data:`INFLUENCES`.
        y_true: num_items, 0 or 1.
        scores: num_runs x num_items.

    Returns:
        num_runs x num_items; the sum of squares of a run estimates the variance of its value.
    """
    derivatives = INFLUENCES[name](y_true, scores)
    for label in (0, 1):  # a class keeps its size, so that what all of its rows do is nothing
        rows = np.flatnonzero(y_true == label)
        derivatives[:, rows] -= derivatives[:, rows].mean(axis=1, keepdims=True)
    return derivatives


def _f1(y_true: Labels, decided: NDArray[np.bool_], counted: Values, hits: Values) -> Values:
    """Of F1, from what a row more adds to the rows counted as positive and to the hits."""
    both = np.count_nonzero(decided, axis=1) + np.count_nonzero(y_true)
    value = 2 * np.count_nonzero(decided[:, y_true == 1], axis=1) / np.maximum(both, 1)
    moved: Values = (2 * hits - value[:, None] * (counted + y_true)) / np.maximum(both, 1)[:, None]
    return moved


def _f1_at(threshold: float | Values, y_true: Labels, scores: Scores) -> Values:
    decided = scores >= threshold
    return _f1(y_true, decided, decided.astype(np.float64), (decided & (y_true == 1)) * 1.0)


def _f1_oracle(y_true: Labels, scores: Scores) -> Values:
    """At the largest F1 a small move of the threshold changes nothing (envelope theorem)."""
    return _f1_at(best_threshold(every_cut(y_true, scores))[:, None], y_true, scores)


def _f1_median(y_true: Labels, scores: Scores) -> Values:
    """Half of all rows are counted: a row above the median pushes half a row below, of a class.

    The class is that of rows near the median: positive with the share that positives have there.
    """
    middle = _at_median(y_true, scores)
    decided = scores >= middle.median
    positive = (middle.near * y_true[middle.order]).sum(axis=1, keepdims=True)
    half = np.full(scores.shape, 0.5)
    return _f1(y_true, decided, half, decided * y_true + positive * (0.5 - decided))


def _logit_median(y_true: Labels, scores: Scores) -> Values:
    """A row above the median moves it up by half a rank, a row below down."""
    middle = _at_median(y_true, scores)
    away, near, logits = middle.away, middle.near, logit(middle.ascending)
    # Logits a rank: Stein's mean slope is that of a regression.
    slope = ratio((near * away * logits).sum(axis=1), (near * away**2).sum(axis=1))
    moved: Values = slope[:, None] * (0.5 - (scores <= middle.median))
    return moved


def _logit_median_of(label: int, y_true: Labels, scores: Scores) -> Values:
    result, rows = np.zeros(scores.shape), np.flatnonzero(y_true == label)
    result[:, rows] = _logit_median(y_true[rows], scores[:, rows])
    return result


@dataclass(frozen=True)
class _Middle:
    """The rows of runs around their median.

    Attributes:
        order: num_runs x num_items, rows by rank.
        ascending: num_runs x num_items, their scores.
        median: num_runs x 1.
        away: num_items, ranks less the median's.
        near: num_runs x num_items, the distribution of ranks that become the median.
    """

    order: NDArray[np.intp]
    ascending: Scores
    median: Scores
    away: Values
    near: Values


def _at_median(y_true: Labels, scores: Scores) -> _Middle:
    """With the variance of how many rows lie below: m q (1 - q) of m rows, a share q below."""
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


def _brier(y_true: Labels, scores: Scores) -> Values:
    squares = (scores - y_true) ** 2
    moved: Values = (squares - squares.mean(axis=1, keepdims=True)) / scores.shape[1]
    return moved


def _ece(y_true: Labels, scores: Scores) -> Values:
    """Of a bin's absolute sum, the mean sign over resamples; bins stay where they are.

    A row that moves to the next bin takes nothing along: where the signs of two bins differ, scores
    between them are right.
    """
    from scipy.special import erf

    places = bins_of(scores, NUM_BINS) + NUM_BINS * np.arange(len(scores))[:, None]
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


INFLUENCES: dict[str, Derivative] = {
    "f1": partial(_f1_at, THRESHOLD),
    "f1_median": _f1_median,
    "f1_oracle": _f1_oracle,
    "ece": _ece,
    "brier": _brier,
    "logit_median": _logit_median,
    "logit_median_0": partial(_logit_median_of, 0),
    "logit_median_1": partial(_logit_median_of, 1),
}
"""Name in ``xlt.analysis.boundary.measure.RESAMPLED`` -> derivative."""
