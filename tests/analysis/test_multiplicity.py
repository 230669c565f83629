"""Holm's correction: by hand, by closed testing, by its own steps."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xlt.analysis.uncertainty.multiplicity import holm


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
