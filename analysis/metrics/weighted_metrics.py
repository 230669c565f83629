"""WEIGHTED_METRICS: a metric for many weightings of the test rows at once.

A resample of rows is a column of counts, leaving a row out is a column with one 0, and exchanging
two models' scores of a row moves its weight from one score to the other. So one function a metric
serves bootstrap, jackknife and permutation test. Scikit-learn has the same metrics for one
weighting at a time; the values are equal (tests/analysis/test_weighted_metrics.py).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from xlt.analysis.arrays import THRESHOLD, Labels, Scores, Values, Weights, ratio

WeightedMetric = Callable[[Labels, Scores, Weights], Values]

BLOCK = 256
"""Weightings at a time: a block of 512 items in float32 is 512 KiB and stays in a core's cache."""
MAX_FLOAT32_ITEMS = 4096
"""float32 holds halves exactly up to 2**23, and pairs of a positive and a negative row number at
most (num_items / 2)**2; with up to 4096 items every sum below is exact in float32."""


def weight_type(num_items: int) -> type[np.float32] | type[np.float64]:
    """The smallest float type in which sums of weights and of pairs of rows are exact."""
    return np.float32 if num_items <= MAX_FLOAT32_ITEMS else np.float64


def undefined(metric: str, y_true: Labels) -> str:
    """Why a metric has no value on these labels; empty if it has one."""
    present = np.unique(y_true)
    if metric in NEED_BOTH_CLASSES and len(present) < 2:
        return f"{metric} needs both classes, all test rows are of class {present[0]}"
    return ""


def _counts(
    y_true: Labels, scores: Scores, weights: Weights
) -> tuple[Values, Values, Values, Values]:
    """True positives and predicted positives (num_seeds x num_weightings); positives and rows."""
    positive = y_true == 1
    decided = (scores >= THRESHOLD).astype(weights.dtype)
    true_positives = decided[:, positive] @ weights[positive]
    sums = (true_positives, decided @ weights, weights[positive].sum(0), weights.sum(0))
    a, b, c, d = (array.astype(np.float64) for array in sums)
    return a, b, c, d


def _f1(y_true: Labels, scores: Scores, weights: Weights) -> Values:
    true_positives, decided, positives, _ = _counts(y_true, scores, weights)
    return ratio(2 * true_positives, decided + positives)


def _precision(y_true: Labels, scores: Scores, weights: Weights) -> Values:
    true_positives, decided, _, _ = _counts(y_true, scores, weights)
    return ratio(true_positives, decided)


def _recall(y_true: Labels, scores: Scores, weights: Weights) -> Values:
    true_positives, _, positives, _ = _counts(y_true, scores, weights)
    return ratio(true_positives, np.broadcast_to(positives, true_positives.shape))


def _accuracy(y_true: Labels, scores: Scores, weights: Weights) -> Values:
    true_positives, decided, positives, rows = _counts(y_true, scores, weights)
    correct = rows - positives - decided + 2 * true_positives
    return ratio(correct, np.broadcast_to(rows, correct.shape))


def _auroc(y_true: Labels, scores: Scores, weights: Weights) -> Values:
    """Share of pairs in which the positive row scores higher, ties half.

    The Mann-Whitney form of the area under the ROC curve (Hanley & McNeil 1982, Radiology
    143:29): negative rows in ascending order, their cumulative weights looked up at each positive
    row from below and from above.
    """
    positive, negative = np.flatnonzero(y_true == 1), np.flatnonzero(y_true == 0)
    result = np.empty((len(scores), weights.shape[1]))
    for row, score in enumerate(scores):
        ascending = negative[np.argsort(score[negative], kind="stable")]
        low = np.searchsorted(score[ascending], score[positive], side="left")
        high = np.searchsorted(score[ascending], score[positive], side="right")
        has_ties = bool((low < high).any())
        for start in range(0, weights.shape[1], BLOCK):
            block = weights[:, start : start + BLOCK]
            below = np.zeros((len(ascending) + 1, block.shape[1]), weights.dtype)
            np.cumsum(block[ascending], axis=0, out=below[1:])
            beaten = (below[low] + below[high]) / 2 if has_ties else below[low]
            above = block[positive]
            pairs = above.sum(0, dtype=np.float64) * below[-1]
            wins = np.einsum("ij,ij->j", above, beaten).astype(np.float64)
            result[row, start : start + BLOCK] = wins / pairs
    return result


