"""MEASURES: measures of scored test rows that separate boundary problems from ranking problems."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from xlt.analysis.metrics.calibration import BrierParts, brier_parts
from xlt.analysis.metrics.influences import (
    Derivative,
    brier_derivative,
    class_logit_median_derivative,
    ece_derivative,
    logit_median_derivative,
    within_classes,
)
from xlt.analysis.metrics.labelled_rows import FITS, f1_with_labelled_rows
from xlt.analysis.metrics.thresholds import (
    Cuts,
    all_positive_f1,
    average_precision,
    best_threshold,
    decide_at_best_threshold,
    f1_at,
    f1_of,
    list_cuts,
    logit,
    prior_threshold,
    weigh_negatives,
)
from xlt.analysis.metrics.weighted_measures import (
    weighted_brier,
    weighted_class_logit_median,
    weighted_ece,
    weighted_logit_median,
)
from xlt.trainables.metrics.arrays import THRESHOLD, Labels, Scores, Values
from xlt.trainables.metrics.auroc import weighted_auroc
from xlt.trainables.metrics.resampled import Resampled, Weighted, weight_type


@dataclass(frozen=True)
class Scored:
    """Scored test rows, with values that several measures share and that are computed once.

    Attributes:
        y_true: (num_rows,) 0 or 1.
        y_score: (..., num_rows) probability of class 1, for one run or for many.
        prevalence: Share of class 1 at which F1 and average precision are computed; None: that of
            the rows.
    """

    y_true: Labels
    y_score: Scores
    prevalence: float | None = None

    @cached_property
    def negative(self) -> float:
        """Weight of a row of class 0."""
        return weigh_negatives(self.y_true, self.prevalence)

    @cached_property
    def ascending(self) -> Scores:
        """(..., num_rows) sorted scores, of which NumPy finds medians much faster."""
        return np.sort(self.y_score, axis=-1)

    @cached_property
    def median(self) -> Values:
        """(...,) median thresholds."""
        return prior_threshold(self.ascending)

    @cached_property
    def cuts(self) -> Cuts:
        """Decisions at all possible thresholds."""
        return list_cuts(self.y_true, self.y_score)

    @cached_property
    def decided(self) -> NDArray[np.bool_]:
        """(..., num_rows) decisions at the best threshold for other rows."""
        return decide_at_best_threshold(self.y_true, self.y_score, prevalence=self.prevalence)

    @cached_property
    def brier(self) -> BrierParts:
        """Calibration error and parts of the Brier score."""
        return brier_parts(self.y_true, self.y_score)

    def f1(self, threshold: float | Values) -> Values:
        """(...,) F1 at a threshold."""
        return f1_at(self.y_true, self.y_score, threshold, self.prevalence)

    def auroc(self) -> Values:
        """(...,) areas under the ROC curve."""
        runs = self.y_score.reshape(-1, len(self.y_true))
        every_row_once = np.ones((len(self.y_true), 1), weight_type(len(self.y_true)))
        values = weighted_auroc(self.y_true, runs, every_row_once)
        return values.reshape(self.y_score.shape[:-1])

    def constant(self, value: float) -> Values:
        """(...,) copies of a value that depends only on labels."""
        return np.full(self.y_score.shape[:-1], value)

    def logit_median(self, label: int) -> Values:
        """(...,) median log odds of a class."""
        own = np.sort(self.y_score[..., self.y_true == label], axis=-1)
        return np.asarray(np.median(logit(own), axis=-1))


@dataclass(frozen=True)
class Measure:
    """A measure of scored test rows.

    Attributes:
        name: Key in tables and records.
        compute: Function of scored test rows of both classes: (..., num_rows) to (...,).
        resampled: Functions for its interval; None: it has none.
    """

    name: str
    compute: Callable[[Scored], Values]
    resampled: Resampled | None = None


def _resampled(weighted: Weighted, derivative: Derivative) -> Resampled:
    return Resampled(weighted, partial(within_classes, derivative))


def _logit_median(label: int) -> Measure:
    return Measure(
        f"logit_median_{label}",
        lambda rows: rows.logit_median(label),
        _resampled(
            partial(weighted_class_logit_median, label),
            partial(class_logit_median_derivative, label),
        ),
    )


MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure("f1", lambda rows: rows.f1(THRESHOLD)),
        Measure("f1_median", lambda rows: rows.f1(rows.median)),
        Measure("f1_best", lambda rows: f1_of(rows.y_true, rows.decided, 1, rows.prevalence)),
        Measure("auroc", lambda rows: rows.auroc()),
        Measure("average_precision", lambda rows: average_precision(rows.cuts, rows.negative)),
        Measure(
            "ece",
            lambda rows: rows.brier.calibration_error,
            _resampled(weighted_ece, ece_derivative),
        ),
        Measure(
            "brier",
            lambda rows: np.asarray(((rows.y_score - rows.y_true) ** 2).mean(axis=-1)),
            _resampled(weighted_brier, brier_derivative),
        ),
        Measure("brier_reliability", lambda rows: rows.brier.reliability),
        Measure("brier_resolution", lambda rows: rows.brier.resolution),
        Measure("brier_uncertainty", lambda rows: rows.constant(rows.brier.uncertainty)),
        Measure("brier_within_bins", lambda rows: rows.brier.within_bins),
        Measure("threshold_median", lambda rows: rows.median),
        Measure("threshold_best", lambda rows: best_threshold(rows.cuts, rows.negative)),
        Measure(
            "logit_median",
            lambda rows: np.asarray(np.median(logit(rows.ascending), axis=-1)),
            _resampled(weighted_logit_median, logit_median_derivative),
        ),
        _logit_median(0),
        _logit_median(1),
        Measure(
            "f1_all_positive",
            lambda rows: rows.constant(
                all_positive_f1(rows.prevalence or float(np.mean(rows.y_true)))
            ),
        ),
    )
}
"""Name -> measure; adding a measure is one entry."""
OF_ROWS_AS_DRAWN = (
    "f1_median", "threshold_median", "ece", "brier", "brier_reliability", "brier_resolution",
    "brier_uncertainty", "brier_within_bins",
)  # fmt: skip
"""Measures that have no value at a prevalence."""
RESAMPLED_MEASURES: dict[str, Resampled] = {
    measure.name: measure.resampled for measure in MEASURES.values() if measure.resampled
}
"""Measures that intervals can be computed for."""


def request_measures(prior: float | None, num_labelled: Sequence[int]) -> dict[str, Measure]:
    """The measures that are computed on request only.

    Args:
        prior: Share of class 1 for ``f1_prior``; None: without this measure.
        num_labelled: Numbers of labelled rows for ``f1_<fit>_<number>``.
    """
    asked: list[Measure] = []
    if prior is not None:
        asked.append(
            Measure("f1_prior", lambda rows: rows.f1(prior_threshold(rows.y_score, prior)))
        )
    asked += [
        Measure(f"f1_{fit}_{number}", partial(_with_labels, fit=fit, num_labelled=number))
        for number in num_labelled
        for fit in FITS
    ]
    return {measure.name: measure for measure in asked}


def _with_labels(rows: Scored, fit: str, num_labelled: int) -> Values:
    runs = rows.y_score.reshape(-1, len(rows.y_true))
    values = [f1_with_labelled_rows(rows.y_true, run, fit, num_labelled) for run in runs]
    return np.array(values).reshape(rows.y_score.shape[:-1])
