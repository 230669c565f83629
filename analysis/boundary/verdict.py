"""The verdict on a cell's gap in F1: boundary or ranking, as far as runs and test rows tell it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from xlt.analysis.metrics.thresholds import all_positive_f1
from xlt.analysis.uncertainty.intervals import INTERVALS, Interval
from xlt.analysis.uncertainty.mean_variance import mean
from xlt.analysis.uncertainty.runs import Runs
from xlt.analysis.uncertainty.trial_units import has_several_draws, num_units

BEST_POSSIBLE = "best possible"
"""The reference of a cell that has no other: F1 = 1."""
JUDGED_BY = ("f1", "f1_median", "f1_oracle")
"""Measures that a verdict rests on."""
FARTHEST_SHARE = 20.0
"""Ends of a share's interval are not looked for farther from the share than that."""
SHARE_TOLERANCE = 1e-5
"""How far from where they lie ends of a share's interval may be told."""

GapKind = Literal[
    "no clear gap", "mostly boundary", "boundary, if labels are at hand", "any cut, not ranking",
    "mostly ranking", "undecided",
]  # fmt: skip


@dataclass(frozen=True)
class Gap:
    """Why a cell's F1 lies below that of a reference; all numbers are means over runs.

    Attributes:
        kind: In a word. "no clear gap": none, or the interval of the gap holds 0. "mostly
            boundary": the median threshold alone closes half of the gap or more. "boundary, if
            labels are at hand": the oracle threshold does, even less what it gains at the
            reference, too; the median does not. "any cut, not ranking": the oracle does, but is
            nearer to calling every row positive, which needs no ranking, than to the reference.
            "mostly ranking": anything else. "undecided": intervals leave several of these open.
        open: The kinds that intervals leave open; one unless undecided.
        reference: What the cell is measured against: a pattern of the same base model, or
            :data:`BEST_POSSIBLE`.
        gap: F1 at 0.5 of the reference less that of the cell.
        interval: 95 % of the gap; None where the runs tell no error.
        median: F1 that the median threshold gains; less than 0 where it loses.
        oracle: F1 that the oracle threshold gains: the most that any threshold can.
        reference_oracle: F1 that the oracle threshold gains at the reference, where it has none
            to mend: what comes of choosing it on the scored rows; 0 for :data:`BEST_POSSIBLE`.
        ranking: F1 that the oracle threshold leaves to the reference, at least 0.
        median_interval: 95 % of the share of the gap that the median closes; None without a gap.
        oracle_interval: Of the share that the oracle closes; None likewise.
    """

    kind: GapKind
    open: tuple[GapKind, ...]
    reference: str
    gap: float
    interval: Interval | None
    median: float
    oracle: float
    reference_oracle: float
    ranking: float
    median_interval: Interval | None = None
    oracle_interval: Interval | None = None

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
class CellPair:
    """A cell and its reference, run by run on the same test rows.

    Attributes:
        cell: Name in :data:`JUDGED_BY` -> runs.
        reference: The same of the reference; None: F1 = 1 at any threshold.
        name: Of the reference.
        method: Name in ``INTERVALS``.
    """

    cell: Mapping[str, Runs]
    reference: Mapping[str, Runs] | None
    name: str
    method: str = "t"

    def contrast(
        self, of_cell: Mapping[str, float], of_reference: Mapping[str, float], constant: float = 0.0
    ) -> tuple[float, Interval]:
        """A weighted sum of the mean measures of both, and a constant, with its 95 % interval."""
        groups = [_weighted(self.cell, of_cell)]
        if self.reference is None:
            constant += sum(of_reference.values())
        elif of_reference:
            other = _weighted(self.reference, of_reference)
            paired = has_several_draws(groups[0].runs)  # draws are shared, see comparisons
            groups = [groups[0] + other] if paired else [groups[0], other]
        found = INTERVALS[self.method](groups)
        return mean(groups) + constant, Interval(found.low + constant, found.high + constant)

    def share_interval(self, measure: str) -> Interval:
        """95 % of the share of the gap that a threshold closes; a gap other than 0.

        The shares r for which gain - r x gap may be 0 (Fieller 1954, Journal of the Royal
        Statistical Society B 16:175): a ratio whose denominator is uncertain has no symmetric
        interval. Fieller's are roots of a quadratic; here degrees of freedom depend on the share,
        too, so that the roots are looked for. Ends farther than :data:`FARTHEST_SHARE` from the
        estimate are infinite, those above 1 are cut off.
        """
        from scipy.optimize import brentq

        gain, gap = self.contrast({measure: 1.0, "f1": -1.0}, {})[0], self.gap()[0]
        estimate = gain / gap

        @cache  # the search asks for both of its ends again
        def outside(share: float) -> float:
            """How far 0 lies outside the interval of gain - share x gap; negative: within."""
            of_cell = _added({measure: 1.0}, {"f1": share - 1})
            found = self.contrast(of_cell, {"f1": -share})[1]
            return max(found.low, -found.high)

        def end(side: int) -> float:
            near, far = 0.0, min(2 * width, FARTHEST_SHARE)
            while outside(estimate + side * far) <= 0:
                if far >= FARTHEST_SHARE:
                    return side * math.inf
                near, far = far, min(2 * far, FARTHEST_SHARE)
            found = brentq(lambda d: outside(estimate + side * d), near, far, xtol=SHARE_TOLERANCE)
            return estimate + side * float(found)

        width = max(0.0, -outside(estimate)) / abs(gap)  # as if the gap were known
        if width == 0:
            return Interval(min(1.0, estimate), min(1.0, estimate))
        high = 1.0 if estimate < 1 and outside(1.0) <= 0 else end(1)
        return Interval(min(1.0, end(-1)), min(1.0, high))

    def gap(self) -> tuple[float, Interval]:
        """F1 of the reference less that of the cell; to 1 it lies between 0 and 1."""
        size, found = self.contrast({"f1": -1.0}, {"f1": 1.0})
        if self.reference is None:
            found = Interval(max(0.0, found.low), min(1.0, found.high))
        return size, found

    @property
    def tells_error(self) -> bool:
        """Whether there are runs enough to tell a gap to another cell from 0."""
        both = [self.cell, *([self.reference] if self.reference else [])]
        return min(num_units(runs["f1"].runs) for runs in both) > 1


