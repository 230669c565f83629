"""AUROC of two classes: the share of pairs of a positive and a negative row that are won.

A pair is won if the positive row scores higher; a tie counts half. This is the Mann-Whitney form
of the area under the ROC curve (Hanley & McNeil 1982, Radiology 143:29). All sums are whole numbers
of halves and therefore exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xlt.trainables.metrics.arrays import Labels, Scores, Values, Weights


def weighted_auroc(y_true: Labels, scores: Scores, weights: Weights) -> Values:
    """AUROC under many weightings, a :data:`~xlt.trainables.metrics.resampled.Weighted`.

    The rows are walked in ascending order of their scores, all weightings at once. Equal scores are
    walked in two orders: their pairs are won if the positive rows come last, lost if they come
    first. Every weighting needs weight on both classes.
    """
    positive = y_true == 1
    # Python adds single numbers faster than NumPy adds arrays of one number.
    rows = weights[:, 0].tolist() if weights.shape[1] == 1 else list(weights)
    pairs = weights[positive].sum(0, dtype=np.float64) * weights[~positive].sum(0)
    result = np.empty((len(scores), weights.shape[1]))
    for run, score in enumerate(scores):
        last, first = (np.lexsort((own, score)) for own in (positive, ~positive))
        won = _add_won_pairs(last, positive, rows)
        if not np.array_equal(last, first):
            won = (won + _add_won_pairs(first, positive, rows)) / 2
        result[run] = won / pairs
    return result


def _add_won_pairs(ascending: NDArray[np.intp], positive: NDArray[np.bool_], rows: Any) -> Any:
    """Add up the weights of pairs whose positive row comes later; ``rows`` holds the weights."""
    below, won = 0 * rows[0], 0 * rows[0]
    for row, wins in zip(ascending.tolist(), positive[ascending].tolist(), strict=True):
        if wins:
            won += below * rows[row]
        else:
            below += rows[row]
    return won


def auroc_without_each(y_true: Labels, scores: Scores, rows: NDArray[np.intp]) -> Values:
    """AUROC without each of some rows, a :data:`~xlt.trainables.metrics.resampled.LeaveOneOut`.

    The row's own won pairs, which DeLong et al. (1988, Biometrics 44:837) call its placement, are
    subtracted from all won pairs. :func:`weighted_auroc` gives the same numbers and takes longer.
    """
    positive, negative = np.flatnonzero(y_true == 1), np.flatnonzero(y_true == 0)
    result = np.empty(scores.shape)
    for run, score in enumerate(scores):
        won = count_wins(score[positive], score[negative])
        lost = len(positive) - count_wins(score[negative], score[positive])
        num_won = won.sum()
        result[run, positive] = (num_won - won) / max((len(positive) - 1) * len(negative), 1)
        result[run, negative] = (num_won - lost) / max(len(positive) * (len(negative) - 1), 1)
    return result[:, rows]


def auroc_exchange_effects(y_true: Labels, first: Scores, second: Scores) -> tuple[Values, float]:
    """Effect of each row, an :data:`~xlt.trainables.metrics.resampled.ExchangeEffects`.

    Exchanging the two cells' scores of a row moves the difference of their AUROCs by a fixed
    amount. Let k(p, n) be 1 if score p of a positive row wins against score n of a negative one,
    and 1, 2 the cells. The second cell wins a pair k(p2, n2) - k(p1, n1) times more often than the
    first if both rows are kept, k(p2, n1) - k(p1, n2) if the negative row is exchanged, and the
    negatives of these if the positive row is exchanged, too. These four are e + f, e - f, -e + f
    and -e - f for 2 e = k(p2, n1) + k(p2, n2) - k(p1, n1) - k(p1, n2) and 2 f = k(p1, n2) +
    k(p2, n2) - k(p1, n1) - k(p2, n1): a sum of one number of each row, whose sign says whether the
    row is exchanged. The sums over pairs are wins against both cells' rows of the other class.
    """
    positive, negative = y_true == 1, y_true == 0
    moved = np.zeros(len(y_true))
    for of_first, of_second in zip(first, second, strict=True):
        for own, others in ((positive, negative), (negative, positive)):
            both = np.concatenate([of_first[others], of_second[others]])
            moved[own] += count_wins(of_second[own], both) - count_wins(of_first[own], both)
    moved[negative] *= -1  # a negative row that wins loses a pair
    return moved, 2.0 * positive.sum() * negative.sum() * len(first)


def count_wins(scores: Scores, others: Scores) -> Values:
    """Count for each score the lower ones among the others; equal ones count half."""
    ascending = np.sort(others)
    below: Values = (
        np.searchsorted(ascending, scores, "left") + np.searchsorted(ascending, scores, "right")
    ) / 2
    return below
