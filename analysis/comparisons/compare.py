"""Two cells on the same test rows: the difference, how sure it is, and what would settle it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xlt.analysis.trials.scores import CellScores
from xlt.analysis.trials.trial_names import Run
from xlt.analysis.uncertainty.intervals import INTERVALS, Interval
from xlt.analysis.uncertainty.mean_variance import Components, components, mean
from xlt.analysis.uncertainty.permutations import permutation_p_value
from xlt.analysis.uncertainty.resampling import NUM_RESAMPLES, draw_seed
from xlt.analysis.uncertainty.runs import MetricRuns, Runs
from xlt.analysis.uncertainty.trial_units import has_several_draws, num_units
from xlt.data.core.errors import InputError

LEVEL = 0.05
POWER = 0.8
MAX_RATIO = 1000
"""More than that many times the seeds, draws or test rows is no advice."""


@dataclass(frozen=True)
class Comparison:
    """Second cell minus first, of a metric, over the runs that both have.

    Attributes:
        first: ``base_model/pattern``.
        second: ``base_model/pattern``.
        runs: (draw of training rows, seed) that both cells have.
        num_items: Test rows.
        means: Of both cells over these runs, fractions of 1.
        difference: Mean of the second minus mean of the first.
        interval: 95 % of the difference, over runs and test rows.
        p_value: Of the permutation test over test rows, two-sided.
        holm_p_value: The same, corrected for all comparisons of the family.
        effect_size: Difference in units of the pooled standard deviation over runs (Cohen 1988,
            Statistical Power Analysis, section 2.2); None with one run or without deviation.
        superiority: Share of pairs of a run of each in which the second scores higher, ties half
            (McGraw & Wong 1992, Psychological Bulletin 111:361; Vargha & Delaney 2000, Journal of
            Educational and Behavioral Statistics 25:101).
        detectable: Smallest true difference found with probability :data:`POWER`.
        units_needed: Seeds a cell, on these test rows, to find a true difference of the size seen;
            draws with as many seeds each, where there are several. None: more than
            :data:`MAX_RATIO` times as many, or none suffice.
        items_needed: Test rows, with these runs; None likewise.
    """

    first: str
    second: str
    runs: tuple[Run, ...]
    num_items: int
    means: tuple[float, float]
    difference: float
    interval: Interval
    p_value: float
    holm_p_value: float
    effect_size: float | None
    superiority: float
    detectable: float
    units_needed: int | None
    items_needed: int | None

    @property
    def verdict(self) -> str:
        """What may be said: test and interval must agree before one cell is called higher."""
        by_test, by_interval = self.holm_p_value <= LEVEL, not self.interval.holds(0)
        if by_test and by_interval:
            return "second higher" if self.difference > 0 else "first higher"
        if by_test:
            return "these runs only"
        return "not after Holm" if by_interval else "unsettled"


def compare(
    first: CellScores,
    second: CellScores,
    metric_runs: MetricRuns,
    num_permutations: int = NUM_RESAMPLES,
    method: str = "t",
    paired_seeds: bool = False,
) -> Comparison:
    """Compare two cells; :func:`holm` over the family is the caller's.

    Only runs that both cells have count. With several draws runs are paired by draw and seed,
    because cells share draws: the same source rows, and fewer target rows are the first of more.
    Seeds on one draw are taken for independent between the cells unless ``paired_seeds``: a seed
    fixes head, adapters and order of rows, which have little in common between two base models or
    patterns; pairing by seed is for cells that share more than that.

    Args:
        first: Subtracted.
        second: Subtracted from.
        metric_runs: The metric.
        num_permutations: Permutations of test rows, at most.
        method: Name in ``INTERVALS``; callers check it.
        paired_seeds: Take the differences seed by seed.

    Raises:
        InputError: Cells without a common run, or not tested on the same rows, or a metric that
            has no value on these.
    """
    groups, runs = difference_groups(first, second, metric_runs, paired_seeds)
    parts, difference = components(groups), mean(groups)
    names = first.key.path, second.key.path
    rows = [[cell.runs.index(run) for run in runs] for cell in (first, second)]
    minus, plus = (
        metric_runs.of(cell).chosen(r).values for cell, r in zip((first, second), rows, strict=True)
    )
    p_value = permutation_p_value(
        metric_runs.metric,
        first.y_true,
        first.scores[rows[0]],
        second.scores[rows[1]],
        num_permutations,
        draw_seed("permutations", *names),
    )
    wins = plus[:, None] - minus
    return Comparison(
        first=first.key.path,
        second=second.key.path,
        runs=runs,
        num_items=len(first.ids),
        means=(float(minus.mean()), float(plus.mean())),
        difference=difference,
        interval=INTERVALS[method](groups),
        p_value=p_value,
        holm_p_value=p_value,
        effect_size=effect_size(minus, plus),
        superiority=float(((wins > 0) + (wins == 0) / 2).mean()),
        detectable=detectable(parts),
        units_needed=_needed(parts, abs(difference), parts.num_units, of_units=True),
        items_needed=_needed(parts, abs(difference), len(first.ids), of_units=False),
    )


def difference_groups(
    first: CellScores, second: CellScores, metric_runs: MetricRuns, paired_seeds: bool = False
) -> tuple[list[Runs], tuple[Run, ...]]:
    """Independent groups of runs whose means sum to second minus first, and the common runs.

    Raises:
        InputError: See :func:`compare`.
    """
    runs = common_runs(first, second)
    minus, plus = (
        metric_runs.of(cell).chosen([cell.runs.index(run) for run in runs])
        for cell in (first, second)
    )
    paired = paired_seeds or has_several_draws(runs)
    return ([plus + -minus] if paired else [plus, -minus]), runs


def common_runs(first: CellScores, second: CellScores) -> tuple[Run, ...]:
    """Runs that both cells have, on the same test rows.

    Raises:
        InputError: See :func:`compare`.
    """
    runs = tuple(run for run in first.runs if run in second.runs)
    if not runs:
        raise InputError("no seed that both cells have")
    if first.ids != second.ids:
        common = len(set(first.ids) & set(second.ids))
        raise InputError(f"not tested on the same rows ({common} in both)")
    if not np.array_equal(first.y_true, second.y_true):
        raise InputError("different labels for a test row")
    return runs


def effect_size(first: NDArray[np.float64], second: NDArray[np.float64]) -> float | None:
    """Difference of means over the pooled standard deviation of equally many runs, ddof=1."""
    if len(first) < 2:
        return None
    pooled = math.sqrt((first.var(ddof=1) + second.var(ddof=1)) / 2)
    return float(second.mean() - first.mean()) / pooled if pooled > 0 else None


def smallest_rank_p_value(num_units: int) -> float:
    """The smallest two-sided p-value of a rank test of so many seeds, or draws, against as many.

    Of the equally likely orders of 2 S units two are extreme (Mann & Whitney 1947, Annals of
    Mathematical Statistics 18:50): 2 / C(2S, S), 0.1 for S = 3.
    """
    return min(1.0, 2 / math.comb(2 * num_units, num_units))


def rank_test_remarks(runs: Iterable[Sequence[Run]], level: float = LEVEL) -> list[str]:
    """A sentence for each number of units with which no rank test can reach the level.

    Args:
        runs: Those of a cell, for each comparison.
        level: Of the test.
    """
    units = {(num_units(one), "draws" if has_several_draws(one) else "runs") for one in runs}
    more = {
        "runs": "Test rows are no runs and do not",
        "draws": "More runs of the same draws and seeds, and test rows, do not",
    }
    return [
        f"With {number} against {number} {name} a rank test cannot reach {level:g}: its smallest "
        f"two-sided p is {smallest:.2g}. {more[name]} help it."
        for number, name in sorted(units)
        if (smallest := smallest_rank_p_value(number)) > level
    ]


def detectable(parts: Components, unit_ratio: float = 1, item_ratio: float = 1) -> float:
    """The smallest true difference found at :data:`LEVEL` with probability :data:`POWER`.

    The sum of the quantiles for level and power times the standard error (Bloom 1995, Evaluation
    Review 19:547), each as wide as :meth:`Components.half_width` has it.

    Args:
        parts: Variance components of a difference.
        unit_ratio: With so many times the seeds, or draws.
        item_ratio: With so many times the test rows.
    """
    quantiles = (1 - LEVEL / 2, POWER)
    return sum(parts.half_width(q, unit_ratio, item_ratio) for q in quantiles)


def _needed(parts: Components, size: float, count: int, of_units: bool) -> int | None:
    """The smallest count of units or rows with which a difference of a size is detectable."""
    if of_units and parts.num_units < 2:
        return None  # what units contribute is not known

    def suffices(number: int) -> bool:
        ratio = number / count
        return detectable(parts, *((ratio, 1.0) if of_units else (1.0, ratio))) <= size

    low, high = 2, count * MAX_RATIO
    if size == 0 or not suffices(high):
        return None
    while low < high:  # detectable() falls with either count
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle + 1, high)
    return low
