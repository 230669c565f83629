"""Corrections: by hand, by closed testing, by their own steps; intervals that agree with them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xlt.analysis.uncertainty.multiplicity import CORRECTIONS, benjamini_hochberg, holm


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.04: times 4, 3, 2, 1, then none below the one before.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.7, 0.9]) == [1.0, 1.0]


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_closed_testing_with_bonferroni(p_values: list[float]) -> None:
    """Marcus, Peritz and Gabriel 1976: rejected if every set with it is, exhaustively."""
    numbers = range(len(p_values))
    sets = [s for size in numbers for s in itertools.combinations(numbers, size + 1)]
    for number, corrected in zip(numbers, holm(p_values), strict=True):
        closed = max(min(1.0, len(s) * min(p_values[k] for k in s)) for s in sets if number in s)
        assert corrected == pytest.approx(closed)


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=8), st.floats(0.01, 0.2))
def test_holm_rejects_what_the_step_down_rejects(p: list[float], level: float) -> None:
    rejected = set()
    for step, place in enumerate(np.argsort(p, kind="stable")):
        if p[place] * (len(p) - step) > level:
            break
        rejected.add(int(place))
    assert {i for i, own in enumerate(holm(p)) if own <= level} == rejected


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=8), st.floats(0.01, 0.2))
def test_benjamini_hochberg_rejects_what_the_step_up_rejects(p: list[float], level: float) -> None:
    order = np.argsort(p, kind="stable")
    steps = [k for k, place in enumerate(order, 1) if p[place] * len(p) <= level * k]
    rejected = {int(place) for place in order[: max(steps, default=0)]}
    corrected = benjamini_hochberg(p)
    close = [abs(own - level) < 1e-12 for own in corrected]
    assert any(close) or {i for i, own in enumerate(corrected) if own <= level} == rejected


@pytest.mark.parametrize("name", CORRECTIONS)
@given(p=st.lists(st.floats(1e-6, 1), min_size=1, max_size=12))
def test_intervals_never_exclude_what_the_test_does_not_reject(name: str, p: list[float]) -> None:
    """An interval at 1 - alpha excludes the tested value if and only if its own p < alpha."""
    correction = CORRECTIONS[name]
    corrected = correction.correct(p)
    rejected = [own <= 0.05 for own in corrected]
    alpha = correction.interval_alpha(0.05, len(p), sum(rejected))
    excluded = [own < alpha for own in p]
    assert all(r or not e for r, e in zip(rejected, excluded, strict=True))
    if name != "holm":  # Holm's later steps reject more; Comparison.family_interval ends there
        close = [abs(own - alpha) < 1e-12 for own in p]
        assert any(close) or rejected == excluded
