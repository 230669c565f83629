"""Comparison of two cells: difference, intervals, tests, and the data that would settle it."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from xlt.analysis.comparisons import sizes
from xlt.analysis.comparisons.superiority import superiority, superiority_interval
from xlt.analysis.trials.scores import CellScores
from xlt.analysis.trials.trial_names import Run
from xlt.analysis.uncertainty.differences import RunsDifference, with_known_error
from xlt.analysis.uncertainty.intervals import INTERVALS, Interval
from xlt.analysis.uncertainty.mean_variance import Components, components, mean
from xlt.analysis.uncertainty.permutations import permutation_p_value
from xlt.analysis.uncertainty.resampling import NUM_RESAMPLES, draw_seed
from xlt.analysis.uncertainty.runs import MetricRuns, Runs
from xlt.analysis.uncertainty.trial_units import has_several_draws
from xlt.data.core.errors import InputError

LEVEL = 0.05


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Comparison of two cells: second minus first, over the runs that both have.

    ``compare_cells`` corrects it for its family; alone, it is a family of one.

    Attributes:
        first: ``base_model/pattern``.
        second: ``base_model/pattern``.
        runs: Runs that both cells have: (draw of training rows, seed).
        num_items: Number of test rows.
        means: Mean of each cell over these runs, fractions of 1.
        difference: Mean of the second cell minus mean of the first.
        parts: Components of the variance of the difference.
        interval: 95 % confidence interval of the difference, over runs and test rows.
        p_value: Two-sided p-value over runs and test rows, as of ``xlt claims``; None if unknown.
        untested: Why the p-value is unknown; else empty.
        these_runs_p_value: Two-sided p-value of the permutation test over test rows, which takes
            the trained models as given.
        effect_size: Difference in units of the pooled standard deviation over runs (Cohen 1988,
            Statistical Power Analysis, section 2.2); None with one run or a deviation of 0.
        superiority: Share of pairs of runs, one of each cell, in which the second cell scores
            higher, ties half.
        superiority_interval: 95 % interval of the probability that a new run of the second cell
            scores higher on these test rows; None with one run.
        corrected_p_value: ``p_value``, corrected for the family.
        these_runs_corrected_p_value: ``these_runs_p_value``, corrected for the family.
        alpha: 1 - level of the interval for the family.
        margin: Largest difference that does not matter, a fraction of 1; None: not given.
    """

    first: str
    second: str
    runs: tuple[Run, ...]
    num_items: int
    means: tuple[float, float]
    difference: float
    parts: Components
    interval: Interval
    p_value: float | None
    untested: str
    these_runs_p_value: float
    effect_size: float | None
    superiority: float
    superiority_interval: Interval | None
    corrected_p_value: float | None
    these_runs_corrected_p_value: float
    alpha: float = LEVEL
    margin: float | None = None

    @property
    def is_settled(self) -> bool:
        """Whether one cell is called higher: the corrected p-value is at most :data:`LEVEL`."""
        return self.corrected_p_value is not None and self.corrected_p_value <= LEVEL

    @property
    def family_interval(self) -> Interval:
        """Interval of the difference at level 1 - ``alpha``, which excludes 0 if it is settled.

        A correction may settle a difference whose interval includes 0. Then the interval ends at 0,
        which does not belong to it. Ends outside [-1, 1] are truncated.
        """
        low, high = RunsDifference(self.difference, self.parts).interval(self.alpha)
        low, high = max(low, -1.0), min(high, 1.0)
        if self.is_settled:
            low, high = (max(low, 0.0), high) if self.difference > 0 else (low, min(high, 0.0))
        return Interval(low, high)

    @property
    def is_equivalent(self) -> bool:
        """Whether the interval for the family lies within the margin.

        These are two one-sided tests (Schuirmann 1987, Journal of Pharmacokinetics and
        Biopharmaceutics 15:657), each at half of ``alpha``.
        """
        if self.margin is None or self.p_value is None:
            return False
        return max(-self.family_interval.low, self.family_interval.high) < self.margin

    @property
    def verdict(self) -> str:
        """Conclusion. A cell is called higher by the corrected p-value alone."""
        if self.p_value is None:
            return "not tested"
        if self.is_settled:
            within = f", within {self.margin:g}" if self.is_equivalent else ""
            return f"{'second' if self.difference > 0 else 'first'} higher{within}"
        if self.is_equivalent:
            return f"equivalent within {self.margin:g}"
        return "not after correction" if self.p_value <= LEVEL else "unsettled"

    @property
    def detectable(self) -> float:
        """Smallest true difference that is detected at level ``alpha``."""
        return sizes.detectable(self.parts, self.alpha)

    @property
    def units_needed(self) -> int | None:
        """Number of seeds for each cell that would detect the observed difference, if it is true.

        With several draws, it is the number of draws with as many seeds each, on these test rows.
        """
        return sizes.units_needed(self.parts, self.alpha, abs(self.difference))

    @property
    def items_needed(self) -> int | None:
        """Number of test rows that would detect it with these runs."""
        return sizes.items_needed(self.parts, self.alpha, abs(self.difference), self.num_items)


