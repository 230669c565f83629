"""Metrics at a prevalence: scikit-learn's values with the same weights, and intervals that hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from xlt.analysis.uncertainty.resampling import item_weights
from xlt.data.core.errors import InputError
from xlt.trainables.metrics.prevalence import (
    check_prevalence,
    highest_rate,
    resampled_at,
    values_from_rates,
    weigh_rows,
)
from xlt.trainables.metrics.registry import resampled_metrics

SHARES = (0.02, 0.3, 0.5, 0.9)


def draw_rows(seed: int, num_rows: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y_true = rng.permutation(np.repeat([0, 1], [num_rows - 25, 25])).astype(np.int8)
    return y_true, np.round(rng.random((3, num_rows)) * 0.6 + 0.4 * y_true, 1)  # with ties


def by_scikit_learn(name: str, y_true: np.ndarray, score: np.ndarray, weights: np.ndarray) -> float:
    decided = score >= 0.5
    if name == "auroc":
        return sk.roc_auc_score(y_true, score, sample_weight=weights)
    if name == "average_precision":
        return sk.average_precision_score(y_true, score, sample_weight=weights)
    if name == "accuracy":
        return sk.accuracy_score(y_true, decided, sample_weight=weights)
    if name in ("alarms", "false_alarms"):
        (_, false), (_, hits) = sk.confusion_matrix(y_true, decided, sample_weight=weights)
        return (false + hits * (name == "alarms")) / weights.sum()
    function = getattr(sk, f"{name}_score")
    return function(y_true, decided, sample_weight=weights, zero_division=0.0)


@pytest.mark.parametrize("prevalence", SHARES)
@pytest.mark.parametrize("name", resampled_at(0.5))
def test_values_are_those_of_scikit_learn_with_weights(name: str, prevalence: float) -> None:
    y_true, scores = draw_rows(1)
    counts = item_weights(y_true, 4, 7)
    found = resampled_at(prevalence)[name].weighted(y_true, scores, counts)
    for column, drawn in enumerate(counts.T.astype(np.float64)):
        of_class = np.array([drawn[y_true == label].sum() for label in (0, 1)])
        weights = drawn * (np.array([1 - prevalence, prevalence]) / of_class)[y_true]
        expected = [by_scikit_learn(name, y_true, score, weights) for score in scores]
        assert found[:, column] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("prevalence", SHARES)
def test_every_weighting_keeps_the_prevalence(prevalence: float) -> None:
    y_true, _ = draw_rows(2)
    left_out = 1 - np.eye(len(y_true))
    for weights in (item_weights(y_true, 50, 0), left_out):
        weighed = weigh_rows(y_true, weights, prevalence)
        assert weighed.dtype == np.float64
        assert weighed.sum(axis=0) == pytest.approx(1)
        assert weighed[y_true == 1].sum(axis=0) == pytest.approx(prevalence)


@pytest.mark.parametrize("name", resampled_metrics(2))
def test_at_the_share_of_the_rows_nothing_changes(name: str) -> None:
    y_true, scores = draw_rows(3)
    once, share = np.ones((len(y_true), 1)), float(y_true.mean())
    as_drawn, weighed = resampled_metrics(2)[name], resampled_at(share)[name]
    assert weighed.weighted(y_true, scores, once) == pytest.approx(
        as_drawn.weighted(y_true, scores, once), abs=1e-12
    )


def test_auroc_does_not_change() -> None:
    assert resampled_at(0.02)["auroc"] is resampled_metrics(2)["auroc"]


@pytest.mark.parametrize("name", ["f1", "precision", "false_alarms", "average_precision"])
def test_the_variance_over_rows_is_that_of_a_bootstrap(name: str) -> None:
    rng = np.random.default_rng(5)
    y_true = np.repeat([0, 1], 400).astype(np.int8)
    scores = stats.norm.cdf(rng.standard_normal((1, 800)) + 1.2 * (2 * y_true - 1))
    resampled = resampled_at(0.02)[name]
    # Bootstrap by hand: draw rows within each class, and weigh the drawn rows.
    values = []
    for _ in range(2000):
        drawn = np.concatenate([rng.choice(np.flatnonzero(y_true == k), 400) for k in (0, 1)])
        weights = np.where(y_true[drawn] == 1, 0.02, 0.98)
        values.append(by_scikit_learn(name, y_true[drawn], scores[0, drawn], weights))
    found = math.sqrt((resampled.influences(y_true, scores) ** 2).sum())
    assert found == pytest.approx(np.std(values), rel=0.12)


def test_rates_give_the_same_values() -> None:
    y_true, scores = draw_rows(4)
    decided = scores[0] >= 0.5
    rates = decided[y_true == 1].mean(), decided[y_true == 0].mean()
    once = np.ones((len(y_true), 1))
    for name, value in values_from_rates(0.02, *rates).items():
        found = resampled_at(0.02)[name].weighted(y_true, scores[:1], once)[0, 0]
        assert value == pytest.approx(found, abs=1e-12)
    assert values_from_rates(0.02, 0.0, 0.0)["precision"] == 0.0


@pytest.mark.parametrize(("seen", "rows"), [(0, 256), (3, 256), (40, 100), (7, 7)])
def test_the_highest_rate_is_that_of_an_exact_binomial_test(seen: int, rows: int) -> None:
    test = stats.binomtest(seen, rows, alternative="less")
    assert highest_rate(seen, rows) == pytest.approx(test.proportion_ci(0.95, "exact").high)
    if seen == 0:
        assert highest_rate(seen, rows) == pytest.approx(3 / rows, rel=0.01)


def test_rows_of_one_class_have_no_prevalence() -> None:
    ones, scores = np.ones(3, np.int8), np.full((1, 3), 0.7)
    with pytest.raises(InputError, match="no test row of class 0; a prevalence needs both classes"):
        resampled_at(0.02)["f1"].weighted(ones, scores, np.ones((3, 1)))


@pytest.mark.parametrize("wrong", [0.0, 1.0, 2.0, -0.1, math.nan])
def test_a_prevalence_is_a_share(wrong: float) -> None:
    with pytest.raises(InputError, match="is not a share between 0 and 1"):
        check_prevalence(wrong)
