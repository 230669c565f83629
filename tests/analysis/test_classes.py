"""Intervals and tests of more than two classes: known truth, enumeration, scipy's p-values."""

from __future__ import annotations

import itertools
import time
from typing import Any

import numpy as np
import pytest
from scipy import special, stats
from simulated_scores import make_cell, simulate_classes, true_accuracy_of_classes, upper_bound

from xlt.analysis.comparisons.compare import compare
from xlt.analysis.trials.scores import CellScores
from xlt.analysis.uncertainty.collapse import describe_collapse
from xlt.analysis.uncertainty.intervals import t_interval
from xlt.analysis.uncertainty.permutations import _exchanges, permutation_p_value
from xlt.analysis.uncertainty.resampling import RowResampler, item_weights
from xlt.analysis.uncertainty.runs import MetricRuns, sum_by_story
from xlt.data.core.errors import InputError
from xlt.trainables.metrics.registry import METRICS, resampled_metrics

pytestmark = pytest.mark.slow

METRICS_OF_CLASSES = tuple(resampled_metrics(3))


def runs_of(metric: str, num_classes: int) -> MetricRuns:
    return MetricRuns(metric, num_classes=num_classes)


# --- permutation tests ----------------------------------------------------------------------


def exchangeable(metric: str, scores: np.ndarray) -> np.ndarray:
    """Return what the test exchanges: ranks within runs and classes, or decisions."""
    if METRICS[metric].from_ranks:
        return np.asarray(stats.rankdata(scores, axis=1) / scores.shape[1])
    return np.eye(scores.shape[2])[scores.argmax(axis=2)]


def value(metric: str, y_true: np.ndarray, scores: np.ndarray) -> float:
    """Mean over runs by scikit-learn, for scores whose rows need not add up to 1."""
    from sklearn import metrics as sk

    if metric != "auroc_ovr":
        return float(np.mean([METRICS[metric].compute(y_true, run) for run in scores]))
    classes = range(scores.shape[2])
    return float(
        np.mean([[sk.roc_auc_score(y_true == c, run[:, c]) for c in classes] for run in scores])
    )


def differences(metric: str, y_true: np.ndarray, cells: Any, exchanges: Any) -> np.ndarray:
    found = []
    for exchanged in exchanges:
        swap = np.asarray(exchanged, bool)[:, None]
        a, b = np.where(swap, cells[1], cells[0]), np.where(swap, cells[0], cells[1])
        found.append(value(metric, y_true, b) - value(metric, y_true, a))
    return np.array(found)


@pytest.mark.parametrize("metric", METRICS_OF_CLASSES)
def test_few_rows_are_enumerated(metric: str) -> None:
    rng = np.random.default_rng(3)
    y_true = np.array([0, 0, 1, 1, 2, 2], np.int8)
    first = special.softmax(rng.standard_normal((2, 6, 3)), axis=2)
    second = special.softmax(rng.standard_normal((2, 6, 3)) + 3 * np.eye(3)[y_true], axis=2)
    found = permutation_p_value(metric, y_true, first, second, 1000, 0)
    cells = [exchangeable(metric, scores) for scores in (first, second)]
    all_of = differences(metric, y_true, cells, itertools.product([0, 1], repeat=6))
    tails = (all_of >= all_of[0] - 1e-9).mean(), (all_of <= all_of[0] + 1e-9).mean()
    assert found == pytest.approx(min(1.0, 2 * min(tails)))
    assert found < 1


@pytest.mark.parametrize("metric", METRICS_OF_CLASSES)
def test_random_exchanges_have_the_p_value_of_scipy(metric: str) -> None:
    rng, num_rows, num = np.random.default_rng(5), 21, 100
    y_true = (np.arange(num_rows) % 7).astype(np.int8)
    first, second = (
        special.softmax(rng.standard_normal((2, num_rows, 7)) + gain * np.eye(7)[y_true], axis=2)
        for gain in (0.5, 1.5)
    )
    found = permutation_p_value(metric, y_true, first, second, num, 0)
    cells = [exchangeable(metric, scores) for scores in (first, second)]
    differ = np.flatnonzero((cells[0] != cells[1]).any(axis=(0, 2)))
    exchanges = iter(np.concatenate([[np.zeros(len(differ))], *_exchanges(len(differ), num, 0)]))

    def difference(*_: object) -> float:
        swap = np.zeros(num_rows, bool)
        swap[differ] = next(exchanges)
        return round(float(differences(metric, y_true, cells, [swap])[0]), 12)

    samples = cells[0][0, :, 0], cells[1][0, :, 0]
    expected = stats.permutation_test(
        samples, difference, permutation_type="samples", n_resamples=num
    )
    assert found == pytest.approx(expected.pvalue, abs=1e-12)
    assert found < 0.9


