"""Boundary against ranking: does a cell lack knowledge, or only the place to cut its scores?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from analysis.calibration import brier_parts, expected_calibration_error
from analysis.cells import TableCell, aggregate
from analysis.collect import Collected
from analysis.predictions import THRESHOLD, TestRows, read_test_rows
from analysis.thresholds import (
    FITS,
    all_positive_f1,
    best_threshold,
    f1_at,
    f1_with_labelled_rows,
    prior_threshold,
)
from analysis.welch import Sample, welch
from data.errors import InputError, unknown
from trainables.result import Results

ALPHA = 0.05
"""A gap is clear if Welch's two-sided p over the seeds is below it."""
BEST_POSSIBLE = "best possible"
"""The reference of a cell that has no other: F1 = 1."""


def _auroc(y_true: Any, y_score: Any) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(y_true, y_score))


def _average_precision(y_true: Any, y_score: Any) -> float:
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(y_true, y_score))


def _brier(y_true: Any, y_score: Any) -> float:
    from sklearn.metrics import brier_score_loss

    return float(brier_score_loss(y_true, y_score))


Measure = Callable[[Any, Any], float]
MEASURES: dict[str, Measure] = {
    "f1": lambda y, s: f1_at(y, s, THRESHOLD),
    "f1_median": lambda y, s: f1_at(y, s, prior_threshold(s)),
    "f1_oracle": lambda y, s: f1_at(y, s, best_threshold(y, s)),
    "auroc": _auroc,
    "average_precision": _average_precision,
    "ece": expected_calibration_error,
    "brier": _brier,
    "brier_reliability": lambda y, s: brier_parts(y, s).reliability,
    "brier_resolution": lambda y, s: brier_parts(y, s).resolution,
    "brier_uncertainty": lambda y, s: brier_parts(y, s).uncertainty,
    "brier_within_bins": lambda y, s: brier_parts(y, s).within_bins,
    "threshold_median": lambda y, s: prior_threshold(s),
    "threshold_oracle": best_threshold,
    "f1_all_positive": lambda y, s: all_positive_f1(float(np.mean(y))),
}
"""Name -> function of y_true (num_rows, 0 or 1) and y_score (num_rows, probability of class 1)."""

Kind = Literal[
    "no clear gap", "mostly boundary", "boundary, if labels are at hand", "any cut, not ranking",
    "mostly ranking",
]  # fmt: skip


@dataclass(frozen=True)
class Gap:
    """Why a cell's F1 lies below that of a reference; all numbers are means over seeds.

    Attributes:
        kind: In a word. "no clear gap": none, or the seeds do not tell it from 0. "mostly
            boundary": the median threshold alone closes half of the gap or more. "boundary, if
            labels are at hand": the oracle threshold does, even less what it gains at the
            reference, too; the median does not. "any cut, not ranking": the oracle does, but is
            nearer to calling every row positive, which needs no ranking, than to the reference.
            "mostly ranking": anything else.
        reference: What the cell is measured against: a pattern of the same base model, or
            :data:`BEST_POSSIBLE`.
        gap: F1 at 0.5 of the reference less that of the cell.
        median: F1 that the median threshold gains; less than 0 where it loses.
        oracle: F1 that the oracle threshold gains: the most that any threshold can.
        reference_oracle: F1 that the oracle threshold gains at the reference, where it has none
            to mend: what comes of choosing it on the scored rows; 0 for :data:`BEST_POSSIBLE`.
        ranking: F1 that the oracle threshold leaves to the reference, at least 0.
        p: Of the gap (Welch, two-sided); None for :data:`BEST_POSSIBLE`, which has no seeds, and
            where the seeds tell no error.
    """

    kind: Kind
    reference: str
    gap: float
    median: float
    oracle: float
    reference_oracle: float
    ranking: float
    p: float | None

    @property
    def share_median(self) -> float | None:
        """Share of the gap that the median threshold closes, at most 1; None without a gap."""
        return self._share(self.median)

    @property
    def share_oracle(self) -> float | None:
        """Share of the gap that the oracle threshold closes, at most 1: an upper bound."""
        return self._share(self.oracle)

    def _share(self, gain: float) -> float | None:
        return None if self.kind == "no clear gap" else min(1.0, gain / self.gap)


@dataclass(frozen=True)
class CellBoundary:
    """A cell's measures and verdict.

    Attributes:
        measures: Name -> mean and std over seeds, with what is missing.
        gap: None where the cell has no value.
        prior: Share of class 1 among the test rows, mean over seeds; None without a value.
    """

    measures: Mapping[str, TableCell]
    gap: Gap | None
    prior: float | None


