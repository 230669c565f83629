"""Metrics of two classes under many weightings of the test rows at once.

Each function is a :data:`~xlt.trainables.metrics.resampled.Weighted`. Scikit-learn computes one
weighting at a time; the values are equal (tests/trainables/test_weighted_metrics.py).
"""

from __future__ import annotations

import numpy as np

from xlt.trainables.metrics.arrays import (
    THRESHOLD,
    Labels,
    Scores,
    Values,
    Weights,
    f1_from_counts,
    ratio,
)
from xlt.trainables.metrics.resampled import BLOCK


def _counts(
    y_true: Labels, scores: Scores, weights: Weights
) -> tuple[Values, Values, Values, Values]:
    """True positives and rows decided positive (num_runs x num_weightings); positives and rows."""
    positive = y_true == 1
    decided = (scores >= THRESHOLD).astype(weights.dtype)
    hits = decided[:, positive] @ weights[positive]
    sums = (hits, decided @ weights, weights[positive].sum(0), weights.sum(0))
    a, b, c, d = (array.astype(np.float64) for array in sums)
    return a, b, c, d


def weighted_f1(y_true: Labels, scores: Scores, weights: Weights) -> Values:
    """F1 of class 1; 0 where no row is positive or decided positive."""
    hits, decided, positives, _ = _counts(y_true, scores, weights)
    return f1_from_counts(hits, decided, positives)


def weighted_precision(y_true: Labels, scores: Scores, weights: Weights) -> Values:
    """Share of class 1 among the rows decided positive; 0 without such rows."""
    hits, decided, _, _ = _counts(y_true, scores, weights)
    return ratio(hits, decided)


def weighted_recall(y_true: Labels, scores: Scores, weights: Weights) -> Values:
    """Share of rows decided positive among class 1; 0 without such rows."""
    hits, _, positives, _ = _counts(y_true, scores, weights)
    return ratio(hits, np.broadcast_to(positives, hits.shape))


def weighted_accuracy(y_true: Labels, scores: Scores, weights: Weights) -> Values:
    """Share of rows whose class is decided correctly."""
    hits, decided, positives, rows = _counts(y_true, scores, weights)
    correct = rows - positives - decided + 2 * hits
    return ratio(correct, np.broadcast_to(rows, correct.shape))


def weighted_alarms(y_true: Labels, scores: Scores, weights: Weights) -> Values:
    """Share of all rows that are decided positive."""
    _, decided, _, rows = _counts(y_true, scores, weights)
    return ratio(decided, np.broadcast_to(rows, decided.shape))


def weighted_false_alarms(y_true: Labels, scores: Scores, weights: Weights) -> Values:
    """Share of all rows that are of class 0 and decided positive."""
    hits, decided, _, rows = _counts(y_true, scores, weights)
    return ratio(decided - hits, np.broadcast_to(rows, decided.shape))


def weighted_average_precision(y_true: Labels, scores: Scores, weights: Weights) -> Values:
    """Mean over positive rows of the precision at their score; tied rows are taken together.

    It is a sum over thresholds without interpolation, like
    ``sklearn.metrics.average_precision_score``. Every weighting needs weight on both classes.
    """
    positive = np.flatnonzero(y_true == 1)
    labels = (y_true == 1).astype(weights.dtype)
    result = np.empty((len(scores), weights.shape[1]))
    for run, score in enumerate(scores):
        descending = np.argsort(-score, kind="stable")
        end = np.searchsorted(-score[descending], -score[positive], side="right") - 1
        for start in range(0, weights.shape[1], BLOCK):
            block = weights[:, start : start + BLOCK]
            ordered = block[descending]
            rows = np.cumsum(ordered, axis=0)[end].astype(np.float64)
            hits = np.cumsum(ordered * labels[descending, None], axis=0)[end].astype(np.float64)
            above = block[positive].astype(np.float64)
            gained = np.einsum("ij,ij->j", above, ratio(hits, rows))
            result[run, start : start + BLOCK] = gained / above.sum(0)
    return result
