"""Influences in closed form: against finite differences, and against resamples of the rows."""

from __future__ import annotations

import numpy as np
import pytest
from simulated_scores import simulate

from xlt.analysis.metrics.measures import RESAMPLED_MEASURES
from xlt.analysis.trials.scores import CellScores
from xlt.analysis.uncertainty.resampling import item_weights
from xlt.trainables.metrics.arrays import Values

MANY = 10_000
"""Copies of each row beside which one more is a small change."""

SLOPE = {"brier": 0.05, "ece": 0.5}
STD = {"ece": 0.3}
"""How far off they may be; of few rows a bin the error of calibration is mostly noise."""


def cell(separation: float, num_items: int = 200, seed: int = 0) -> CellScores:
    return simulate(np.random.default_rng(seed), 3, num_items, separation, 0.2)


def centred(derivatives: Values, one: CellScores) -> Values:
    for label in (0, 1):
        rows = one.y_true == label
        derivatives[:, rows] -= derivatives[:, rows].mean(axis=1, keepdims=True)
    return derivatives


def test_a_smooth_measure_has_its_derivative() -> None:
    name = "brier"
    one = cell(1.0, 60)
    weights = np.full((60, 61), float(MANY))
    weights[np.arange(60), np.arange(60)] += 1
    values = RESAMPLED_MEASURES[name].weighted(one.y_true, one.scores, weights)
    differences = (values[:, :60] - values[:, 60:]) * MANY
    assert RESAMPLED_MEASURES[name].influences(one.y_true, one.scores) == pytest.approx(
        centred(differences, one), abs=1e-4
    )


@pytest.mark.parametrize("name", RESAMPLED_MEASURES)
@pytest.mark.parametrize("separation", [0.5, 1.5, 3.0])
def test_they_are_what_rows_do_over_resamples(name: str, separation: float) -> None:
    """Efron's covariance of the value with how often a row is drawn, less the noise of 3,000."""
    one = cell(separation)
    weights = item_weights(one.y_true, 3000, 1).astype(np.float64)
    resampled = RESAMPLED_MEASURES[name].weighted(one.y_true, one.scores, weights)
    deviations = resampled - resampled.mean(axis=1, keepdims=True)
    covariance = deviations @ (weights - 1).T / 3000
    found = RESAMPLED_MEASURES[name].influences(one.y_true, one.scores)
    # Slope of the covariance on what was found: 1, and noise of the covariance does not move it.
    slope = (found * covariance).sum() / (found**2).sum()
    assert slope == pytest.approx(1, abs=SLOPE.get(name, 0.15))
    std = np.sqrt((found**2).sum(axis=1).mean())
    assert std == pytest.approx(np.sqrt(resampled.var(axis=1).mean()), rel=STD.get(name, 0.08))


@pytest.mark.parametrize("name", RESAMPLED_MEASURES)
def test_rows_without_a_choice_move_nothing(name: str) -> None:
    """All scores of a class are equal: whichever rows are drawn, the values are the same."""
    y_true = np.repeat([0, 1], 10).astype(np.int8)
    found = RESAMPLED_MEASURES[name].influences(y_true, np.tile(0.25 + 0.5 * y_true, (2, 1)))
    assert found == pytest.approx(np.zeros((2, 20)), abs=1e-12)


@pytest.mark.parametrize("name", RESAMPLED_MEASURES)
def test_the_only_row_of_a_class_moves_nothing(name: str) -> None:
    found = RESAMPLED_MEASURES[name].influences(
        np.array([0, 0, 1], np.int8), np.array([[0.2, 0.4, 0.9]])
    )
    assert np.isfinite(found).all() and found[0, 2] == 0


def test_every_measure_that_is_resampled_has_one() -> None:
    from xlt.analysis.boundary.measure import CLASS_MEDIANS, WITH_INTERVAL

    assert set(RESAMPLED_MEASURES) == {*WITH_INTERVAL, *CLASS_MEDIANS}
