"""Metrics of many weightings: scikit-learn's values on the rows repeated."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from xlt.analysis.uncertainty.resampling import item_weights
from xlt.trainables.metrics.auroc import auroc_exchange_effects, count_wins
from xlt.trainables.metrics.registry import METRICS, metrics_of, resampled_metrics, undefined
from xlt.trainables.metrics.resampled import MAX_FLOAT32_ROWS, weight_type


def repeated(metric: str, y_true: np.ndarray, score: np.ndarray, counts: np.ndarray) -> float:
    """The metric as trials compute it, with scikit-learn, on every row as often as its count."""
    times = counts.astype(int)
    return METRICS[metric].compute(np.repeat(y_true, times), np.repeat(score, times))


def test_every_metric_of_two_classes_can_be_resampled() -> None:
    assert list(resampled_metrics(2)) == [metric.name for metric in metrics_of(2)]


@pytest.mark.parametrize("metric", resampled_metrics(2))
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_equal_to_scikit_learn_on_the_same_resamples(metric: str, data: st.DataObject) -> None:
    num_items = data.draw(st.integers(2, 30))
    num_positive = data.draw(st.integers(1, num_items - 1))
    y_true = np.array([1] * num_positive + [0] * (num_items - num_positive), np.int8)
    # Few values, one of them the threshold, so that there are ties within and between classes.
    grid = data.draw(st.sampled_from([(0.5,), (0.25, 0.5), (0.1, 0.3, 0.5, 0.7, 0.9), None]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    y_true = rng.permutation(y_true)
    scores = rng.random((2, num_items)) if grid is None else rng.choice(grid, (2, num_items))
    weights = item_weights(y_true, 5, data.draw(st.integers(0, 99)))
    found = resampled_metrics(2)[metric].weighted(y_true, scores, weights)
    expected = [[repeated(metric, y_true, s, w) for w in weights.T] for s in scores]
    assert found == pytest.approx(np.array(expected), abs=1e-12)


@pytest.mark.parametrize("metric", resampled_metrics(2))
@pytest.mark.parametrize("num_items", [512, MAX_FLOAT32_ROWS, 6000])
def test_sums_of_weights_stay_exact(metric: str, num_items: int) -> None:
    rng = np.random.default_rng(0)
    y_true = np.repeat([0, 1], num_items // 2).astype(np.int8)
    scores = np.round(rng.random((1, num_items)), 2)
    weights = item_weights(y_true, 3, 0)
    assert weights.dtype == weight_type(num_items)
    assert weight_type(6000) is np.float64
    found = resampled_metrics(2)[metric].weighted(y_true, scores, weights)[0]
    expected = [repeated(metric, y_true, scores[0], counts) for counts in weights.T]
    assert found == pytest.approx(expected, abs=1e-13)


def test_more_weightings_than_a_block_holds() -> None:
    rng = np.random.default_rng(0)
    y_true, score = rng.integers(2, size=40).astype(np.int8), rng.random(40)
    weights = item_weights(y_true, 600, 1)
    for metric in ("auroc", "average_precision"):
        found = resampled_metrics(2)[metric].weighted(y_true, score[None], weights)[0]
        some = [0, 255, 256, 511, 512, 599]
        expected = [repeated(metric, y_true, score, weights[:, r]) for r in some]
        assert found[some] == pytest.approx(expected, abs=1e-12)


def test_zero_where_nothing_is_decided_positive() -> None:
    y_true, scores = np.array([0, 1], np.int8), np.array([[0.1, 0.2]])
    weights = np.ones((2, 1), np.float32)
    for metric in ("f1", "precision", "recall"):
        assert resampled_metrics(2)[metric].weighted(y_true, scores, weights).tolist() == [[0.0]]
    assert sk.f1_score([0, 1], [0, 0], zero_division=0.0) == 0.0


def test_metrics_of_order_need_both_classes() -> None:
    ones = np.ones(3, np.int8)
    assert undefined("auroc", ones) == "auroc needs both classes, all test rows are of class 1"
    assert undefined("f1", ones) == ""
    assert undefined("auroc", np.array([0, 1], np.int8)) == ""


@pytest.mark.parametrize("grid", [(0.5,), (0.25, 0.5), (0.1, 0.3, 0.5, 0.7, 0.9), None])
def test_wins_are_scipys_u_statistic(grid: tuple[float, ...] | None) -> None:
    rng = np.random.default_rng(0)
    first, second = (rng.random(n) if grid is None else rng.choice(grid, n) for n in (40, 30))
    assert count_wins(first, second).sum() == stats.mannwhitneyu(first, second).statistic


def test_effects_of_exchanged_rows_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    y_true = np.array([1] * 7 + [0] * 9, np.int8)
    first, second = np.round(rng.random((2, 3, 16)), 1)  # with ties
    effects, divisor = auroc_exchange_effects(y_true, first, second)
    for exchanged in rng.integers(2, size=(20, 16)).astype(bool):
        a, b = np.where(exchanged, second, first), np.where(exchanged, first, second)
        means = [np.mean([sk.roc_auc_score(y_true, run) for run in cell]) for cell in (a, b)]
        difference = np.where(exchanged, -effects, effects).sum() / divisor
        assert difference == pytest.approx(means[1] - means[0], abs=1e-12)