def judge(pair: CellPair, prior: float) -> Gap:
    """Split the gap in F1 between a cell and its reference into boundary and ranking.

    The oracle threshold is chosen on the rows that are scored and the reference's is not, so its
    share is an upper bound and ``ranking`` a lower one; the median's share is an honest one for
    classes of known proportion. Every condition of a verdict is a weighted sum of mean measures
    and counts as met or not where its 95 % interval leaves out 0; what is left open makes the
    verdict undecided. The intervals are not corrected for their number.

    Args:
        pair: The cell and what it is measured against.
        prior: Share of class 1 among the cell's test rows.
    """
    f1, median, oracle = (float(pair.cell[name].values.mean()) for name in JUDGED_BY)
    best, own = 1.0, 0.0
    if pair.reference is not None:
        best = float(pair.reference["f1"].values.mean())
        own = float(pair.reference["f1_oracle"].values.mean()) - best
    size, interval = pair.gap()
    no_ranking = all_positive_f1(prior)
    gains = (median - f1, oracle - f1, own, max(0.0, best - oracle))
    clear = pair.reference is None or (pair.tells_error and interval.low > 0)
    if size <= 0 or not clear:
        told = interval if pair.tells_error else None
        return Gap("no clear gap", ("no clear gap",), pair.name, size, told, *gains)
    conditions = (
        # The oracle closes half of the gap ...
        pair.contrast({"f1_oracle": 1.0, "f1": -0.5}, {"f1": -0.5}),
        # ... and is nearer to the reference than to calling every row positive.
        pair.contrast({"f1_oracle": 1.0}, {"f1": -0.5}, -no_ranking / 2),
        pair.contrast({"f1_median": 1.0, "f1": -0.5}, {"f1": -0.5}),
        # As the first, less what the oracle gains at the reference.
        pair.contrast(
            {"f1_oracle": 1.0, "f1": -0.5},
            {"f1": -0.5} if pair.reference is None else {"f1_oracle": -1.0, "f1": 0.5},
        ),
    )
    answers = [_answers(estimate, found) for estimate, found in conditions]
    if best <= no_ranking:
        answers[1] = (False,)
    left = tuple(dict.fromkeys(_kind(*met) for met in itertools.product(*answers)))
    shares = [pair.share_interval(name) for name in ("f1_median", "f1_oracle")]
    kind = left[0] if len(left) == 1 else "undecided"
    return Gap(kind, left, pair.name, size, interval, *gains, *shares)


def _kind(oracle: bool, ranked: bool, median: bool, beyond_reference: bool) -> GapKind:
    """The verdict if each condition is met or not, see :func:`judge`."""
    if not oracle:
        return "mostly ranking"
    if not ranked:
        return "any cut, not ranking"
    if median:
        return "mostly boundary"
    return "boundary, if labels are at hand" if beyond_reference else "mostly ranking"


def _answers(estimate: float, interval: Interval) -> tuple[bool, ...]:
    """Whether a sum is at least 0; both where its interval leaves it open, the likelier first."""
    if interval.low < interval.high and interval.holds(0):
        return (estimate >= 0, estimate < 0)
    return (estimate >= 0,)


def _weighted(runs: Mapping[str, Runs], weights: Mapping[str, float]) -> Runs:
    first, *others = (runs[name] * weight for name, weight in weights.items())
    for other in others:
        first = first + other
    return first


def _added(a: Mapping[str, float], b: Mapping[str, float]) -> dict[str, float]:
    return {name: a.get(name, 0.0) + b.get(name, 0.0) for name in {**a, **b}}
