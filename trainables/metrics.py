"""METRICS: what a trial is scored by; scikit-learn behind one signature."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics as sk

Labels = NDArray[np.int8]
Scores = NDArray[np.float64]
THRESHOLD = 0.5
"""A row counts as positive at or above this probability: the class of the larger logit (paper,
section 3.3), and the positive one where both are equal."""


def _decided(score: Callable[..., float]) -> Callable[[Labels, Scores], float]:
    """A metric of decisions at :data:`THRESHOLD`, for the positive class."""

    def metric(y_true: Labels, y_score: Scores) -> float:
        return float(score(y_true, y_score >= THRESHOLD, zero_division=0.0))

    return metric


METRICS: dict[str, Callable[[Labels, Scores], float]] = {
    "f1": _decided(sk.f1_score),
    "auroc": lambda y_true, y_score: float(sk.roc_auc_score(y_true, y_score)),
    "accuracy": lambda y_true, y_score: float(sk.accuracy_score(y_true, y_score >= THRESHOLD)),
    "precision": _decided(sk.precision_score),
    "recall": _decided(sk.recall_score),
    "average_precision": lambda y_true, y_score: float(sk.average_precision_score(y_true, y_score)),
}
"""Name -> function of y_true (num_rows, 0 or 1) and y_score (num_rows, probability of class 1)."""


def score(y_true: Labels, y_score: Scores) -> dict[str, float]:
    """Every metric of :data:`METRICS`, each a fraction of 1."""
    return {name: metric(y_true, y_score) for name, metric in METRICS.items()}
