"""METRICS: one record for each metric; adding a metric is one entry."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from xlt.data.core.registries import Registry
from xlt.data.core.text import first_line
from xlt.trainables.metrics.arrays import THRESHOLD, Labels, Scores
from xlt.trainables.metrics.auroc import auroc_exchange_effects, auroc_without_each, weighted_auroc
from xlt.trainables.metrics.metric import Compute, Metric
from xlt.trainables.metrics.one_vs_rest import (
    mean_exchange_effects,
    mean_leave_one_out,
    mean_weighted,
)
from xlt.trainables.metrics.resampled import (
    Resampled,
    Weighted,
    jackknife,
    weighted_leave_one_out,
)
from xlt.trainables.metrics.weighted import (
    FromCounts,
    accuracy,
    f1,
    macro_f1,
    precision,
    recall,
    weighted_average_precision,
    weighted_decisions,
)


def _sklearn_of_decisions(function: str) -> Compute:
    """Metric of decisions at :data:`THRESHOLD` for class 1; 0 instead of a division by 0."""

    def compute(y_true: Labels, y_score: Scores) -> float:
        from sklearn import metrics as sk

        return float(getattr(sk, function)(y_true, y_score >= THRESHOLD, zero_division=0.0))

    return compute


def _sklearn_of_ranks(function: str) -> Compute:
    def compute(y_true: Labels, y_score: Scores) -> float:
        from sklearn import metrics as sk

        return float(getattr(sk, function)(y_true, y_score))

    return compute


def _accuracy(y_true: Labels, y_score: Scores) -> float:
    from sklearn import metrics as sk

    decided = y_score >= THRESHOLD if y_score.ndim == 1 else y_score.argmax(axis=1)
    return float(sk.accuracy_score(y_true, decided))


def _macro_f1(y_true: Labels, y_score: Scores) -> float:
    from sklearn import metrics as sk

    classes, decided = range(y_score.shape[1]), y_score.argmax(axis=1)
    return float(sk.f1_score(y_true, decided, labels=classes, average="macro", zero_division=0.0))


def _auroc_ovr(y_true: Labels, y_score: Scores) -> float:
    from sklearn import metrics as sk

    classes = range(y_score.shape[1])
    return float(
        sk.roc_auc_score(y_true, y_score, labels=classes, multi_class="ovr", average="macro")
    )


def _by_weights(weighted: Weighted, from_counts: FromCounts | None = None) -> Resampled:
    leave_one_out = partial(weighted_leave_one_out, weighted)
    return Resampled(weighted, partial(jackknife, leave_one_out), from_counts=from_counts)


def _by_counts(from_counts: FromCounts) -> Resampled:
    return _by_weights(partial(weighted_decisions, from_counts), from_counts)


_AT_THRESHOLD = f"rows at probability >= {THRESHOLD} count as positive"
_OWN = {
    metric.name: metric
    for metric in (
        Metric(
            name="f1",
            label="F1",
            definition=f"F1 score of the positive class ({{positive}}); {_AT_THRESHOLD}",
            compute=_sklearn_of_decisions("f1_score"),
            is_reported=True,
            resampled=_by_counts(f1),
        ),
        Metric(
            name="macro_f1",
            label="Macro F1",
            definition="macro F1, the mean of the F1 scores of the classes {classes}; the class "
            "with the largest probability counts",
            compute=_macro_f1,
            two_classes=False,
            more_classes=True,
            is_reported=True,
            resampled=_by_counts(macro_f1),
        ),
        Metric(
            name="auroc",
            label="AUROC",
            definition="AUROC, area under the ROC curve of the probability of the positive class "
            "({positive})",
            compute=_sklearn_of_ranks("roc_auc_score"),
            from_ranks=True,
            is_reported=True,
            selects=True,
            resampled=Resampled(
                weighted_auroc, partial(jackknife, auroc_without_each), auroc_exchange_effects
            ),
        ),
        Metric(
            name="auroc_ovr",
            label="One-vs-rest AUROC",
            definition="macro one-vs-rest AUROC, the mean over the classes {classes}",
            compute=_auroc_ovr,
            two_classes=False,
            more_classes=True,
            from_ranks=True,
            is_reported=True,
            selects=True,
            resampled=Resampled(
                partial(mean_weighted, weighted_auroc),
                partial(jackknife, partial(mean_leave_one_out, auroc_without_each)),
                partial(mean_exchange_effects, auroc_exchange_effects),
            ),
        ),
        Metric(
            name="accuracy",
            label="Accuracy",
            definition=f"accuracy; {_AT_THRESHOLD} ({{positive}})",
            compute=_accuracy,
            more_classes=True,
            resampled=_by_counts(accuracy),
        ),
        Metric(
            name="precision",
            label="Precision",
            definition=f"precision of the positive class ({{positive}}); {_AT_THRESHOLD}",
            compute=_sklearn_of_decisions("precision_score"),
            resampled=_by_counts(precision),
        ),
        Metric(
            name="recall",
            label="Recall",
            definition=f"recall of the positive class ({{positive}}); {_AT_THRESHOLD}",
            compute=_sklearn_of_decisions("recall_score"),
            resampled=_by_counts(recall),
        ),
        Metric(
            name="average_precision",
            label="Average precision",
            definition="average precision of the positive class ({positive})",
            compute=_sklearn_of_ranks("average_precision_score"),
            from_ranks=True,
            resampled=_by_weights(weighted_average_precision),
        ),
    )
}


def _check_metric(name: str, metric: Any) -> str:
    if not isinstance(metric, Metric):
        return "it is no xlt.trainables.metrics.metric.Metric"
    if metric.is_reported or metric.selects:
        return "is_reported and selects must be False; ask for it with --metric"
    return "" if metric.name == name else f"its metric has another name, {metric.name!r}"


METRICS = Registry[Metric]("xlt.metrics", _OWN, _check_metric)
"""Name -> metric. With more than two classes the class of the largest probability is decided, the
first of equal ones; macro is the mean over classes, one-vs-rest each class against all others."""


def metrics_of(num_classes: int) -> list[Metric]:
    """The metrics that are defined for a number of classes, in the order of results."""
    return [m for m in METRICS.values() if (m.two_classes if num_classes == 2 else m.more_classes)]


@cache
def resampled_metrics(num_classes: int) -> Mapping[str, Resampled]:
    """Functions of the metrics that intervals and tests can be computed for, by name."""
    return {m.name: m.resampled for m in metrics_of(num_classes) if m.resampled}


def compared_metrics(num_classes: int) -> list[str]:
    """Metrics by which pages and summaries compare cells: of ranking first, then of decisions."""
    return sorted(reported_metrics(num_classes), key=lambda name: not METRICS[name].from_ranks)


def reported_metrics(num_classes: int) -> list[str]:
    """Names of the metrics that reports show unless others are asked for."""
    return [metric.name for metric in metrics_of(num_classes) if metric.is_reported]


def selection_metric(num_classes: int) -> str:
    """Name of the metric that selects learning rates and models."""
    return next(metric.name for metric in metrics_of(num_classes) if metric.selects)


def score(y_true: Labels, y_score: Scores) -> dict[str, float]:
    """Compute every metric of a trial's test rows.

    Args:
        y_true: num_rows class numbers.
        y_score: num_rows probabilities of class 1, or num_rows x num_classes probabilities.

    Returns:
        Name -> value, without metrics that have no value because a class has no row. A plug-in's
        metric that fails or gives no finite number has no value either, so that no trial is lost.
    """
    num_classes = 2 if y_score.ndim == 1 else y_score.shape[1]
    lacks_class = len(np.unique(y_true)) < num_classes
    values = dict[str, float]()
    for metric in metrics_of(num_classes):
        if lacks_class and metric.from_ranks:
            continue
        if metric.name in METRICS.own:
            values[metric.name] = metric.compute(y_true, y_score)
        elif (value := _try_to_compute(metric, y_true, y_score)) is not None:
            values[metric.name] = value
    return values


def _try_to_compute(metric: Metric, y_true: Labels, y_score: Scores) -> float | None:
    """Compute a plug-in's metric; None and a sentence on stderr if it has no finite value."""
    try:
        value = float(metric.compute(y_true.copy(), y_score.copy()))
        reason = "" if np.isfinite(value) else f"its value is {value}"
    except Exception as error:  # code of others; any error is theirs
        reason = f"{type(error).__name__}: {first_line(str(error))}"
    if not reason:
        return value
    print(f"plug-in metric {metric.name!r} has no value here: {reason}", file=sys.stderr)
    return None


def needs_every_class(name: str) -> bool:
    """Whether a metric has no value if a class has no row; False for unknown metrics."""
    return name in METRICS and METRICS[name].from_ranks


def undefined(name: str, y_true: Labels, num_classes: int = 2) -> str:
    """Reason why a metric has no value on these labels; empty if it has one."""
    present = set(y_true.tolist())
    if not needs_every_class(name) or len(present) == num_classes:
        return ""
    if num_classes == 2:
        return f"{name} needs both classes, all test rows are of class {present.pop()}"
    absent = ", ".join(str(label) for label in range(num_classes) if label not in present)
    return f"{name} needs rows of every class, no test row is of class {absent}"


def metric_label(name: str) -> str:
    """Heading of a metric; its name if it is not in :data:`METRICS`."""
    return METRICS[name].label if name in METRICS else name


def define_metric(name: str, positive: str, classes: Sequence[str]) -> str:
    """Phrase that defines a metric in a caption; its name if it is not in :data:`METRICS`."""
    definition = METRICS[name].definition if name in METRICS else name
    return definition.format(positive=positive, classes=", ".join(classes))
