"""Calibration: golden values from scikit-learn and by hand, identities, known calibration."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_scores import to_arrays
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from xlt.analysis.metrics.calibration import (
    brier_parts,
    reliability_curve,
)

rows = st.lists(
    st.tuples(st.integers(0, 1), st.floats(0, 1, allow_subnormal=False)), min_size=2, max_size=60
).filter(lambda found: len({y for y, _ in found}) == 2)


@given(rows, st.integers(1, 20))
def test_the_points_are_those_of_scikit_learn(found: list[tuple[int, float]], num: int) -> None:
    y_true, y_score = to_arrays(found)
    positives, mean_score = calibration_curve(y_true, y_score, n_bins=num, strategy="quantile")
    curve = reliability_curve(y_true, y_score, num)
    np.testing.assert_allclose(curve.positives, positives, atol=1e-12)
    np.testing.assert_allclose(curve.mean_score, mean_score, atol=1e-12)
    assert curve.mass.sum() == pytest.approx(1)


@given(rows, st.integers(1, 20))
def test_the_brier_score_is_the_sum_of_its_parts(found: list[tuple[int, float]], num: int) -> None:
    y_true, y_score = to_arrays(found)
    parts = brier_parts(y_true, y_score, num)
    total = parts.reliability - parts.resolution + parts.uncertainty + parts.within_bins
    assert total == pytest.approx(brier_score_loss(y_true, y_score), abs=1e-12)
    assert parts.reliability >= 0 and parts.resolution >= 0


def test_murphys_parts_by_hand() -> None:
    # Two scores: 0.2 with 1 of 4 positive, 0.8 with 2 of 4. Prior 3/8.
    y_true = np.array([1, 0, 0, 0, 1, 1, 0, 0])
    y_score = np.repeat([0.2, 0.8], 4)
    parts = brier_parts(y_true, y_score, 2)
    assert parts.reliability == pytest.approx((0.05**2 + 0.3**2) / 2)
    assert parts.resolution == pytest.approx(((1 / 8) ** 2 + (1 / 8) ** 2) / 2)
    assert parts.uncertainty == pytest.approx(3 / 8 * 5 / 8)
    assert parts.within_bins == pytest.approx(0)
    assert parts.calibration_error == pytest.approx((0.05 + 0.3) / 2)


@given(rows)
def test_one_bin_compares_the_means(found: list[tuple[int, float]]) -> None:
    y_true, y_score = to_arrays(found)
    error = brier_parts(y_true, y_score, 1).calibration_error
    assert error == pytest.approx(abs(y_score.mean() - y_true.mean()), abs=1e-12)


def test_equal_scores_share_a_bin() -> None:
    curve = reliability_curve(np.array([0, 1] * 10), np.full(20, 0.5))
    assert curve.mass.tolist() == [1.0]


def test_calibrated_scores_have_a_small_error_and_shifted_ones_their_shift() -> None:
    rng = np.random.default_rng(0)
    y_score = rng.uniform(0.1, 0.7, 20_000)
    y_true = (rng.random(20_000) < y_score).astype(np.int8)
    assert brier_parts(y_true, y_score).calibration_error < 0.02
    shifted = brier_parts(y_true, y_score + 0.3)
    assert shifted.calibration_error == pytest.approx(0.3, abs=0.02)
