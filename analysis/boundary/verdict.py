"""judge: whether a cell's gap in F1 comes from its threshold or from its ranking."""

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
"""Name of the reference F1 = 1, for cells without another reference."""
JUDGED_BY = ("f1", "f1_median", "f1_oracle")
"""Measures that a verdict depends on."""
FARTHEST_SHARE = 20.0
"""Maximal distance between a share and the ends of its interval; ends beyond it are infinite."""
SHARE_TOLERANCE = 1e-5
"""Numerical error of the ends of a share's interval."""

GapKind = Literal[
    "no clear gap", "mostly boundary", "boundary, if labels are at hand", "any cut, not ranking",
    "mostly ranking", "undecided",
]  # fmt: skip


@dataclass(frozen=True)
class Gap:
    """The gap in F1 between a cell and its reference. All numbers are means over runs.

    The median threshold is the median score of the test rows; the oracle threshold is the best one
    for their labels. The kinds are:

    - "no clear gap": the cell is not worse, or the interval of the gap holds 0.
    - "mostly boundary": the median threshold closes at least half of the gap.
    - "boundary, if labels are at hand": only the oracle threshold closes half of the gap, even
      after subtracting its gain at the reference.
    - "any cut, not ranking": the oracle threshold closes half of the gap, but its F1 is nearer to
      that of calling every row positive, which needs no ranking, than to the reference.
    - "mostly ranking": none of the above.
    - "undecided": the intervals allow several kinds.

    Attributes:
        kind: Verdict.
        open: Kinds that the intervals allow; a single one unless undecided.
        reference: Pattern of the reference, of the same base model, or :data:`BEST_POSSIBLE`.
        gap: F1 of the reference minus F1 of the cell, both at threshold 0.5.
        interval: 95 % interval of the gap; None if there are too few runs.
        median: Gain in F1 by the median threshold; may be negative.
        oracle: Gain in F1 by the oracle threshold, the upper bound for any threshold.
        reference_oracle: Gain in F1 by the oracle threshold at the reference, which comes from
            choosing a threshold on the scored rows; 0 for :data:`BEST_POSSIBLE`.
        ranking: F1 of the reference minus F1 at the oracle threshold, at least 0.
        median_interval: 95 % interval of the share of the gap that the median threshold closes;
            None without a clear gap.
        oracle_interval: The same for the oracle threshold.
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
        cell: Runs of the cell, by name in :data:`JUDGED_BY`.
        reference: Runs of the reference, by name; None stands for F1 = 1 at any threshold.
        name: Pattern of the reference, or :data:`BEST_POSSIBLE`.
        method: Name in ``INTERVALS``.
    """

    cell: Mapping[str, Runs]
    reference: Mapping[str, Runs] | None
    name: str
    method: str = "t"

    def contrast(
        self, of_cell: Mapping[str, float], of_reference: Mapping[str, float], constant: float = 0.0
    ) -> tuple[float, Interval]:
        """Weighted sum of the mean measures of both cells and a constant, with a 95 % interval.

        Args:
            of_cell: Weight of each measure of the cell.
            of_reference: Weight of each measure of the reference.
            constant: Number that is added.
        """
        groups = [_weighted(self.cell, of_cell)]
        if self.reference is None:
            constant += sum(of_reference.values())
        elif of_reference:
            other = _weighted(self.reference, of_reference)
            paired = has_several_draws(groups[0].runs)  # cells share draws, see ``compare``
            groups = [groups[0] + other] if paired else [groups[0], other]
        interval = INTERVALS[self.method](groups)
        low, high = interval.low + constant, interval.high + constant
        return mean(groups) + constant, Interval(low, high)

    def share_interval(self, measure: str) -> Interval:
        """95 % interval of the share of the gap that a threshold closes.

        The interval holds the shares r for which the interval of gain - r x gap holds 0 (Fieller
        1954, Journal of the Royal Statistical Society B 16:175), because the denominator of the
        share is uncertain, too. Fieller's ends are roots of a quadratic. Here the degrees of
        freedom also depend on r, so the ends are searched numerically. Ends farther than
        :data:`FARTHEST_SHARE` from the estimate are infinite; ends above 1 are set to 1.

        Args:
            measure: F1 at the threshold, a name in :data:`JUDGED_BY`; the gap must not be 0.
        """
        from scipy.optimize import brentq

        gain, gap = self.contrast({measure: 1.0, "f1": -1.0}, {})[0], self.gap()[0]
        estimate = gain / gap

        @cache  # brentq evaluates both ends again
        def outside(share: float) -> float:
            """Distance of 0 from the interval of gain - share x gap; negative inside of it."""
            of_cell = _added({measure: 1.0}, {"f1": share - 1})
            interval = self.contrast(of_cell, {"f1": -share})[1]
            return max(interval.low, -interval.high)

        def end(side: int) -> float:
            near, far = 0.0, min(2 * width, FARTHEST_SHARE)
            while outside(estimate + side * far) <= 0:
                if far >= FARTHEST_SHARE:
                    return side * math.inf
                near, far = far, min(2 * far, FARTHEST_SHARE)
            root = brentq(lambda d: outside(estimate + side * d), near, far, xtol=SHARE_TOLERANCE)
            return estimate + side * float(root)

        width = max(0.0, -outside(estimate)) / abs(gap)  # exact if the gap were known
        if width == 0:
            return Interval(min(1.0, estimate), min(1.0, estimate))
        high = 1.0 if estimate < 1 and outside(1.0) <= 0 else end(1)
        return Interval(min(1.0, end(-1)), min(1.0, high))

    def gap(self) -> tuple[float, Interval]:
        """F1 of the reference minus F1 of the cell, with a 95 % interval.

        The interval of a gap to F1 = 1 is clipped to [0, 1].
        """
        size, interval = self.contrast({"f1": -1.0}, {"f1": 1.0})
        if self.reference is None:
            interval = Interval(max(0.0, interval.low), min(1.0, interval.high))
        return size, interval

    @property
    def has_error(self) -> bool:
        """Whether there are enough runs to estimate the error of a gap to another cell."""
        both = [self.cell, *([self.reference] if self.reference else [])]
        return min(num_units(runs["f1"].runs) for runs in both) > 1


