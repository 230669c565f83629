"""Metrics of early stopping: the loss of dev rows, and the metrics of results."""

from __future__ import annotations

import numpy as np

from xlt.data.core.errors import InputError, unknown
from xlt.trainables.metrics.arrays import Labels, Scores
from xlt.trainables.metrics.registry import METRICS, metrics_of
from xlt.trainables.spec.early_stopping import LOSS, EarlyStopping


def check_dev_metric(setting: EarlyStopping | None, num_classes: int) -> None:
    """Raise InputError unless the setting names a metric that is defined for the classes."""
    known = [LOSS, *(metric.name for metric in metrics_of(num_classes))]
    if setting and setting.metric not in known:
        raise InputError(unknown("metric", setting.metric, known), "training.early_stopping.metric")


def compute_dev_metric(name: str, y_true: Labels, y_score: Scores) -> float:
    """Compute a metric of dev rows.

    Args:
        name: ``loss``, the mean cross-entropy in nats (less is better), or a name of ``METRICS``.
        y_true: num_rows class numbers.
        y_score: num_rows probabilities of class 1, or num_rows x num_classes probabilities.

    Raises:
        InputError: The metric has no finite value, which only a plug-in's can lack.
    """
    if name == LOSS:
        from sklearn.metrics import log_loss

        num_classes = 2 if y_score.ndim == 1 else y_score.shape[1]
        return float(log_loss(y_true, y_score, labels=range(num_classes)))
    value = METRICS[name].compute(y_true, y_score)
    if not np.isfinite(value):
        raise InputError(
            f"early_stopping.metric {name} is {value} on the dev rows; take another metric"
        )
    return value
