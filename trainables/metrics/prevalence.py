"""Metrics of two classes at a prevalence: the share of class 1 among the texts of later use.

Test rows are mostly drawn 1:1, and a news stream holds a few per cent of the positive class. Recall
and the false-alarm rate are shares within a class, so they carry over to any prevalence. Weights
of rows turn them into F1, precision and numbers of alarms at that prevalence (Elkan 2001, IJCAI,
"The foundations of cost-sensitive learning", section 2). The rows of each class must be typical of
the class: weights cannot replace kinds of negatives that the test lacks.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial

import numpy as np

from xlt.data.core.errors import InputError
from xlt.trainables.metrics.arrays import Labels, Scores, Values, Weights, ratio
from xlt.trainables.metrics.registry import resampled_metrics
from xlt.trainables.metrics.resampled import (
    Resampled,
    Weighted,
    jackknife,
    weighted_leave_one_out,
)
from xlt.trainables.metrics.weighted import alarms, false_alarms, weighted_decisions

WITHIN_CLASSES = ("auroc", "recall")
"""Metrics whose value is the same at every prevalence."""
ALARMS: dict[str, Weighted] = {
    "alarms": partial(weighted_decisions, alarms),
    "false_alarms": partial(weighted_decisions, false_alarms),
}
"""Shares of all rows that are decided positive, and decided positive wrongly. Results of trials do
not have them, because they say nothing without a prevalence."""


def check_prevalence(prevalence: float) -> float:
    """Return a prevalence; InputError unless it is between 0 and 1."""
    if not 0 < prevalence < 1:
        raise InputError(
            f"prevalence {prevalence:g} is not a share between 0 and 1, e.g. 0.02 for 2 % positives"
        )
    return prevalence


def weigh_rows(y_true: Labels, weights: Weights, prevalence: float) -> Values:
    """Multiply the weights of each class, so that class 1 has a share ``prevalence`` of their sum.

    The share is kept under each weighting, so rows that are left out or drawn several times change
    which rows of a class count, but never how much the class counts.

    Args:
        y_true: num_rows, 0 or 1.
        weights: num_rows x num_weightings.
        prevalence: Share of class 1.

    Returns:
        num_rows x num_weightings; each column sums to 1.

    Raises:
        InputError: A class has no row.
    """
    weighed = weights.astype(np.float64)
    for label, share in ((1, prevalence), (0, 1 - prevalence)):
        rows = y_true == label
        if not rows.any():
            raise InputError(f"no test row of class {label}; a prevalence needs both classes")
        total = weighed[rows].sum(axis=0)
        weighed[rows] *= ratio(np.full_like(total, share), total)
    return weighed


def at_prevalence(weighted: Weighted, prevalence: float) -> Weighted:
    """The metric at a prevalence, as a function of weightings of the rows as drawn."""
    return partial(_weighted_at, weighted, prevalence)


def _weighted_at(
    weighted: Weighted, prevalence: float, y_true: Labels, scores: Scores, weights: Weights
) -> Values:
    return weighted(y_true, scores, weigh_rows(y_true, weights, prevalence))


@cache
def resampled_at(prevalence: float | None, num_classes: int = 2) -> Mapping[str, Resampled]:
    """Functions of each metric for intervals and tests, at a prevalence.

    Args:
        prevalence: Share of class 1; None: that of the test rows as drawn.
        num_classes: Number of classes; two with a prevalence.

    Returns:
        Name -> functions; with a prevalence also those of :data:`ALARMS`.
    """
    if prevalence is None:
        return resampled_metrics(num_classes)
    drawn = resampled_metrics(2)
    by_name: dict[str, Resampled] = {}
    weighted_functions = {name: own.weighted for name, own in drawn.items()} | ALARMS
    for name, weighted in weighted_functions.items():
        if name in WITHIN_CLASSES:
            by_name[name] = drawn[name]
            continue
        own = at_prevalence(weighted, prevalence)
        leave_one_out = partial(weighted_leave_one_out, own)
        by_name[name] = Resampled(own, partial(jackknife, leave_one_out))
    return by_name


def values_from_rates(
    prevalence: float, recall: float, false_alarm_rate: float
) -> dict[str, float]:
    """Metrics at 0.5 or another threshold, from the share of each class decided positive.

    Args:
        prevalence: Share of class 1.
        recall: Share of class 1 that is decided positive.
        false_alarm_rate: Share of class 0 that is decided positive.

    Returns:
        Name -> value of f1, accuracy, precision, recall and the names in :data:`ALARMS`; 0 where a
        denominator is 0.
    """
    hits, false = prevalence * recall, (1 - prevalence) * false_alarm_rate
    alarms = hits + false
    return {
        "f1": 2 * hits / (alarms + prevalence),
        "accuracy": hits + (1 - prevalence) - false,
        "precision": hits / alarms if alarms else 0.0,
        "recall": recall,
        "alarms": alarms,
        "false_alarms": false,
    }


def highest_rate(num_alarms: float, num_rows: int, confidence: float = 0.95) -> float:
    """Upper bound of a rate of which few events were seen, one-sided.

    It is the exact bound of Clopper & Pearson (1934, Biometrika 26:404). For no event it is nearly
    3 / num_rows at 95 %, the rule of three (Hanley & Lippman-Hand 1983, JAMA 249:1743).

    Args:
        num_alarms: Number of events; a mean over runs on the same rows need not be whole.
        num_rows: Number of rows that could have been events.
        confidence: Probability with which the bound holds.
    """
    if num_alarms >= num_rows:
        return 1.0
    if num_alarms == 0:  # the same bound in closed form, without the import of scipy
        return float(1 - (1 - confidence) ** (1 / num_rows))
    from scipy import special

    return float(special.betaincinv(num_alarms + 1, num_rows - num_alarms, confidence))
