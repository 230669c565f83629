"""Macro one-vs-rest metrics: the mean over classes of a metric of two classes.

Each class in turn is class 1, with its own probability as the score, and all others are class 0
(Hand & Till 2001, Machine Learning 45:171, section 2, name it after Provost & Domingos). The value
is that of scikit-learn's ``multi_class="ovr", average="macro"``. Each function has the type that it
gets for two classes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from xlt.trainables.metrics.arrays import Labels, Scores, Values, Weights
from xlt.trainables.metrics.resampled import ExchangeEffects, LeaveOneOut, Weighted


def split_classes(y_true: Labels, scores: Scores) -> Iterator[tuple[Labels, Scores]]:
    """Yield for each class labels of 1 and 0, and the class's own scores, num_runs x num_rows."""
    for label in range(scores.shape[2]):
        yield (y_true == label).astype(np.int8), scores[:, :, label]


def mean_weighted(weighted: Weighted, y_true: Labels, scores: Scores, weights: Weights) -> Values:
    """Mean over classes of values under weightings, a :data:`Weighted`."""
    return _mean([weighted(*own, weights) for own in split_classes(y_true, scores)])


def mean_leave_one_out(
    leave_one_out: LeaveOneOut, y_true: Labels, scores: Scores, rows: NDArray[np.intp]
) -> Values:
    """Mean over classes of values without single rows of one class, a :data:`LeaveOneOut`.

    The other rows of the class take over the weight of a row, as in ``weighted_leave_one_out``.
    Where the class is class 1 this is so in any case; where it is a part of class 0 it is a factor
    on differences of the values. They are the only thing that the jackknife uses.
    """
    of_classes, takes_over = [], len(rows) / (len(rows) - 1)
    for labels, own in split_classes(y_true, scores):
        num_rest = np.count_nonzero(labels == 0)
        factor = 1.0 if labels[rows[0]] else takes_over * (num_rest - 1) / num_rest
        of_classes.append(factor * leave_one_out(labels, own, rows))
    return _mean(of_classes)


def mean_exchange_effects(
    exchange_effects: ExchangeEffects, y_true: Labels, first: Scores, second: Scores
) -> tuple[Values, float]:
    """Mean over classes of the effects of rows, an :data:`ExchangeEffects`.

    Exchanging a row exchanges the scores of all classes, so the effects on the classes add up.
    """
    pairs = zip(split_classes(y_true, first), split_classes(y_true, second), strict=True)
    of_classes = [exchange_effects(labels, own, other) for (labels, own), (_, other) in pairs]
    return _mean([effects / divisor for effects, divisor in of_classes]), 1.0


def _mean(of_classes: list[Values]) -> Values:
    mean: Values = np.mean(of_classes, axis=0)
    return mean