def pair(
    rng: np.random.Generator, num_classes: int, num_items: int, seed_std: float = 0.0
) -> tuple[CellScores, CellScores]:
    """Two equally good cells on the same rows; the scores of the second are on another scale."""
    rows = rng.standard_normal((num_items, num_classes))
    a, b = (
        simulate_classes(rng, 3, num_items, num_classes, 1.5, seed_std, rows, name) for name in "ab"
    )
    return a, make_cell(b.y_true, b.scores**2, "b")  # the same order in every class


@pytest.mark.parametrize("metric", METRICS_OF_CLASSES)
def test_p_values_are_uniform_under_the_null(metric: str) -> None:
    rng = np.random.default_rng(7)
    found = []
    for number in range(200):
        a, b = pair(rng, 3, 60)
        found.append(permutation_p_value(metric, a.y_true, a.scores, b.scores, 199, number))
    assert stats.kstest(found, "uniform", alternative="greater").pvalue > 0.01
    assert (np.array(found) <= 0.05).mean() <= upper_bound(0.05, 200)


@pytest.mark.chaos
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("num_classes", [3, 7])
def test_size_of_tests_of_classes_at_length(num_classes: int) -> None:
    rng, num = np.random.default_rng(8), 1000
    rejected = {metric: np.zeros(2) for metric in METRICS_OF_CLASSES}
    for number in range(num):
        fixed, varied = pair(rng, num_classes, 300), pair(rng, num_classes, 300, 0.3)
        for metric in METRICS_OF_CLASSES:
            a, b = fixed
            p = permutation_p_value(metric, a.y_true, a.scores, b.scores, 199, number)
            # The p-value over runs uses no exchange of rows, so this asks for one.
            over_runs = compare(*varied, runs_of(metric, num_classes), 1).p_value
            assert over_runs is not None
            rejected[metric] += np.array([p, over_runs]) <= 0.05
    found = {metric: (counts / num).round(3).tolist() for metric, counts in rejected.items()}
    print(num_classes, found)
    assert all(max(shares) <= upper_bound(0.05, num) for shares in found.values()), found


# --- intervals ------------------------------------------------------------------------------


def true_auroc_of_classes(num_classes: int, separation: float, seed_std: float) -> float:
    """Mean over seeds (quadrature) of scikit-learn's value on 20,000 rows; error below 0.002."""
    rng = np.random.default_rng(99)
    points, weights = np.polynomial.hermite_e.hermegauss(7)
    values = []
    for distance in separation + seed_std * points:
        cell = simulate_classes(rng, 1, 20_000, num_classes, distance, 0.0)
        values.append(METRICS["auroc_ovr"].compute(cell.y_true, cell.scores[0]))
    return float(weights @ values / weights.sum())


def coverage(
    num_classes: int, seed_std: float, num_experiments: int, metrics: tuple[str, ...]
) -> dict[str, float]:
    """Share of simulated experiments of 3 seeds and 300 rows whose interval holds the truth."""
    rng, separation = np.random.default_rng(1), 1.5
    truth = dict.fromkeys(metrics, true_accuracy_of_classes(num_classes, separation, seed_std))
    if "auroc_ovr" in metrics:
        truth["auroc_ovr"] = true_auroc_of_classes(num_classes, separation, seed_std)
    held = dict.fromkeys(metrics, 0)
    for _ in range(num_experiments):
        cell = simulate_classes(rng, 3, 300, num_classes, separation, seed_std)
        for metric in metrics:
            found = t_interval([runs_of(metric, num_classes).of(cell)])
            held[metric] += found.holds(truth[metric])
    return {metric: count / num_experiments for metric, count in held.items()}


def test_coverage_of_three_seeds() -> None:
    # 100 experiments: a coverage of 0.95 is seen as 0.89 or more in 99 % of cases.
    found = coverage(3, 0.5, 100, ("accuracy", "macro_f1"))
    assert all(share >= 0.89 for share in found.values()), found


@pytest.mark.chaos
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("num_classes", [3, 7])
@pytest.mark.parametrize("seed_std", [0.02, 0.15, 0.5])
def test_coverage_of_classes_at_length(num_classes: int, seed_std: float) -> None:
    found = coverage(num_classes, seed_std, 500, METRICS_OF_CLASSES)
    print(num_classes, seed_std, found)
    assert all(0.92 <= share <= 0.995 for share in found.values()), found


