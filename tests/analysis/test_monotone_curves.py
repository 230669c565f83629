"""Curves that never fall: the fit, and rows to reach a score."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import isotonic_regression

from xlt.analysis.curves.monotone import Array, fit_monotone, percentiles, rows_to_reach

ROWS = np.array([0.0, 3.0, 15.0])  # 0, 2 and 4 in log2(rows + 1)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.5, 0), (0.6, 1), (0.7, 3), (0.75, 7), (0.8, 15),
        (0.49, -np.inf), (0.81, np.inf),
    ],
)  # fmt: skip
def test_halfway_between_two_points_is_halfway_in_doublings(value: float, expected: float) -> None:
    fitted = np.array([[0.5, 0.7, 0.8]])
    assert rows_to_reach(np.array([value]), 5, ROWS, fitted) == pytest.approx([expected])


@pytest.mark.parametrize(("own", "expected"), [(0, 3), (3, 3), (5, 5), (7, 7), (100, 7)])
def test_a_level_stretch_is_entered_at_the_rows_nearest_to_ones_own(
    own: int, expected: int
) -> None:
    fitted = np.array([[0.5, 0.7, 0.7, 0.9]])
    rows = np.array([0.0, 3.0, 7.0, 15.0])
    assert rows_to_reach(np.array([0.7]), own, rows, fitted) == [expected]


def test_a_curve_of_one_point_knows_its_own_score_only() -> None:
    found = rows_to_reach(np.array([0.5, 0.6, 0.7]), 0, np.array([16.0]), np.full((3, 1), 0.6))
    assert found.tolist() == [-np.inf, 16, np.inf]


scores = st.floats(0, 1, allow_nan=False).map(lambda x: round(x, 3))
curves = st.integers(1, 7).flatmap(
    lambda k: st.tuples(
        st.lists(st.integers(0, 300), min_size=k, max_size=k, unique=True).map(sorted),
        st.lists(scores, min_size=k, max_size=k),
        st.lists(st.integers(1, 5), min_size=k, max_size=k),
    )
)


def fitted_curve(means: list[float], weights: list[int]) -> Array:
    return fit_monotone(np.array([means]), np.array(weights, np.float64))


@given(curves)
def test_the_fit_is_the_largest_of_the_smallest_means(
    curve: tuple[list[int], list[float], list[int]],
) -> None:
    _, means, weights = curve

    def mean(start: int, end: int) -> float:
        return float(np.average(means[start : end + 1], weights=weights[start : end + 1]))

    k = range(len(means))
    # Min-max formula, Barlow et al. 1972, section 1.4.
    exact = [max(min(mean(s, t) for t in k if t >= j) for s in k if s <= j) for j in k]
    fitted = fitted_curve(means, weights)[0]
    assert fitted == pytest.approx(exact, abs=1e-12)
    assert fitted == pytest.approx(isotonic_regression(means, sample_weight=weights), abs=1e-12)


@given(curves)
def test_a_curve_gains_nothing_over_itself(curve: tuple[list[int], list[float], list[int]]) -> None:
    rows, means, weights = curve
    fitted = fitted_curve(means, weights)
    for index, own in enumerate(rows):
        found = rows_to_reach(fitted[:, index], own, np.array(rows, np.float64), fitted)
        assert found == [own]


@given(curves, scores, st.integers(0, 300), st.integers(1, 50))
def test_a_curve_further_right_needs_more_rows(
    curve: tuple[list[int], list[float], list[int]], value: float, own: int, shift: int
) -> None:
    rows, means, weights = curve
    fitted, values = fitted_curve(means, weights), np.array([value])
    here, there = (
        rows_to_reach(values, own, np.array(rows, np.float64) + by, fitted)[0] for by in (0, shift)
    )
    assert there >= here - 1e-9
    if np.isinf(here):
        assert there == here


@given(curves, scores, scores, st.integers(0, 300))
def test_a_higher_score_needs_more_rows_within_what_was_measured(
    curve: tuple[list[int], list[float], list[int]], value: float, other: float, own: int
) -> None:
    rows, means, weights = curve
    fitted = np.repeat(fitted_curve(means, weights), 2, axis=0)
    low, high = rows_to_reach(
        np.sort([value, other]), own, np.array(rows, np.float64), fitted
    ).tolist()
    assert low <= high or low == pytest.approx(high)
    for found in (low, high):
        assert np.isinf(found) or rows[0] - 1e-9 <= found <= rows[-1] + 1e-9


def test_percentiles_keep_what_lies_outside() -> None:
    drawn = np.array([-np.inf] * 3 + list(range(94)) + [np.inf] * 3)
    assert percentiles(drawn) == (-np.inf, np.inf)
    assert percentiles(np.arange(999.0)) == (24, 974)
