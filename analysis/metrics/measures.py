"""MEASURES: what is measured of scored test rows to tell boundary from ranking."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from xlt.analysis.arrays import THRESHOLD, Labels, Scores, Values
from xlt.analysis.metrics.calibration import BrierParts, brier_parts
from xlt.analysis.metrics.thresholds import (
    FITS,
    Cuts,
    all_positive_f1,
    auroc,
    average_precision,
    best_threshold,
    every_cut,
    f1_at,
    f1_with_labelled_rows,
    logit,
    prior_threshold,
)


@dataclass(frozen=True)
class Scored:
    """Test rows, scored, with what several measures share; each is made once.

    Attributes:
        y_true: (num_rows,) 0 or 1.
        y_score: (..., num_rows) probability of class 1: of one run, or of many.
    """

    y_true: Labels
    y_score: Scores

    @cached_property
    def ascending(self) -> Scores:
        """(..., num_rows) scores: of sorted rows NumPy finds medians in a fraction of the time."""
        return np.sort(self.y_score, axis=-1)

    @cached_property
    def median(self) -> Values:
        """(...,) median thresholds."""
        return prior_threshold(self.ascending)

    @cached_property
    def cuts(self) -> Cuts:
        """Every cut of the rows."""
        return every_cut(self.y_true, self.y_score)

    @cached_property
    def oracle(self) -> Values:
        """(...,) best thresholds for these labels."""
        return best_threshold(self.cuts)

    @cached_property
    def brier(self) -> BrierParts:
        """Calibration error and parts of the Brier score."""
        return brier_parts(self.y_true, self.y_score)

    def f1(self, threshold: float | Values) -> Values:
        """(...,) F1 at a threshold."""
        return f1_at(self.y_true, self.y_score, threshold)

    def alike(self, value: float) -> Values:
        """(...,) what only labels tell."""
        return np.full(self.y_score.shape[:-1], value)

    def logit_median(self, label: int) -> Values:
        """(...,) median log odds of a class."""
        own = np.sort(self.y_score[..., self.y_true == label], axis=-1)
        return np.asarray(np.median(logit(own), axis=-1))


Measure = Callable[[Scored], Values]
MEASURES: dict[str, Measure] = {
    "f1": lambda rows: rows.f1(THRESHOLD),
    "f1_median": lambda rows: rows.f1(rows.median),
    "f1_oracle": lambda rows: rows.f1(rows.oracle),
    "auroc": lambda rows: auroc(rows.cuts),
    "average_precision": lambda rows: average_precision(rows.cuts),
    "ece": lambda rows: rows.brier.calibration_error,
    "brier": lambda rows: np.asarray(((rows.y_score - rows.y_true) ** 2).mean(axis=-1)),
    "brier_reliability": lambda rows: rows.brier.reliability,
    "brier_resolution": lambda rows: rows.brier.resolution,
    "brier_uncertainty": lambda rows: rows.alike(rows.brier.uncertainty),
    "brier_within_bins": lambda rows: rows.brier.within_bins,
    "threshold_median": lambda rows: rows.median,
    "threshold_oracle": lambda rows: rows.oracle,
    "logit_median": lambda rows: np.asarray(np.median(logit(rows.ascending), axis=-1)),
    "logit_median_0": lambda rows: rows.logit_median(0),
    "logit_median_1": lambda rows: rows.logit_median(1),
    "f1_all_positive": lambda rows: rows.alike(all_positive_f1(float(np.mean(rows.y_true)))),
}
"""Name -> function of scored test rows of both classes: (..., num_rows) to (...,)."""


def asked_measures(prior: float | None, num_labelled: Sequence[int]) -> dict[str, Measure]:
    """The measures that are made on request only."""
    asked: dict[str, Measure] = {}
    if prior is not None:
        asked["f1_prior"] = lambda rows: rows.f1(prior_threshold(rows.y_score, prior))
    for number in num_labelled:
        for fit in FITS:
            asked[f"f1_{fit}_{number}"] = partial(_with_labels, fit=fit, num_labelled=number)
    return asked


def _with_labels(rows: Scored, fit: str, num_labelled: int) -> Values:
    runs = rows.y_score.reshape(-1, len(rows.y_true))
    found = [f1_with_labelled_rows(rows.y_true, run, fit, num_labelled) for run in runs]
    return np.array(found).reshape(rows.y_score.shape[:-1])
