"""Measures of scores under many weightings of the test rows at once.

Thresholds and bins are chosen again under each weighting, because they would be chosen from the
rows of a new test set, too. For one weighting the values equal those of ``thresholds`` and
``calibration`` (tests/analysis/test_weighted_measures.py). Each ``weighted_...`` function is a
:data:`~xlt.trainables.metrics.resampled.Weighted`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from xlt.analysis.metrics.calibration import NUM_BINS
from xlt.analysis.metrics.thresholds import logit
from xlt.trainables.metrics.arrays import BLOCK, Labels, Scores, Values, Weights, ratio, sum_up_to

Counts = NDArray[np.float64]


def _ascending(
    y_true: Labels, scores: Scores, weights: Weights
) -> Iterator[tuple[int, slice, Scores, Labels, Counts]]:
    """Yield for each run and block of weightings: scores ascending, their labels, their weights."""
    for run, score in enumerate(scores):
        order = np.argsort(score, kind="stable")
        for start in range(0, weights.shape[1], BLOCK):
            block = slice(start, start + BLOCK)
            yield run, block, score[order], y_true[order], weights[order, block].astype(np.float64)


def _quantile(score: Scores, below: Counts, probability: float) -> Values:
    """The num_weightings quantiles that ``numpy.quantile`` gives for the rows as drawn."""
    place = (below[-1] - 1) * probability
    low = np.floor(place)
    first, second = (
        score[np.minimum((below[1:] <= rank).sum(axis=0), len(score) - 1)]
        for rank in (low, np.minimum(low + 1, below[-1] - 1))
    )
    # The same order of operations as numpy's, so that ties stay ties.
    part = place - low
    step = second - first
    result: Values = np.where(part < 0.5, first + step * part, second - step * (1 - part))
    return result


def weighted_logit_median(y_true: Labels, scores: Scores, weights: Weights) -> Values:
    """Median log odds of class 1."""
    result = np.empty((len(scores), weights.shape[1]))
    for run, block, score, _, weight in _ascending(y_true, scores, weights):
        result[run, block] = _quantile(logit(score), sum_up_to(weight), 0.5)
    return result


def weighted_class_logit_median(
    label: int, y_true: Labels, scores: Scores, weights: Weights
) -> Values:
    """Median log odds of the rows of one class."""
    rows = np.flatnonzero(y_true == label)
    return weighted_logit_median(y_true[rows], scores[:, rows], weights[rows])


def weighted_brier(y_true: Labels, scores: Scores, weights: Weights) -> Values:
    """Brier score."""
    squares = (scores - y_true) ** 2 @ weights.astype(np.float64)
    return ratio(squares, np.broadcast_to(weights.sum(0, dtype=np.float64), squares.shape))


def weighted_ece(y_true: Labels, scores: Scores, weights: Weights) -> Values:
    """Expected calibration error."""
    result = np.empty((len(scores), weights.shape[1]))
    for run, block, score, label, weight in _ascending(y_true, scores, weights):
        below = sum_up_to(weight)
        apart = sum_up_to(weight * (score - label)[:, None])
        inner = np.linspace(0, 1, NUM_BINS + 1)[1:-1] * 100 / 100  # rounded like percentiles
        edges = np.stack([_quantile(score, below, p) for p in inner])
        ends = np.searchsorted(score, edges, side="right")
        sums = np.stack([apart[end, np.arange(apart.shape[1])] for end in ends])
        whole = np.concatenate([np.zeros((1, sums.shape[1])), sums, apart[-1:]])
        result[run, block] = ratio(np.abs(np.diff(whole, axis=0)).sum(axis=0), below[-1])
    return result
