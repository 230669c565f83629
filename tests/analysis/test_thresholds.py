"""Thresholds: exhaustive search, scikit-learn's calibrators, what scaling can and cannot move."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from simulated_scores import to_arrays
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from xlt.analysis.metrics.labelled_rows import (
    FITS,
    f1_with_labelled_rows,
    fit_platt,
    fit_temperature,
)
from xlt.analysis.metrics.thresholds import (
    best_threshold,
    decide_at_best_threshold,
    decide_out_of_fold,
    f1_at,
    list_cuts,
    macro_f1_of,
    prior_threshold,
)
from xlt.data.core.errors import InputError

rows = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([k / 16 for k in range(17)])),
    min_size=2,
    max_size=30,
).filter(lambda found: len({y for y, _ in found}) == 2)


def shifted(shift: float, num_rows: int = 512, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Balanced rows that are ranked well, with the boundary ``shift`` logits off."""
    rng = np.random.default_rng(seed)
    y_true = np.tile([0, 1], num_rows // 2).astype(np.int8)
    return y_true, expit(rng.normal(4.0 * y_true - 2, 1.2) - shift)


@given(rows)
def test_the_best_of_all_thresholds_has_the_largest_macro_f1(
    found: list[tuple[int, float]],
) -> None:
    y_true, y_score = to_arrays(found)

    def macro(threshold: float) -> float:
        decided = y_score >= threshold
        return float(f1_score(y_true, decided, average="macro", zero_division=0.0))

    best = float(best_threshold(list_cuts(y_true, y_score)))
    assert macro(best) == pytest.approx(max(map(macro, np.unique(y_score))), abs=1e-12)
    assert macro_f1_of(y_true, y_score >= best) == pytest.approx(macro(best), abs=1e-12)


@given(rows, st.integers(2, 6))
def test_no_row_has_a_say_in_its_own_decision(
    found: list[tuple[int, float]], num_folds: int
) -> None:
    """Each fold is decided at the threshold for the rows of the other folds."""
    y_true, y_score = to_arrays(found)

    def choose(y_true: np.ndarray, y_score: np.ndarray) -> np.ndarray:
        return best_threshold(list_cuts(y_true, y_score))

    decided = decide_out_of_fold(y_true, y_score, choose, num_folds=num_folds)
    assert decided.shape == y_score.shape
    both = np.stack([y_score, 1 - y_score])
    assert (decide_out_of_fold(y_true, both, choose, num_folds=num_folds)[0] == decided).all()
    fold = np.empty(len(y_true), int)
    for label in (0, 1):
        turns = np.arange(np.sum(y_true == label)) + label * (num_folds // 2)
        fold[y_true == label] = turns % num_folds
    for number in range(num_folds):
        others = fold != number
        cut = choose(y_true[others], y_score[others])
        assert (decided[~others] == (y_score[~others] >= cut)).all()


def test_no_row_of_a_story_has_a_say_in_a_decision_on_the_story() -> None:
    # Scores name the rows. Half of the stories have rows of both classes.
    num_rows = 60
    stories = np.random.default_rng(0).permutation(np.repeat(np.arange(20), 3))
    y_true = np.where(stories % 2, stories % 4 == 1, np.arange(num_rows) % 2).astype(np.int8)
    used: list[set[int]] = []

    def choose(_: np.ndarray, rows: np.ndarray) -> np.ndarray:
        used.append({int(row) for row in rows})
        return np.asarray(0.0)

    decide_out_of_fold(y_true, np.arange(num_rows).astype(float), choose, stories, num_folds=5)
    held_out = [set(range(num_rows)) - rows for rows in used]
    assert sorted(row for rows in held_out for row in rows) == list(range(num_rows))
    for rows in held_out:
        assert {int(stories[row]) for row in rows}.isdisjoint(
            int(story) for row, story in enumerate(stories) if row not in rows
        )


def test_calling_all_positive_is_no_better_threshold_for_bad_ranking() -> None:
    """F1 of class 1 alone would prefer it: 0.667 instead of 0.5."""
    rng = np.random.default_rng(0)
    y_true, y_score = np.tile([0, 1], 2000).astype(np.int8), rng.random(4000)
    share = float(np.mean(decide_at_best_threshold(y_true, y_score)))
    assert 0.2 < share < 0.8


@given(st.integers(2, 200), st.data())
def test_a_share_of_the_rows_reaches_the_prior_threshold(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, n - 1))
    y_score = np.random.default_rng(n).permutation(np.arange(n) / n)
    assert int(np.sum(y_score >= prior_threshold(y_score, k / n) - 1e-12)) == k


@given(rows)
def test_half_of_the_rows_reach_the_median(found: list[tuple[int, float]]) -> None:
    y_score = to_arrays(found)[1]
    assert prior_threshold(y_score) == np.median(y_score)


@pytest.mark.parametrize("prior", [0.0, 1.0, -0.5, float("nan")])
def test_a_prior_is_a_share(prior: float) -> None:
    with pytest.raises(InputError, match="not a share between 0 and 1"):
        prior_threshold(np.array([0.1, 0.2]), prior)


def test_thresholds_lie_between_scores() -> None:
    y_true, y_score = np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.6, 0.9])
    assert best_threshold(list_cuts(y_true, y_score)) == pytest.approx(0.4)
    tight = np.array([0.1, 0.5, np.nextafter(0.5, 1), 0.9])
    assert f1_at(y_true, tight, best_threshold(list_cuts(y_true, tight))) == 1.0


