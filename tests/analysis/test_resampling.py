"""Resampled test rows and seeds: counts, variances known exactly, the same for the same results."""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray
from simulated_scores import make_cell, simulate

from xlt.analysis.metrics.measures import RESAMPLED_MEASURES
from xlt.analysis.uncertainty.resampling import RowResampler, item_weights, resampled_mean
from xlt.analysis.uncertainty.runs import MetricRuns
from xlt.data.core.errors import InputError
from xlt.trainables.metrics.auroc import auroc_without_each, weighted_auroc
from xlt.trainables.metrics.registry import resampled_metrics
from xlt.trainables.metrics.resampled import jackknife, weighted_leave_one_out


def resampled(values: list[float], num_resamples: int) -> NDArray[np.float64]:
    """Means over resampled seeds whose values no test row moves."""
    seeds = [(0, seed) for seed in range(len(values))]
    return resampled_mean(np.tile(np.array(values)[:, None], num_resamples), seeds, 0)


def test_rows_are_drawn_within_their_class() -> None:
    y_true = np.array([0, 1, 1, 0, 1], np.int8)
    weights = item_weights(y_true, 2500, 3)
    assert set(weights[y_true == 0].sum(0)) == {2.0}
    assert set(weights[y_true == 1].sum(0)) == {3.0}
    # Multinomial: mean 1, variance 1 - 1/m of a row in a class of m.
    assert weights.mean(1) == pytest.approx(np.ones(5), abs=0.05)
    assert weights.var(1) == pytest.approx(np.where(y_true == 1, 2 / 3, 1 / 2), abs=0.05)
    assert np.array_equal(weights, item_weights(y_true, 2500, 3))
    assert not np.array_equal(weights, item_weights(y_true, 2500, 4))


def test_the_variance_over_seeds_is_that_of_their_mean() -> None:
    # All 9 draws of two of three seeds: variance s^2 / 3 with ddof=1, by enumeration.
    values = [0.5, 0.6, 0.9]
    exact = np.var([np.mean(pair) for pair in itertools.product(values, repeat=2)])
    assert exact == pytest.approx(np.var(values, ddof=1) / 3)
    drawn = resampled(values, 40_000)
    assert drawn.mean() == pytest.approx(np.mean(values), abs=0.003)
    assert drawn.var() == pytest.approx(exact, rel=0.03)


def test_a_single_seed_is_not_resampled() -> None:
    assert set(resampled([0.7], 50)) == {0.7}


def test_influences_on_auroc_give_delongs_variance() -> None:
    # DeLong et al. 1988: variances of the placements of positives and of negatives.
    rng = np.random.default_rng(0)
    y_true = np.array([1] * 13 + [0] * 22)
    score = np.round(rng.random(35) + 0.3 * y_true, 1)
    wins = score[y_true == 1][:, None] - score[y_true == 0]
    placed = (wins > 0) + (wins == 0) / 2
    delong = placed.mean(1).var(ddof=1) / 13 + placed.mean(0).var(ddof=1) / 22
    moved = resampled_metrics(2)["auroc"].influences(y_true, score[None])
    assert (moved**2).sum() == pytest.approx(delong, rel=1e-10)
    assert moved[0, 0] * (placed.mean(1)[0] - placed.mean()) > 0  # a row that wins raises it


def test_influences_agree_with_the_variance_over_resampled_rows() -> None:
    cell = simulate(np.random.default_rng(1), 2, 300, 1.5, 0.2)
    for metric in ("f1", "auroc", "average_precision", "accuracy"):
        squares = (MetricRuns(metric).of(cell).influence ** 2).sum(axis=1)
        variance = RowResampler(metric, 4000).values(cell).var(axis=1)
        assert squares == pytest.approx(variance, rel=0.1)


def test_the_jackknife_fails_for_a_median() -> None:
    """The jackknife is far off the variance over resamples, and the influences are not."""
    cell = simulate(np.random.default_rng(2), 3, 400, 1.5, 0.2)
    weighted = RESAMPLED_MEASURES["logit_median"].weighted
    weights = item_weights(cell.y_true, 2000, 1)
    variance = weighted(cell.y_true, cell.scores, weights).var(axis=1)
    runs = MetricRuns("logit_median", RESAMPLED_MEASURES).of(cell)
    assert (runs.influence**2).sum(axis=1) == pytest.approx(variance, rel=0.2)
    leave_one_out = partial(weighted_leave_one_out, weighted)
    by_jackknife = (jackknife(leave_one_out, cell.y_true, cell.scores) ** 2).sum(axis=1)
    assert (np.abs(by_jackknife / variance - 1) > 0.3).all()


def test_the_only_row_of_a_class_has_no_influence() -> None:
    moved = resampled_metrics(2)["auroc"].influences(
        np.array([0, 0, 1], np.int8), np.array([[0.2, 0.6, 0.5]])
    )
    assert moved[0, 2] == 0
    assert np.isfinite(moved).all()


def test_cells_share_resamples_of_rows_and_results_repeat() -> None:
    rng = np.random.default_rng(2)
    cell = simulate(rng, 3, 60, 1.5, 0.1)
    twin = make_cell(cell.y_true, cell.scores, "twin")
    resampler = RowResampler("auroc", 200)
    assert np.array_equal(resampler.values(cell), resampler.values(twin))
    assert np.array_equal(resampler.values(cell), RowResampler("auroc", 200).values(cell))
    other = simulate(rng, 3, 40, 1.5, 0.1, name="b")  # other test rows, other weights
    assert resampler.values(other).shape == (3, 200)


def test_unknown_metrics_and_too_few_resamples_are_refused() -> None:
    with pytest.raises(InputError, match=r"unknown metric of two classes 'macro_f1'.*Known: acc"):
        MetricRuns("macro_f1")
    with pytest.raises(InputError, match="99 resamples are too few; give 100 or more"):
        RowResampler("f1", 99)
    with pytest.raises(InputError, match="auroc needs both classes"):
        MetricRuns("auroc").of(make_cell([1, 1], np.array([[0.5, 0.6]])))


def test_auroc_without_each_row_is_that_of_weights(rows: int = 30) -> None:
    rng = np.random.default_rng(2)
    y_true = np.array([1] * 11 + [0] * (rows - 11), np.int8)
    scores = np.round(rng.random((3, rows)), 1)  # with ties
    expected = weighted_auroc(y_true, scores, 1 - np.eye(rows))
    assert np.array_equal(auroc_without_each(y_true, scores, np.arange(rows)), expected)
