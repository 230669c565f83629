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


def _decided(score: Callable[..., float]) -> Metric:
    """A metric of decisions at :data:`THRESHOLD`, for the positive class."""

    def metric(y_true: Labels, y_score: Scores) -> float:
        return float(score(y_true, y_score >= THRESHOLD, zero_division=0.0))

    return metric


Metric = Callable[[Labels, Scores], float]
METRICS: dict[str, Metric] = {
    "f1": _decided(sk.f1_score),
    "auroc": lambda y_true, y_score: float(sk.roc_auc_score(y_true, y_score)),
    "accuracy": lambda y_true, y_score: float(sk.accuracy_score(y_true, y_score >= THRESHOLD)),
    "precision": _decided(sk.precision_score),
    "recall": _decided(sk.recall_score),
    "average_precision": lambda y_true, y_score: float(sk.average_precision_score(y_true, y_score)),
}
"""Name -> function of y_true (num_rows, 0 or 1) and y_score (num_rows, probability of class 1)."""


def _macro_f1(y_true: Labels, y_score: Scores) -> float:
    classes = range(y_score.shape[1])
    chosen = y_score.argmax(axis=1)
    return float(sk.f1_score(y_true, chosen, labels=classes, average="macro", zero_division=0.0))


def _auroc_ovr(y_true: Labels, y_score: Scores) -> float:
    classes = range(y_score.shape[1])
    return float(
        sk.roc_auc_score(y_true, y_score, labels=classes, multi_class="ovr", average="macro")
    )


MULTICLASS_METRICS: dict[str, Metric] = {
    "macro_f1": _macro_f1,
    "auroc_ovr": _auroc_ovr,
    "accuracy": lambda y_true, y_score: float(sk.accuracy_score(y_true, y_score.argmax(axis=1))),
}
"""As :data:`METRICS` for more than two classes: y_true (num_rows, class numbers) and y_score
(num_rows x num_classes, probabilities). The class with the largest probability is chosen, the
first of equal ones; macro is the mean over classes, one-vs-rest each against all others."""


NEED_EVERY_CLASS = ("auroc", "average_precision", "auroc_ovr")
"""Metrics that have no value on rows that lack a class."""


def score(y_true: Labels, y_score: Scores) -> dict[str, float]:
    """Every metric of :data:`METRICS`, or of :data:`MULTICLASS_METRICS` if scores have columns.

    Those of :data:`NEED_EVERY_CLASS` are left out where a class has no row; tables say n/a.
    """
    metrics, num_classes = (
        (METRICS, 2) if y_score.ndim == 1 else (MULTICLASS_METRICS, y_score.shape[1])
    )
    lacking = len(np.unique(y_true)) < num_classes
    return {
        name: metric(y_true, y_score)
        for name, metric in metrics.items()
        if not (lacking and name in NEED_EVERY_CLASS)
    }
