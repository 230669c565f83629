"""Values of a metric under resampling: for many weightings of rows at once, and by single rows.

A resample of rows is a column of counts. Leaving a row out is a column with one 0. Exchanging two
models' scores of a row moves its weight from one score to the other. So one weighted function of a
metric serves the bootstrap, the jackknife and the permutation test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xlt.trainables.metrics.arrays import BLOCK, Labels, Scores, Values, Weights
from xlt.trainables.metrics.weighted import FromCounts

MAX_FLOAT32_ROWS = 4096
"""float32 holds halves exactly up to 2**23, and pairs of a positive and a negative row number at
most (num_rows / 2)**2; with up to 4096 rows all sums of weights and of pairs are exact."""

Weighted = Callable[[Labels, Scores, Weights], Values]
"""Function of y_true (num_rows), scores (num_runs x num_rows, with more than two classes x
num_classes) and weights (num_rows x num_weightings); returns num_runs x num_weightings values."""
Influences = Callable[[Labels, Scores], Values]
"""Function of y_true (num_rows) and scores as above; returns num_runs x num_rows influences. The
sum of squares of a run estimates the variance of its value over test rows that are drawn within
each class."""
LeaveOneOut = Callable[[Labels, Scores, NDArray[np.intp]], Values]
"""Function of y_true, scores and some rows; returns the num_runs x num_chosen values without each
of these rows."""
ExchangeEffects = Callable[[Labels, Scores, Scores], tuple[Values, float]]
"""Function of y_true and two cells' scores as above; returns one number a row and a divisor. The
sum of the numbers, negated for exchanged rows, over the divisor is the difference of the cells'
means: second minus first."""


@dataclass(frozen=True)
class Resampled:
    """Functions that resample a metric or a measure.

    Attributes:
        weighted: Values under weightings of the test rows.
        influences: How much each test row moves the value of each run.
        exchange_effects: A faster form of the permutation test; None: there is none.
        from_counts: The value as a function of counts of decisions, another faster form; None: it
            is no such function.
    """

    weighted: Weighted
    influences: Influences
    exchange_effects: ExchangeEffects | None = None
    from_counts: FromCounts | None = None


def weight_type(num_rows: int) -> type[np.float32] | type[np.float64]:
    """The smallest float type in which sums of weights and of pairs of rows are exact."""
    return np.float32 if num_rows <= MAX_FLOAT32_ROWS else np.float64


def jackknife(leave_one_out: LeaveOneOut, y_true: Labels, scores: Scores) -> Values:
    """Compute jackknife influences of test rows, within classes.

    With m rows in a class they are sqrt((m - 1) / m) * (mean of the values without a row - value
    without this row) (Efron & Stein 1981, Annals of Statistics 9:586; strata: Davison & Hinkley
    1997, Bootstrap Methods and their Application, section 3.2). For AUROC the sums of squares are
    DeLong's variance (DeLong et al. 1988, Biometrics 44:837).

    Args:
        leave_one_out: Values without single rows.
        y_true: num_rows class numbers.
        scores: num_runs x num_rows, with more than two classes x num_classes.

    Returns:
        num_runs x num_rows; 0 for the only row of a class, which cannot be left out.
    """
    result = np.zeros(scores.shape[:2])
    for label in np.unique(y_true):
        rows = np.flatnonzero(y_true == label)
        if len(rows) < 2:
            continue
        without = leave_one_out(y_true, scores, rows)
        # Leaving a row out moves the value in the opposite direction of the row itself.
        moved = without.mean(axis=1, keepdims=True) - without
        result[:, rows] = np.sqrt((len(rows) - 1) / len(rows)) * moved
    return result


def weighted_leave_one_out(
    weighted: Weighted, y_true: Labels, scores: Scores, rows: NDArray[np.intp]
) -> Values:
    """Compute the values without each of some rows of a class, by weights that have one 0.

    With more than two classes the other rows of the class take over the weight of the row, as in a
    jackknife of strata (Davison & Hinkley 1997, section 3.2): classes are small, and their numbers
    of rows are fixed. With 10 rows in a class the variance would be a fifth too small.

    Args:
        weighted: Values under weightings.
        y_true: num_rows class numbers.
        scores: num_runs x num_rows, with more than two classes x num_classes.
        rows: num_chosen numbers of rows, all of one class.

    Returns:
        num_runs x num_chosen.
    """
    num_rows = len(y_true)
    without = np.empty((len(scores), len(rows)))
    for start in range(0, len(rows), BLOCK):
        left_out = rows[start : start + BLOCK]
        weights: Weights = np.ones((num_rows, len(left_out)), weight_type(num_rows))
        if scores.ndim == 3:
            weights = weights.astype(np.float64)
            weights[rows] *= len(rows) / (len(rows) - 1)
        weights[left_out, np.arange(len(left_out))] = 0
        without[:, start : start + BLOCK] = weighted(y_true, scores, weights)
    return without
