"""Array types, the decision threshold and the AUROC of chance, for trials and analyses."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int8]
"""num_rows class numbers; 0 or 1 for two classes."""
Scores = NDArray[np.float64]
"""num_rows probabilities of class 1; in analyses num_runs x num_rows. With more than two classes
one more axis, the last, has the probabilities of all classes."""
Weights = NDArray[np.floating[Any]]
"""num_rows x num_weightings, whole numbers >= 0; float32 or float64."""
Values = NDArray[np.float64]
BLOCK = 256
"""Weightings at a time: a block of 512 rows in float32 is 512 KiB and stays in a core's cache."""
THRESHOLD = 0.5
"""A row counts as positive at or above this probability: the class of the larger logit (paper,
section 3.3), and the positive one where both are equal."""
CHANCE = 0.5
"""AUROC of scores that do not depend on the class."""


def select_scores(probabilities: Values) -> Values:
    """Return the scores of rows as results hold them.

    Args:
        probabilities: num_rows x num_classes.

    Returns:
        num_rows probabilities of class 1 if there are two classes, else all.
    """
    return probabilities[:, 1] if probabilities.shape[1] == 2 else probabilities


def count_classes(scores: Scores) -> int:
    """Number of classes of num_runs x num_rows scores, or num_runs x num_rows x num_classes."""
    return scores.shape[2] if scores.ndim == 3 else 2


def decide(scores: Scores) -> NDArray[np.intp]:
    """Class numbers that scores decide: at the threshold, or of the largest probability.

    Args:
        scores: Scores of :data:`Scores`; the first of equal probabilities of classes is decided.

    Returns:
        num_runs x num_rows.
    """
    return np.asarray(scores.argmax(axis=2) if scores.ndim == 3 else scores >= THRESHOLD, np.intp)


def ratio(above: Values, below: Values) -> Values:
    """Divide; 0 where the denominator is 0, like ``zero_division=0.0`` of scikit-learn."""
    result: Values = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
    return result


def sum_up_to(counted: Values) -> Values:
    """Sums over the first rows: (num_rows + 1) x num_columns, those of no row first."""
    sums = np.zeros((len(counted) + 1, counted.shape[1]))
    np.cumsum(counted, axis=0, out=sums[1:])
    return sums


def f1_from_counts(hits: Values, decided: NDArray[Any], positives: NDArray[Any]) -> Values:
    """F1 from numbers of rows: true positives, rows decided positive, rows of class 1."""
    return ratio(2.0 * hits, np.asarray(decided + positives))