def auroc_without_each(y_true: Labels, scores: Scores) -> Values:
    """AUROC with one row left out, for every row; both classes need two rows.

    The won pairs less those of the row, which DeLong et al. (1988, Biometrics 44:837) call its
    placement: its rank among all rows less that within its class (Sun & Xu 2014, IEEE Signal
    Processing Letters 21:1389). The weights of :data:`WEIGHTED_METRICS` give the same numbers, a
    column a row.

    Args:
        y_true: num_items, 0 or 1.
        scores: num_seeds x num_items.

    Returns:
        num_seeds x num_items.
    """
    positive, negative = np.flatnonzero(y_true == 1), np.flatnonzero(y_true == 0)
    result, ranks = np.empty(scores.shape), midranks(scores)
    won = ranks[:, positive] - midranks(scores[:, positive])
    losses = len(positive) - (ranks[:, negative] - midranks(scores[:, negative]))
    all_wins = won.sum(axis=1, keepdims=True)
    result[:, positive] = (all_wins - won) / max((len(positive) - 1) * len(negative), 1)
    result[:, negative] = (all_wins - losses) / max(len(positive) * (len(negative) - 1), 1)
    return result


def midranks(scores: Scores) -> Values:
    """num_runs x num_items ranks from 1 in each run, of equal scores their mean.

    As ``scipy.stats.rankdata(axis=1)``, whose package takes longer to load than this to rank.
    """
    order = np.argsort(scores, axis=1)
    ascending = np.take_along_axis(scores, order, axis=1)
    places, starts = np.arange(1, scores.shape[1] + 1), np.ones(scores.shape, np.bool_)
    starts[:, 1:] = ascending[:, 1:] != ascending[:, :-1]
    ends = np.roll(starts, -1, axis=1)  # before each start; the first one's is the last row
    first = np.maximum.accumulate(np.where(starts, places, 1), axis=1)
    last = np.minimum.accumulate(np.where(ends, places, len(places))[:, ::-1], axis=1)[:, ::-1]
    ranks = np.empty(scores.shape)
    np.put_along_axis(ranks, order, (first + last) / 2, axis=1)
    return ranks


def wins(scores: Scores, others: Scores) -> Values:
    """How many of the others each score is above, ties half; num_scores halves."""
    ascending = np.sort(others)
    below: Values = (
        np.searchsorted(ascending, scores, "left") + np.searchsorted(ascending, scores, "right")
    ) / 2
    return below


def _average_precision(y_true: Labels, scores: Scores, weights: Weights) -> Values:
    """Mean over positive rows of the precision at their score, tied rows taken together.

    As ``sklearn.metrics.average_precision_score``: a sum over thresholds, not interpolated.
    """
    positive = np.flatnonzero(y_true == 1)
    labels = (y_true == 1).astype(weights.dtype)
    result = np.empty((len(scores), weights.shape[1]))
    for row, score in enumerate(scores):
        descending = np.argsort(-score, kind="stable")
        end = np.searchsorted(-score[descending], -score[positive], side="right") - 1
        for start in range(0, weights.shape[1], BLOCK):
            block = weights[:, start : start + BLOCK]
            ordered = block[descending]
            rows = np.cumsum(ordered, axis=0)[end].astype(np.float64)
            hits = np.cumsum(ordered * labels[descending, None], axis=0)[end].astype(np.float64)
            above = block[positive].astype(np.float64)
            gained = np.einsum("ij,ij->j", above, ratio(hits, rows))
            result[row, start : start + BLOCK] = gained / above.sum(0)
    return result


WEIGHTED_METRICS: dict[str, WeightedMetric] = {
    "f1": _f1,
    "auroc": _auroc,
    "accuracy": _accuracy,
    "precision": _precision,
    "recall": _recall,
    "average_precision": _average_precision,
}
"""Name in ``METRICS`` -> function of y_true (num_items), scores (num_seeds x
num_items) and weights (num_items x num_weightings) to num_seeds x num_weightings values. Under
every weighting a metric of :data:`NEED_BOTH_CLASSES` needs weight on both classes."""
NEED_BOTH_CLASSES = ("auroc", "average_precision")
