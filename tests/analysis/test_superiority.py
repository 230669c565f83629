"""Probability that a new run of one cell scores higher: estimate, interval, coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from xlt.analysis.comparisons.superiority import superiority, superiority_interval


def test_the_share_is_that_of_mann_and_whitney() -> None:
    first, second = np.array([0.5, 0.6, 0.7]), np.array([0.6, 0.9, 0.8])
    statistic = stats.mannwhitneyu(second, first).statistic
    assert superiority(first, second) == pytest.approx(statistic / 9)
    assert superiority(second, first) == pytest.approx(1 - statistic / 9)


@pytest.mark.parametrize("num_units", [2, 3, 5, 20])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 8 / 9, 1.0])
def test_ends_are_newcombes_equation(share: float, num_units: int) -> None:
    """Roots of (p - share)^2 = t^2 V(p), with V of Newcombe 2006, method 5."""
    found = superiority_interval(share, num_units)
    assert found is not None
    ends = np.array([found.low, found.high])
    n = (num_units + num_units) / 2 - 1
    variance = ends * (1 - ends) * (1 + n * (1 - ends) / (2 - ends) + n * ends / (1 + ends))
    variance /= num_units * num_units
    quantile = special.stdtrit(2 * num_units - 2, 0.975)
    assert (ends - share) ** 2 == pytest.approx(quantile**2 * variance, abs=1e-8)
    assert found.low <= share <= found.high and found.low < found.high
    mirrored = superiority_interval(1 - share, num_units)
    assert mirrored is not None
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((found.low, found.high))


def test_one_unit_has_no_interval() -> None:
    assert superiority_interval(1.0, 1) is None


def coverage(num_units: int, truth: float, ratio: float, num: int) -> float:
    """Share of simulated pairs of cells whose interval contains the truth; normal scores.

    Args:
        num_units: Seeds of each cell.
        truth: Probability that a run of the second cell scores higher.
        ratio: Standard deviation of the second cell in units of that of the first.
        num: Number of pairs of cells.
    """
    rng = np.random.default_rng(0)
    shift = float(stats.norm.ppf(truth)) * (1 + ratio**2) ** 0.5
    first = rng.standard_normal((num, num_units))
    second = shift + ratio * rng.standard_normal((num, num_units))
    shares = [superiority(*pair) for pair in zip(first, second, strict=True)]
    intervals = {share: superiority_interval(share, num_units) for share in set(shares)}
    held = [ends is not None and ends.holds(truth) for ends in map(intervals.get, shares)]
    return float(np.mean(held))


@pytest.mark.parametrize("num_units", [3, 5])
@pytest.mark.parametrize("truth", [0.5, 0.76, 0.9])
def test_coverage_of_few_units(num_units: int, truth: float) -> None:
    assert coverage(num_units, truth, 1.0, 1500) >= 0.94
    assert coverage(num_units, truth, 4.0, 1500) >= 0.94


@pytest.mark.chaos
def test_coverage_of_superiority_at_length() -> None:
    for num_units in (3, 5, 10):
        for truth in (0.5, 0.6, 0.76, 0.9, 0.98):
            found = [coverage(num_units, truth, ratio, 10_000) for ratio in (1.0, 4.0)]
            print(num_units, truth, found)
            assert min(found) >= 0.88