def boundary(
    collected: Collected,
    *,
    reference: str | None = None,
    prior: float | None = None,
    num_labelled: Iterable[int] = (),
) -> list[CellBoundary]:
    """Measure and judge every cell of an experiment, in the order of its plan.

    Args:
        collected: The trials; predictions are read from where they lie.
        reference: The pattern whose cell of the same base model is what could be reached; None:
            the pattern with the most target rows among those of the same target language. A cell
            that is its own reference, or whose reference has no value, is measured against 1.
        prior: Adds ``f1_prior``, F1 at the threshold that this share of the rows reaches.
        num_labelled: Adds for each number N and each of ``thresholds.FITS`` the measure
            ``f1_<fit>_<N>``, F1 with N labelled test rows, the rest scored.

    Raises:
        InputError: More than two classes, damaged files, an unknown reference or unfit numbers.
    """
    plan = collected.plan
    if reference is not None and reference not in plan.patterns:
        raise InputError(unknown("pattern", reference, plan.patterns), "reference")
    predictions = _predictions(collected)
    measures = {**MEASURES, **_asked(prior, sorted(set(num_labelled)))}
    rows = [
        row | (_measure(predictions[row["trial_id"]], measures) if row["state"] == "done" else {})
        for row in collected.table.to_pylist()
    ]
    by_cell: dict[tuple[str, str], dict[str, TableCell]] = {}
    target_rows: dict[tuple[str, str], int] = {}
    priors: dict[tuple[str, str], float] = {}
    for planned in plan.cells:
        key = planned.base_model, planned.pattern
        own = [row for row in rows if (row["base_model"], row["pattern"]) == key]
        by_cell[key] = {name: aggregate(planned, own, name) for name in measures}
        found = [predictions[r["trial_id"]] for r in own if r["trial_id"] in predictions]
        if found:
            target_rows[key] = max(r["num_target_rows"] for r in own if r["state"] == "done")
            priors[key] = float(np.mean([np.mean(p.y_true) for p in found]))
    judged = []
    for planned in plan.cells:
        key = planned.base_model, planned.pattern
        alike = [
            c.pattern
            for c in plan.cells
            if (c.base_model, c.target_lang) == (planned.base_model, planned.target_lang)
            and (c.base_model, c.pattern) in target_rows
        ]
        chosen = reference if reference in alike else None
        if reference is None and alike:
            chosen = max(alike, key=lambda pattern: target_rows[planned.base_model, pattern])
        other = by_cell[planned.base_model, chosen] if chosen not in (None, key[1]) else None
        gap = judge(by_cell[key], other, priors[key]) if key in priors else None
        judged.append(CellBoundary(by_cell[key], gap, priors.get(key)))
    return judged


def judge(
    cell: Mapping[str, TableCell], reference: Mapping[str, TableCell] | None, prior: float
) -> Gap:
    """Split the gap in F1 between a cell and its reference into boundary and ranking.

    The oracle threshold is chosen on the rows that are scored and the reference's is not, so its
    share is an upper bound and ``ranking`` a lower one; the median's share is an honest one for
    classes of known proportion.

    Args:
        cell: Its measures, with a value.
        reference: The reference's measures; None: F1 = 1.
        prior: Share of class 1 among the cell's test rows.
    """
    f1, median, oracle = (_mean(cell[name]) for name in ("f1", "f1_median", "f1_oracle"))
    name, best, own, p = BEST_POSSIBLE, 1.0, 0.0, None
    if reference is not None:
        name, best = reference["f1"].pattern, _mean(reference["f1"])
        own = _mean(reference["f1_oracle"]) - best
        p = _p(reference["f1"], cell["f1"])
    gap, kept = best - f1, max(0.0, best - oracle)
    no_ranking = all_positive_f1(prior)
    kind: Kind
    if gap <= 0 or (reference is not None and (p is None or p >= ALPHA)):
        kind = "no clear gap"
    elif oracle - f1 < gap / 2:
        kind = "mostly ranking"
    elif best <= no_ranking or oracle < (no_ranking + best) / 2:
        kind = "any cut, not ranking"
    elif median - f1 >= gap / 2:
        kind = "mostly boundary"
    elif oracle - f1 - own < gap / 2:
        kind = "mostly ranking"
    else:
        kind = "boundary, if labels are at hand"
    return Gap(kind, name, gap, median - f1, oracle - f1, own, kept, p)


def sample(cell: TableCell) -> Sample:
    """A cell's seeds for a comparison; it must have a value."""
    return Sample(_mean(cell), cell.std, cell.n)


def _asked(prior: float | None, num_labelled: Sequence[int]) -> dict[str, Measure]:
    """The measures that are made on request only."""
    asked: dict[str, Measure] = {}
    if prior is not None:
        asked["f1_prior"] = lambda y, s: f1_at(y, s, prior_threshold(s, prior))
    for number in num_labelled:
        for fit in FITS:
            asked[f"f1_{fit}_{number}"] = partial(
                f1_with_labelled_rows, fit=fit, num_labelled=number
            )
    return asked


def _predictions(collected: Collected) -> dict[str, TestRows]:
    """Trial id -> test rows of both classes, of all done trials; all problems together."""
    num_classes = len(collected.plan.classes)
    if num_classes != 2:
        raise InputError(
            f"has {num_classes} classes; thresholds and calibration are read of two classes",
            f"experiment {collected.plan.experiment}",
        )
    location = Results(collected.uri)
    rows = collected.table.select(["trial_id", "state"]).to_pylist()
    found: dict[str, TestRows] = {}
    problems = []
    for trial_id in (row["trial_id"] for row in rows if row["state"] == "done"):
        try:
            found[trial_id] = read_test_rows(location, trial_id)
            if len(set(found[trial_id].y_true)) < 2:
                raise InputError("predictions without test rows of both classes")
        except InputError as error:
            problems.append(f"{trial_id}: {error}; remove the folder and `xlt run` again")
    if problems:
        raise InputError(problems, f"results {location.uri}")
    return found


def _measure(rows: TestRows, measures: Mapping[str, Measure]) -> dict[str, float]:
    return {name: measure(rows.y_true, rows.y_score) for name, measure in measures.items()}


def _mean(cell: TableCell) -> float:
    if cell.mean is None:
        raise InputError(f"{cell.base_model} x {cell.pattern} has no value to compare")
    return cell.mean


def _p(first: TableCell, second: TableCell) -> float | None:
    try:
        return welch(sample(first), sample(second)).p_equal()
    except InputError:  # too few seeds, or no spread
        return None