def compare(
    first: CellScores,
    second: CellScores,
    metric_runs: MetricRuns,
    num_permutations: int = NUM_RESAMPLES,
    method: str = "t",
    paired_seeds: bool = False,
) -> Comparison:
    """Compare two cells, as a family of one comparison.

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
    p_value, untested = _test(difference, parts)
    names = first.key.path, second.key.path
    rows = [[cell.runs.index(run) for run in runs] for cell in (first, second)]
    minus, plus = (
        metric_runs.of(cell).chosen(r).values for cell, r in zip((first, second), rows, strict=True)
    )
    these_runs_p_value = permutation_p_value(
        metric_runs.metric,
        first.y_true,
        first.scores[rows[0]],
        second.scores[rows[1]],
        num_permutations,
        draw_seed("permutations", *names),
        stories=first.stories,
        prevalence=metric_runs.prevalence,
    )
    share = superiority(minus, plus)
    return Comparison(
        first=names[0],
        second=names[1],
        runs=runs,
        num_items=len(first.ids),
        means=(float(minus.mean()), float(plus.mean())),
        difference=difference,
        parts=parts,
        interval=INTERVALS[method](groups),
        p_value=p_value,
        untested=untested,
        these_runs_p_value=these_runs_p_value,
        effect_size=effect_size(minus, plus),
        superiority=share,
        superiority_interval=superiority_interval(share, parts.num_units),
        corrected_p_value=p_value,
        these_runs_corrected_p_value=these_runs_p_value,
    )


def _test(difference: float, parts: Components) -> tuple[float | None, str]:
    """Two-sided p-value of no difference, or None and the reason."""
    try:
        return with_known_error(difference, parts).p_equal(), ""
    except InputError as error:
        return None, str(error)


def difference_groups(
    first: CellScores, second: CellScores, metric_runs: MetricRuns, paired_seeds: bool = False
) -> tuple[list[Runs], tuple[Run, ...]]:
    """Form independent groups of runs whose means add up to second minus first.

    Returns:
        The groups, and the runs that both cells have.

    Raises:
        InputError: See :func:`compare`.
    """
    return signed_groups([(1, second), (-1, first)], metric_runs, paired_seeds)


def signed_groups(
    terms: Sequence[tuple[int, CellScores]], metric_runs: MetricRuns, paired_seeds: bool = False
) -> tuple[list[Runs], tuple[Run, ...]]:
    """Form independent groups of runs whose means add up to a signed sum of cells.

    Args:
        terms: Sign and cell, e.g. four terms for a difference of two differences.
        metric_runs: Values and influences of the metric.
        paired_seeds: See :func:`compare`.

    Returns:
        The groups, and the runs that all cells have.

    Raises:
        InputError: See :func:`compare`.
    """
    runs = find_common_runs(*(cell for _, cell in reversed(terms)))
    groups = [
        metric_runs.of(cell).chosen([cell.runs.index(run) for run in runs]) * sign
        for sign, cell in terms
    ]
    paired = paired_seeds or has_several_draws(runs)
    return ([reduce(operator.add, groups)] if paired else groups), runs


def find_common_runs(first: CellScores, *others: CellScores) -> tuple[Run, ...]:
    """Find the runs that all cells have, on the same test rows.

    Raises:
        InputError: See :func:`compare`.
    """
    runs = tuple(run for run in first.runs if all(run in cell.runs for cell in others))
    if not runs:
        raise InputError("no seed in common")
    for other in others:
        _check_same_rows(first, other)
    return runs


def _check_same_rows(first: CellScores, second: CellScores) -> None:
    if first.ids != second.ids:
        common = len(set(first.ids) & set(second.ids))
        raise InputError(f"not tested on the same rows ({common} in both)")
    if not np.array_equal(first.y_true, second.y_true):
        raise InputError("different labels for a test row")


def effect_size(first: NDArray[np.float64], second: NDArray[np.float64]) -> float | None:
    """Difference of means over the pooled standard deviation (ddof=1) of equally many runs."""
    if len(first) < 2:
        return None
    pooled = math.sqrt((first.var(ddof=1) + second.var(ddof=1)) / 2)
    return float(second.mean() - first.mean()) / pooled if pooled > 0 else None