@pytest.mark.parametrize("stretch", [0.3, 5.0])
def test_f1_at_the_best_and_the_median_threshold_only_knows_the_ranking(stretch: float) -> None:
    y_true, y_score = shifted(1.0)
    other = expit(stretch * np.log(y_score / (1 - y_score)) - 3)
    for rule in (lambda y, s: best_threshold(list_cuts(y, s)), lambda _, s: prior_threshold(s)):
        ours = f1_at(y_true, y_score, rule(y_true, y_score))
        assert f1_at(y_true, other, rule(y_true, other)) == pytest.approx(ours, abs=1e-12)


# --- few labelled rows ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fit", "method"), [(fit_platt, "sigmoid"), (fit_temperature, "temperature")]
)
@pytest.mark.parametrize("num_rows", [16, 104])
def test_scaling_is_that_of_scikit_learn(fit, method: str, num_rows: int) -> None:
    y_true, y_score = shifted(1.5, num_rows, seed=3)
    logits = np.log(y_score / (1 - y_score))[:, None]
    passes = LogisticRegression()  # logits through unchanged
    passes.coef_, passes.intercept_ = np.ones((1, 1)), np.zeros(1)
    passes.classes_, passes.n_features_in_ = np.array([0, 1]), 1
    known = CalibratedClassifierCV(FrozenEstimator(passes), method=method, cv=2)
    expected = known.fit(logits, y_true).predict_proba(logits)[:, 1]
    np.testing.assert_allclose(fit(y_true, y_score)(y_score), expected, atol=1e-5)


def test_scaling_stays_finite_on_separable_rows_and_certain_scores() -> None:
    y_true, y_score = np.array([0, 0, 1, 1]), np.array([0.0, 0.1, 0.9, 1.0])
    for fit in (fit_platt, fit_temperature):
        scaled = fit(y_true, y_score)(y_score)
        assert np.isfinite(scaled).all()
        assert ((scaled >= 0) & (scaled <= 1)).all()


@settings(max_examples=25)
@given(rows)
def test_a_temperature_cannot_move_the_boundary(found: list[tuple[int, float]]) -> None:
    y_true, y_score = to_arrays(found)
    scaled = fit_temperature(y_true, y_score)(y_score)
    assert ((scaled >= 0.5) == (y_score >= 0.5)).all()


def test_few_labelled_rows_mend_a_shifted_boundary_but_a_temperature_does_not() -> None:
    y_true, y_score = shifted(3.0)
    before = f1_at(y_true, y_score, 0.5)
    best = f1_at(y_true, y_score, best_threshold(list_cuts(y_true, y_score)))
    found = {fit: f1_with_labelled_rows(y_true, y_score, fit, 104) for fit in FITS}
    assert before < 0.5 and best > 0.9
    assert found["temperature"] == pytest.approx(before, abs=0.03)
    assert found["platt"] > best - 0.04
    assert found["threshold"] > best - 0.04
    # More labelled rows are worth more.
    assert found["threshold"] > f1_with_labelled_rows(y_true, y_score, "threshold", 8)


def test_labelled_rows_are_drawn_alike_every_time() -> None:
    y_true, y_score = shifted(1.0, 100)
    first, second = (f1_with_labelled_rows(y_true, y_score, "platt", 16) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("num_labelled", [0, 1, 99, 100, 500, -3])
def test_each_class_needs_rows_on_both_sides(num_labelled: int) -> None:
    y_true, y_score = shifted(1.0, 100)
    with pytest.raises(InputError, match="leave a class without rows to fit on or to score"):
        f1_with_labelled_rows(y_true, y_score, "threshold", num_labelled)


def test_an_unknown_fit_is_refused() -> None:
    with pytest.raises(InputError, match=r"unknown fit 'plat'\. Did you mean 'platt'"):
        f1_with_labelled_rows(*shifted(0.0, 40), "plat", 16)


@pytest.mark.parametrize("score", [0.0, 0.3, 1.0])
def test_scores_that_are_all_equal_are_no_error(score: float) -> None:
    y_true, y_score = np.tile([0, 1], 50).astype(np.int8), np.full(100, score)
    for fit in FITS:
        assert 0 <= f1_with_labelled_rows(y_true, y_score, fit, 16, num_draws=3) <= 1
