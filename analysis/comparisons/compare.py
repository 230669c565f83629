"""Comparison of two cells: difference, interval, test, and the data that would settle it."""

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
"""Largest advised factor on the number of seeds, draws or test rows."""


@dataclass(frozen=True)
class Comparison:
    """Comparison of two cells: second minus first, over the runs that both have.

    Attributes:
        first: ``base_model/pattern``.
        second: ``base_model/pattern``.
        runs: Runs that both cells have: (draw of training rows, seed).
        num_items: Number of test rows.
        means: Mean of each cell over these runs, fractions of 1.
        difference: Mean of the second cell minus mean of the first.
        interval: 95 % confidence interval of the difference, over runs and test rows.
        p_value: Two-sided p-value of the permutation test over test rows.
        holm_p_value: The same p-value, corrected for all comparisons of the family.
        effect_size: Difference in units of the pooled standard deviation over runs (Cohen 1988,
            Statistical Power Analysis, section 2.2); None with one run or a deviation of 0.
        superiority: Share of pairs of runs, one of each cell, in which the second cell scores
            higher, ties half (McGraw & Wong 1992, Psychological Bulletin 111:361; Vargha & Delaney
            2000, Journal of Educational and Behavioral Statistics 25:101).
        detectable: Smallest true difference that is detected with probability :data:`POWER`.
        units_needed: Number of seeds for each cell that would detect a true difference of the
            observed size on these test rows; with several draws, the number of draws with as many
            seeds each. None: :data:`MAX_RATIO` times as many do not suffice, or it is unknown.
        items_needed: The same as a number of test rows, with these runs.
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
        """Conclusion; one cell is called higher only if test and interval agree."""
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
    """Compare two cells. The caller corrects the p-value for the family with :func:`holm`.

    Only runs that both cells have count. With several draws, runs are paired by draw and seed,
    because cells share draws: they have the same source rows, and the smaller number of target rows
    is the beginning of the larger one. On one draw, seeds count as independent between the cells
    unless ``paired_seeds``: a seed fixes head, adapters and order of rows, which have little in
    common between two base models or patterns.

    Args:
        first: The cell that is subtracted.
        second: The cell that it is subtracted from.
        metric_runs: The metric.
        num_permutations: Maximum number of permutations of test rows.
        method: Name in ``INTERVALS``; callers check it.
        paired_seeds: Whether to take the differences seed by seed, for cells whose seeds share
            more than head, adapters and order.

    Raises:
        InputError: The cells have no common run or different test rows, or the metric has no value
            on these rows.
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
        stories=first.stories,
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
    """Form independent groups of runs whose means add up to second minus first.

    Returns:
        The groups, and the runs that both cells have.

    Raises:
        InputError: See :func:`compare`.
    """
    runs = find_common_runs(first, second)
    minus, plus = (
        metric_runs.of(cell).chosen([cell.runs.index(run) for run in runs])
        for cell in (first, second)
    )
    paired = paired_seeds or has_several_draws(runs)
    return ([plus + -minus] if paired else [plus, -minus]), runs


def find_common_runs(first: CellScores, second: CellScores) -> tuple[Run, ...]:
    """Find the runs that both cells have, on the same test rows.

    Raises:
        InputError: See :func:`compare`.
    """
    runs = tuple(run for run in first.runs if run in second.runs)
    if not runs:
        raise InputError("no seed in common")
    if first.ids != second.ids:
        common = len(set(first.ids) & set(second.ids))
        raise InputError(f"not tested on the same rows ({common} in both)")
    if not np.array_equal(first.y_true, second.y_true):
        raise InputError("different labels for a test row")
    return runs


def effect_size(first: NDArray[np.float64], second: NDArray[np.float64]) -> float | None:
    """Difference of means over the pooled standard deviation (ddof=1) of equally many runs."""
    if len(first) < 2:
        return None
    pooled = math.sqrt((first.var(ddof=1) + second.var(ddof=1)) / 2)
    return float(second.mean() - first.mean()) / pooled if pooled > 0 else None


def smallest_rank_p_value(num_units: int) -> float:
    """Smallest two-sided p-value of a rank test with S = num_units seeds or draws in each cell.

    Two of the C(2S, S) equally likely orders are extreme (Mann & Whitney 1947, Annals of
    Mathematical Statistics 18:50): 2 / C(2S, S), which is 0.1 for S = 3.
    """
    return min(1.0, 2 / math.comb(2 * num_units, num_units))


def write_rank_test_remarks(runs: Iterable[Sequence[Run]], level: float = LEVEL) -> list[str]:
    """Write a sentence for each number of units with which no rank test can reach the level.

    Args:
        runs: Runs of a cell, for each comparison.
        level: Level of the test.
    """
    units = {(num_units(own), "draws" if has_several_draws(own) else "runs") for own in runs}
    more = {
        "runs": "More test rows do not",
        "draws": "More runs of the same draws and seeds, or more test rows, do not",
    }
    return [
        f"With {number} against {number} {name} a rank test cannot reach {level:g}: its smallest "
        f"two-sided p is {smallest:.2g}. {more[name]} help."
        for number, name in sorted(units)
        if (smallest := smallest_rank_p_value(number)) > level
    ]


def detectable(parts: Components, unit_ratio: float = 1, item_ratio: float = 1) -> float:
    """Smallest true difference detected at :data:`LEVEL` with probability :data:`POWER`.

    It is the sum of the quantiles for level and power times the standard error (Bloom 1995,
    Evaluation Review 19:547), where :meth:`Components.half_width` gives each product.

    Args:
        parts: Variance components of a difference.
        unit_ratio: Factor on the number of seeds or draws.
        item_ratio: Factor on the number of test rows.
    """
    quantiles = (1 - LEVEL / 2, POWER)
    return sum(parts.half_width(q, unit_ratio, item_ratio) for q in quantiles)


def _needed(parts: Components, size: float, count: int, of_units: bool) -> int | None:
    """Smallest number of units or rows with which a difference of this size is detectable."""
    if of_units and parts.num_units < 2:
        return None  # the contribution of units is unknown

    def suffices(number: int) -> bool:
        ratio = number / count
        return detectable(parts, *((ratio, 1.0) if of_units else (1.0, ratio))) <= size

    low, high = 2, count * MAX_RATIO
    if size == 0 or not suffices(high):
        return None
    while low < high:  # detectable() decreases with either number
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle + 1, high)
    return low
