"""Welch's t: golden values from scipy, simulated coverage, samples without a known error."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from xlt.analysis.uncertainty.welch import Sample, p_text, welch
from xlt.data.core.errors import InputError

values = st.lists(st.integers(0, 1000).map(lambda k: k / 1000), min_size=2, max_size=6).filter(
    lambda found: len(set(found)) > 1
)


def sample(found: list[float]) -> Sample:
    return Sample(float(np.mean(found)), float(np.std(found, ddof=1)), len(found))


@given(values, values, st.sampled_from([0.0, 0.05, -0.1]))
def test_interval_and_p_are_those_of_scipy(a: list[float], b: list[float], value: float) -> None:
    ours = welch(sample(a), sample(b))
    whole = stats.ttest_ind(a, b, equal_var=False)
    assert ours.df == pytest.approx(whole.df)
    assert ours.interval() == pytest.approx(tuple(whole.confidence_interval()), abs=1e-12)
    moved = np.array(a) - value
    for alternative, p in {
        "two-sided": ours.p_equal(value),
        "greater": ours.p_not_above(value),
        "less": ours.p_not_below(value),
    }.items():
        known = stats.ttest_ind(moved, b, equal_var=False, alternative=alternative).pvalue
        assert p == pytest.approx(known, rel=1e-6, abs=1e-12)


def test_the_published_f1_of_elyza_at_ja104_and_ja0() -> None:
    ours = welch(Sample(0.857, 0.007, 3), Sample(0.691, 0.088, 3))
    known = stats.ttest_ind_from_stats(0.857, 0.007, 3, 0.691, 0.088, 3, equal_var=False)
    assert ours.estimate == pytest.approx(0.166)
    assert ours.p_equal() == pytest.approx(known.pvalue)


def test_intervals_of_three_seeds_cover_the_truth() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(1000):
        a, b = rng.normal(0.8, 0.01, 3), rng.normal(0.7, 0.05, 3)
        low, high = welch(sample(a.tolist()), sample(b.tolist())).interval()
        hits += low <= 0.1 <= high
    assert 0.93 <= hits / 1000 <= 0.98  # Welch's is somewhat wide for so few


@pytest.mark.parametrize("one", [Sample(0.5, None, 1), Sample(0.5, None, 0)])
def test_one_seed_gives_no_error(one: Sample) -> None:
    with pytest.raises(InputError, match="each cell needs 2 or more"):
        welch(one, Sample(0.5, 0.1, 3))


def test_equal_values_give_no_error_despite_rounding() -> None:
    flat = sample([0.1, 0.1, 0.1])
    assert flat.std != 0
    with pytest.raises(InputError, match="no spread between the seeds of either cell"):
        welch(flat, Sample(0.5, 0.0, 3))
    assert welch(flat, Sample(0.5, 0.1, 3)).df == pytest.approx(2)


def test_small_p_are_not_printed_as_zero() -> None:
    assert (p_text(0.0123), p_text(0.0005)) == ("0.012", "<0.001")