def judge(pair: CellPair, prior: float) -> Gap:
    """Split the gap in F1 between a cell and its reference into boundary and ranking.

    The oracle threshold is chosen on the rows that it is scored on, but the threshold of the
    reference is not. So the share of the oracle is an upper bound, and ``ranking`` is a lower one.
    The share of the median is unbiased if the share of the classes is known.

    Each condition of a verdict is that a weighted sum of mean measures is at least 0. If its 95 %
    interval holds 0, both outcomes are possible, and the verdict is undecided if they lead to
    different kinds. The intervals are not corrected for their number.

    Args:
        pair: Cell and reference.
        prior: Share of class 1 among the test rows of the cell.
    """
    f1, median, oracle = (float(pair.cell[name].values.mean()) for name in JUDGED_BY)
    best, own = 1.0, 0.0
    if pair.reference is not None:
        best = float(pair.reference["f1"].values.mean())
        own = float(pair.reference["f1_oracle"].values.mean()) - best
    size, interval = pair.gap()
    no_ranking = all_positive_f1(prior)
    gains = (median - f1, oracle - f1, own, max(0.0, best - oracle))
    clear = pair.reference is None or (pair.has_error and interval.low > 0)
    if size <= 0 or not clear:
        known = interval if pair.has_error else None
        return Gap("no clear gap", ("no clear gap",), pair.name, size, known, *gains)
    conditions = (
        # The oracle closes half of the gap.
        pair.contrast({"f1_oracle": 1.0, "f1": -0.5}, {"f1": -0.5}),
        # F1 at the oracle is nearer to the reference than to calling every row positive.
        pair.contrast({"f1_oracle": 1.0}, {"f1": -0.5}, -no_ranking / 2),
        # The median closes half of the gap.
        pair.contrast({"f1_median": 1.0, "f1": -0.5}, {"f1": -0.5}),
        # The oracle closes half of the gap after subtracting its gain at the reference.
        pair.contrast(
            {"f1_oracle": 1.0, "f1": -0.5},
            {"f1": -0.5} if pair.reference is None else {"f1_oracle": -1.0, "f1": 0.5},
        ),
    )
    answers = [_answers(*condition) for condition in conditions]
    if best <= no_ranking:
        answers[1] = (False,)
    possible = tuple(dict.fromkeys(_kind(*met) for met in itertools.product(*answers)))
    shares = [pair.share_interval(name) for name in ("f1_median", "f1_oracle")]
    kind = possible[0] if len(possible) == 1 else "undecided"
    return Gap(kind, possible, pair.name, size, interval, *gains, *shares)


def _kind(oracle: bool, ranked: bool, median: bool, beyond_reference: bool) -> GapKind:
    """The verdict for one outcome of the conditions in :func:`judge`."""
    if not oracle:
        return "mostly ranking"
    if not ranked:
        return "any cut, not ranking"
    if median:
        return "mostly boundary"
    return "boundary, if labels are at hand" if beyond_reference else "mostly ranking"


def _answers(estimate: float, interval: Interval) -> tuple[bool, ...]:
    """Possible answers to "is the sum at least 0?", the more likely one first."""
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