def test_the_interval_of_accuracy_is_that_of_the_share_of_right_rows() -> None:
    rng = np.random.default_rng(4)
    cell = simulate_classes(rng, 1, 210, 7, 1.5, 0.0)
    runs = runs_of("accuracy", 7).of(cell)
    right = cell.scores[0].argmax(axis=1) == cell.y_true
    assert runs.values[0] == right.mean()
    # Rows are drawn within classes: a sum over strata of p (1 - p) n / (n - 1) / n, over K^2.
    shares = np.array([right[cell.y_true == label].mean() for label in range(7)])
    variance = (shares * (1 - shares) / 29).sum() / 49
    assert (runs.influence**2).sum() == pytest.approx(variance, rel=1e-9)


def test_rows_of_a_story_stay_together_and_no_class_gets_lost() -> None:
    y_true = np.array([0, 1, 2, 3, 0, 1, 2, 2, 4], np.int8)
    stories = np.array([0, 0, 1, 1, 2, 2, 3, 4, 5])
    weights = item_weights(y_true, 500, 0, stories)
    for story in range(6):
        assert len(np.unique(weights[stories == story], axis=0)) == 1
    for label in range(5):
        assert (weights[y_true == label].sum(axis=0) > 0).all()
    assert (weights[8] == 1).all()  # the only story of class 4
    assert (weights[6] + weights[7] == 2).all()  # two stories of class 2 alone
    assert (weights[0] + weights[4] == 2).all()  # two stories of classes 0 and 1
    influence = np.ones((1, 9))
    assert sum_by_story(influence, stories).shape == (1, 6)


def test_resamples_are_those_of_the_metric() -> None:
    cell = simulate_classes(np.random.default_rng(6), 2, 70, 7, 1.5, 0.2)
    found = RowResampler("macro_f1", 300, num_classes=7).values(cell)
    assert found.shape == (2, 300)
    runs = runs_of("macro_f1", 7).of(cell)
    # The bootstrap and the jackknife estimate the same standard error.
    assert found.std(axis=1) == pytest.approx(np.sqrt((runs.influence**2).sum(axis=1)), rel=0.2)


def test_a_run_that_calls_one_class_only_has_collapsed() -> None:
    cell = simulate_classes(np.random.default_rng(0), 3, 210, 7, 2.0, 0.0)
    runs = runs_of("macro_f1", 7)
    assert describe_collapse(cell, "macro_f1", runs.of(cell).values) == ""
    scores = cell.scores.copy()
    scores[1] = np.eye(7)[3]
    stuck = make_cell(cell.y_true, scores)
    told = describe_collapse(stuck, "macro_f1", runs_of("macro_f1", 7).of(stuck).values)
    # 30 of 210 rows are of class 3: precision 1 / 7 and recall 1, over 7 classes.
    assert told.startswith("seed 1 collapsed") and f"seed 1 {1 / 4 / 7:.3f}" in told
    assert describe_collapse(stuck, "auroc_ovr", np.zeros(3)) == ""


@pytest.mark.parametrize("metric", METRICS_OF_CLASSES)
def test_a_better_cell_is_called_higher(metric: str) -> None:
    rng = np.random.default_rng(11)
    rows = rng.standard_normal((280, 7))
    low, high = (
        simulate_classes(rng, 3, 280, 7, gain, 0.05, rows, name)
        for gain, name in ((0.5, "a"), (2.0, "b"))
    )
    found = compare(low, high, runs_of(metric, 7), 999)
    assert found.verdict == "second higher" and found.these_runs_p_value == pytest.approx(0.002)
    assert found.superiority == 1 and found.interval.low > 0
    means = [np.mean([METRICS[metric].compute(c.y_true, s) for s in c.scores]) for c in (low, high)]
    assert found.means == pytest.approx(means)


def test_names_of_metrics_are_those_of_the_number_of_classes() -> None:
    with pytest.raises(
        InputError, match=r"unknown metric of 7 classes 'f1'.*Known: acc.*auroc_ovr, macro_f1"
    ):
        MetricRuns("f1", num_classes=7)


def test_comparisons_of_many_classes_take_little_time() -> None:
    """A page of 39 trials has 26 pairs or so; 10,000 exchanges of 1,000 rows of 7 classes each."""
    rng = np.random.default_rng(0)
    cells = [simulate_classes(rng, 3, 1000, 7, 1.5, 0.1, name=name) for name in "ab"]
    for metric in METRICS_OF_CLASSES:
        start = time.process_time()
        compare(*cells, runs_of(metric, 7))
        assert time.process_time() - start < 3
