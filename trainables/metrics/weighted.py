"""Metrics under many weightings of the test rows at once.

Metrics of decisions are functions of :class:`Counts`, because counts are sums over rows: rows that
are exchanged between two cells move them by fixed numbers. Scikit-learn computes one weighting at a
time; the values are equal (tests/trainables/test_weighted_metrics.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from xlt.trainables.metrics.arrays import (
    BLOCK,
    Labels,
    Scores,
    Values,
    Weights,
    decide,
    f1_from_counts,
    ratio,
)


class Counts(NamedTuple):
    """Sums of the weights of rows; with more than two classes the first axis has the classes.

    Attributes:
        hits: Rows of class 1, or of each class, that are decided so; num_runs x num_weightings.
        decided: Rows decided so; num_runs x num_weightings.
        positives: Rows of class 1, or of each class; num_weightings, or with an axis of 1 run.
        rows: All rows, num_weightings.
    """

    hits: Values
    decided: Values
    positives: Values
    rows: Values

    def moved(self, hits: Values, decided: Values) -> Counts:
        """The counts after other rows are decided so."""
        return self._replace(hits=self.hits + hits, decided=self.decided + decided)


FromCounts = Callable[[Counts], Values]
"""Function of counts; returns num_runs x num_weightings values."""


def count_decisions(y_true: Labels, scores: Scores, weights: Weights) -> Counts:
    """Count decisions for class 1 at the threshold, or for the class of the largest probability.

    Args:
        y_true: num_rows class numbers.
        scores: num_runs x num_rows, or num_runs x num_rows x num_classes; the first of equal
            probabilities is decided.
        weights: num_rows x num_weightings.
    """
    labels = [1] if scores.ndim == 2 else range(scores.shape[2])
    called = np.stack([decide(scores) == label for label in labels]).astype(weights.dtype)
    # One product for the decisions of all classes: each product reads all weights.
    decided = (called.reshape(-1, len(y_true)) @ weights).reshape(*called.shape[:2], -1)
    hits, positives = np.empty_like(decided), np.empty_like(decided[:, :1])
    for number, label in enumerate(labels):
        own = weights[y_true == label]
        hits[number], positives[number] = called[number][:, y_true == label] @ own, own.sum(0)
    if scores.ndim == 2:
        hits, decided, positives = hits[0], decided[0], positives[0, 0]
    sums = hits, decided, positives, weights.sum(0)
    return Counts(*(array.astype(np.float64) for array in sums))


def weighted_decisions(
    from_counts: FromCounts, y_true: Labels, scores: Scores, weights: Weights
) -> Values:
    """A metric of decisions as a :data:`~xlt.trainables.metrics.resampled.Weighted`."""
    return from_counts(count_decisions(y_true, scores, weights))


def f1(counts: Counts) -> Values:
    """F1 of class 1, or of each class; 0 where no row is of the class or decided so."""
    return f1_from_counts(counts.hits, counts.decided, counts.positives)


def macro_f1(counts: Counts) -> Values:
    """Mean over the classes of their F1."""
    values: Values = f1(counts).mean(axis=0)
    return values


def precision(counts: Counts) -> Values:
    """Share of class 1, or of each class, among the rows decided so; 0 without such rows."""
    return ratio(counts.hits, counts.decided)


def recall(counts: Counts) -> Values:
    """Share of rows decided so among class 1, or among each class; 0 without such rows."""
    return ratio(counts.hits, np.broadcast_to(counts.positives, counts.hits.shape))


def accuracy(counts: Counts) -> Values:
    """Share of rows whose class is decided correctly."""
    hits, decided, positives, rows = counts
    correct = hits.sum(axis=0) if hits.ndim == 3 else rows - positives - decided + 2 * hits
    return ratio(correct, np.broadcast_to(rows, correct.shape))


def alarms(counts: Counts) -> Values:
    """Share of all rows that are decided positive."""
    return ratio(counts.decided, np.broadcast_to(counts.rows, counts.decided.shape))


def false_alarms(counts: Counts) -> Values:
    """Share of all rows that are of class 0 and decided positive."""
    false = counts.decided - counts.hits
    return ratio(false, np.broadcast_to(counts.rows, false.shape))


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
