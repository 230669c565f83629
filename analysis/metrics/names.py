"""What metrics are called on the page and in figures."""

from __future__ import annotations

NAMES = {
    "f1": "F1",
    "auroc": "AUROC",
    "accuracy": "Accuracy",
    "precision": "Precision",
    "recall": "Recall",
    "average_precision": "Average precision",
    "macro_f1": "Macro F1",
    "auroc_ovr": "AUROC, one against the rest",
}
"""Metric of ``METRICS`` -> heading; another metric is called by its name."""
NEED_EVERY_CLASS = ("auroc", "average_precision", "auroc_ovr")
"""``NEED_EVERY_CLASS`` of the trial's metrics, written again because that module imports
scikit-learn; a test holds them together."""


def metric_name(metric: str) -> str:
    """What a metric is called in headings."""
    return NAMES.get(metric, metric)
