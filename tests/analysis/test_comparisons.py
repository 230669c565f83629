"""Two cells on the same rows: exact p-values by enumeration, level, Holm, what would settle it."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats
from simulated_scores import make_cell, simulate, true_auroc

from xlt.analysis.comparisons.compare import LEVEL, Comparison, compare, effect_size
from xlt.analysis.comparisons.sizes import POWER, detectable
from xlt.analysis.trials.scores import CellScores
from xlt.analysis.uncertainty.differences import RunsDifference
from xlt.analysis.uncertainty.intervals import Interval, t_interval
from xlt.analysis.uncertainty.mean_variance import Components
from xlt.analysis.uncertainty.permutations import (
    _difference_by_effects,
    _exchanges,
    _weighted_difference,
    num_permutations_needed,
    permutation_p_value,
)
from xlt.analysis.uncertainty.runs import MetricRuns
from xlt.data.core.errors import InputError
from xlt.trainables.metrics.auroc import auroc_exchange_effects, weighted_auroc
from xlt.trainables.metrics.registry import METRICS, resampled_metrics

pytestmark = pytest.mark.slow


def enumerated(metric: str, y_true: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    """Every exchange of rows, scored by a trial's own metrics; the smaller tail doubled."""
    differences = []
    for swap in itertools.product([False, True], repeat=len(y_true)):
        a, b = np.where(swap, second, first), np.where(swap, first, second)
        means = [np.mean([METRICS[metric].compute(y_true, score) for score in x]) for x in (a, b)]
        differences.append(means[1] - means[0])
    observed, all_of = differences[0], np.array(differences)
    tails = (all_of >= observed - 1e-9).mean(), (all_of <= observed + 1e-9).mean()
    return min(1.0, 2 * min(tails))


@pytest.mark.parametrize("metric", resampled_metrics(2))
def test_few_rows_are_enumerated(metric: str) -> None:
    rng = np.random.default_rng(3)
    y_true = np.array([0, 0, 0, 1, 1, 1], np.int8)
    first, second = rng.random((2, 6)), rng.random((2, 6)) / 3 + 0.6 * y_true
    found = permutation_p_value(metric, y_true, first, second, 1000, 0)
    given = (first, second)
    if metric in ("auroc", "average_precision"):  # ranks are exchanged, then scored
        given = tuple(stats.rankdata(scores, axis=1) / 6 for scores in given)
    assert found == pytest.approx(enumerated(metric, y_true, *given))
    assert found < 1


def test_rows_that_both_decide_alike_are_not_exchanged() -> None:
    # 200 rows, of which two are decided otherwise: 4 exchanges, so no p below 2/4 is possible.
    y_true = np.tile([0, 1], 100).astype(np.int8)
    first = np.where(y_true == 1, 0.8, 0.2)[None]
    second = first.copy()
    second[0, :2] = 1 - second[0, :2]
    assert permutation_p_value("accuracy", y_true, first, second, 1000, 0) == 0.5
    assert permutation_p_value("accuracy", y_true, first, first, 1000, 0) == 1.0
    almost = first.copy()
    almost[0, 0] = 1 - almost[0, 0]  # a single row differs: two exchanges, d and -d
    assert permutation_p_value("accuracy", y_true, first, almost, 1000, 0) == 1.0


@pytest.mark.parametrize("metric", resampled_metrics(2))
def test_random_exchanges_have_the_p_value_of_scipy(metric: str) -> None:
    """The same exchanges, scored one by one with a trial's own metric, and judged as by scipy."""
    rng, num_rows, num = np.random.default_rng(5), 24, 300
    y_true = np.tile([0, 1], num_rows // 2).astype(np.int8)
    first, second = rng.random((2, num_rows)), rng.random((2, num_rows)) + 0.2 * y_true
    found = permutation_p_value(metric, y_true, first, second, num, 0)
    given = (first, second)
    if METRICS[metric].from_ranks:
        given = tuple(stats.rankdata(scores, axis=1) / num_rows for scores in given)
        differ = np.flatnonzero((given[0] != given[1]).any(axis=0))
    else:
        differ = np.flatnonzero(((first >= 0.5) != (second >= 0.5)).any(axis=0))
    exchanges = iter(np.concatenate([[np.zeros(len(differ))], *_exchanges(len(differ), num, 0)]))

    def difference(*_: object) -> float:
        swap = np.zeros(num_rows, bool)
        swap[differ] = next(exchanges)
        a, b = np.where(swap, given[1], given[0]), np.where(swap, given[0], given[1])
        means = [np.mean([METRICS[metric].compute(y_true, score) for score in x]) for x in (a, b)]
        return round(float(means[1] - means[0]), 12)

    expected = stats.permutation_test(
        (given[0][0], given[1][0]), difference, permutation_type="samples", n_resamples=num
    )
    assert found == pytest.approx(expected.pvalue, abs=1e-12)


def test_random_exchanges_agree_with_all_of_them() -> None:
    rng = np.random.default_rng(1)
    y_true = np.tile([0, 1], 6).astype(np.int8)
    first, second = rng.random((3, 12)), rng.random((3, 12)) + 0.25 * y_true
    exact = permutation_p_value("auroc", y_true, first, second, 5000, 0)
    random = permutation_p_value("auroc", y_true, first, second, 4000, 0)
    assert 0.02 < exact < 0.9
    assert random == pytest.approx(exact, abs=0.03)


def test_the_smallest_p_value_counts_the_rows_as_they_are() -> None:
    y_true = np.tile([0, 1], 100).astype(np.int8)
    bad, good = np.where(y_true == 1, 0.2, 0.8), np.where(y_true == 1, 0.8, 0.2)
    # (0 + 1) / (199 + 1), of two tails
    assert permutation_p_value("f1", y_true, bad[None], good[None], 199, 0) == pytest.approx(0.01)
    assert num_permutations_needed(0.01) == 199
    assert [num_permutations_needed(0.05 / n) for n in (1, 5, 30)] == [39, 199, 1199]


@pytest.mark.parametrize("metric", ["auroc", "accuracy"])
def test_p_values_are_uniform_under_the_null(metric: str) -> None:
    rng = np.random.default_rng(7)
    found = []
    for number in range(300):
        rows = rng.standard_normal(60)
        # The second cell's scores are as good, but on another scale.
        a, b = (simulate(rng, 2, 60, 1.5, 0.0, rows) for _ in "ab")
        squeezed = 0.5 + (b.scores - 0.5) ** 3
        found.append(permutation_p_value(metric, a.y_true, a.scores, squeezed, 199, number))
    # Discrete p-values of the accuracy are above uniform ones; never below.
    assert stats.kstest(found, "uniform", alternative="greater").pvalue > 0.01
    assert (np.array(found) <= 0.05).mean() <= 0.08  # 99 % of draws at a level of 0.05
    if metric == "auroc":
        assert stats.kstest(found, "uniform").pvalue > 0.01


# --- correction and sizes -------------------------------------------------------------------


def test_effect_size_in_pooled_deviations() -> None:
    first, second = np.array([0.5, 0.6, 0.7]), np.array([0.7, 0.9, 1.1])
    assert effect_size(first, second) == pytest.approx(0.3 / np.sqrt((0.1**2 + 0.2**2) / 2))
    assert effect_size(first[:1], second[:1]) is None
    assert effect_size(np.array([0.5, 0.5]), np.array([0.7, 0.7])) is None


def test_a_detectable_difference_is_found_as_often_as_promised() -> None:
    # Known components, many degrees of freedom: the power of a normal test, 1.96 + 0.84 errors.
    parts = Components(0.01**2, 0.02**2, 0.0, 1e9, 1e9, 3, 512)
    size = detectable(parts, LEVEL)
    error = np.sqrt(parts.unit + parts.item)
    assert size == pytest.approx((1.959964 + 0.841621) * error, rel=1e-5)
    assert stats.norm.sf(1.959964 - size / error) == pytest.approx(POWER, abs=1e-4)


def test_power_of_few_seeds_by_simulation() -> None:
    # 4 seeds alone: the true difference that a t test finds in 8 of 10 experiments.
    error = 0.02
    size = detectable(Components(error**2 / 4, 0.0, 0.0, 3, 510, 4, 512), LEVEL)
    rng = np.random.default_rng(0)
    seen = size + error * rng.standard_normal((20_000, 4))
    found = stats.ttest_1samp(seen, 0, axis=1).pvalue <= LEVEL
    # Bloom's sum of quantiles is a few percent off the noncentral t for 3 degrees of freedom.
    assert found.mean() == pytest.approx(POWER, abs=0.04)


# --- comparisons ----------------------------------------------------------------------------


def pair(gain: float = 0.4, num_seeds: int = 3, seed_std: float = 0.05) -> tuple[CellScores, ...]:
    rng = np.random.default_rng(11)
    rows = rng.standard_normal(200)
    return (
        simulate(rng, num_seeds, 200, 1.2, seed_std, rows, "a"),
        simulate(rng, num_seeds, 200, 1.2 + gain, seed_std, rows, "b"),
    )


def test_numbers_of_a_comparison() -> None:
    first, second = pair()
    found = compare(first, second, MetricRuns("auroc"), 500)
    values = [
        [METRICS["auroc"].compute(cell.y_true, score) for score in cell.scores]
        for cell in (first, second)
    ]
    assert found.means == pytest.approx(np.mean(values, axis=1))
    assert found.difference == pytest.approx(found.means[1] - found.means[0])
    assert found.superiority == stats.mannwhitneyu(values[1], values[0]).statistic / 9
    assert found.interval.low < found.difference < found.interval.high
    assert (found.first, found.second) == ("a/ja0", "b/ja0")
    assert found.runs == ((0, 0), (0, 1), (0, 2))
    assert found == compare(first, second, MetricRuns("auroc"), 500)


def test_the_other_way_round_everything_changes_sign() -> None:
    first, second = pair()
    forth = compare(first, second, MetricRuns("f1"), 500)
    back = compare(second, first, MetricRuns("f1"), 500)
    assert back.difference == pytest.approx(-forth.difference)
    assert (back.interval.low, back.interval.high) == pytest.approx(
        (-forth.interval.high, -forth.interval.low)
    )
    assert back.effect_size == pytest.approx(-(forth.effect_size or 0))
    assert back.superiority == 1 - forth.superiority
    assert back.detectable == pytest.approx(forth.detectable)


def test_what_would_settle_it_is_the_smallest_number_that_does() -> None:
    first, second = pair(gain=0.15)
    found = compare(first, second, MetricRuns("auroc"), 100)
    more = compare(*pair(gain=0.6), MetricRuns("auroc"), 100)
    assert found.detectable > abs(found.difference)
    assert found.items_needed is None or found.items_needed > 200
    assert more.items_needed is not None and more.items_needed < 200
    assert more.units_needed is not None


def test_only_seeds_of_both_cells_count() -> None:
    first, second = pair()
    other = replace(second, runs=((0, 1), (0, 2), (0, 3)))
    found = compare(first, other, MetricRuns("accuracy"), 100)
    assert found.runs == ((0, 1), (0, 2))
    expected = [METRICS["accuracy"].compute(first.y_true, score) for score in first.scores[1:]]
    assert found.means[0] == pytest.approx(np.mean(expected))
    with pytest.raises(InputError, match="no seed in common"):
        compare(first, replace(second, runs=((0, 7), (0, 8), (0, 9))), MetricRuns("f1"), 100)


def test_one_seed_says_nothing_of_seeds() -> None:
    found = compare(*pair(num_seeds=1), MetricRuns("auroc"), 100)
    assert found.effect_size is None
    assert found.units_needed is None
    assert found.interval.low < found.interval.high


def test_cells_of_other_rows_are_not_compared() -> None:
    first, second = pair()
    ids = ("other", *second.ids[1:])
    with pytest.raises(InputError, match=r"not tested on the same rows \(199 in both\)"):
        compare(first, replace(second, ids=ids), MetricRuns("f1"), 100)
    with pytest.raises(InputError, match="different labels for a test row"):
        compare(first, replace(second, y_true=1 - second.y_true), MetricRuns("f1"), 100)


def test_coverage_of_a_difference() -> None:
    # 120 experiments: a coverage of 0.95 is seen as 0.89 or more in 99 % of cases.
    rng = np.random.default_rng(0)
    for seed_std in (0.02, 0.6):
        truth, held = true_auroc(1.6, seed_std) - true_auroc(1.2, seed_std), 0
        for _ in range(120):
            rows = rng.standard_normal(100)
            cells = [
                simulate(rng, 3, 100, separation, seed_std, rows, name)
                for name, separation in (("a", 1.2), ("b", 1.6))
            ]
            first, second = map(MetricRuns("auroc").of, cells)
            held += t_interval([second, -first]).holds(truth)
        assert held / 120 >= 0.89


def test_paired_seeds_drop_what_seeds_share() -> None:
    rng = np.random.default_rng(0)
    y_true = np.repeat([0, 1], 100)
    of_seed = 0.25 * rng.standard_normal((4, 1)) * y_true
    noise = rng.standard_normal(200) + 0.1 * rng.standard_normal((2, 4, 200))
    first, second = (
        make_cell(y_true, stats.norm.cdf(y_true + of_seed + noise[n]), name)
        for n, name in enumerate("ab")
    )
    apart = compare(first, second, MetricRuns("auroc"), 300)
    together = compare(first, second, MetricRuns("auroc"), 300, paired_seeds=True)
    assert together.difference == pytest.approx(apart.difference)
    assert together.interval.high - together.interval.low < 0.8 * (
        apart.interval.high - apart.interval.low
    )


def test_the_interval_of_a_difference_uses_the_same_rows() -> None:
    # The same scores twice: taking rows for independent would give an interval of some width.
    first, _ = pair(num_seeds=1)
    twin = make_cell(first.y_true, first.scores, "twin")
    found = compare(first, twin, MetricRuns("auroc"), 200)
    assert (found.interval.low, found.interval.high) == pytest.approx((0, 0), abs=1e-12)
    assert found.these_runs_p_value == 1
    assert (found.p_value, found.verdict) == (None, "not tested")
    assert found.untested == "one seed gives no error; each cell needs 2 or more"


def one_comparison(difference: float, error: float, **values: Any) -> Comparison:
    """A comparison whose error is normal with a standard deviation, nearly."""
    parts = Components(0.0, error**2, 0.0, 2, 1e9, 3, 10**9)
    found = RunsDifference(difference, parts)
    return Comparison(
        first="a", second="b", runs=((0, 0), (0, 1)), num_items=9, means=(0.5, 0.5 + difference),
        difference=difference, parts=parts, interval=Interval(*found.interval()), untested="",
        these_runs_p_value=0.001, effect_size=None, superiority=1.0, superiority_interval=None,
        these_runs_corrected_p_value=0.001,
        **{"p_value": found.p_equal(), "corrected_p_value": found.p_equal(), **values},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("difference", "values", "verdict"),
    [
        (0.1, {}, "second higher"),
        (-0.1, {}, "first higher"),
        (0.1, {"margin": 0.05}, "second higher"),
        (0.1, {"margin": 0.2}, "second higher, within 0.2"),
        (0.1, {"corrected_p_value": 0.051, "alpha": 1e-30}, "not after correction"),
        (0.1, {"corrected_p_value": 0.051, "alpha": 1e-30, "margin": 0.2}, "not after correction"),
        (0.01, {}, "unsettled"),
        (0.01, {"margin": 0.04}, "equivalent within 0.04"),
        (0.01, {"margin": 0.0295}, "unsettled"),  # the interval ends at 0.01 + 1.96 * 0.01
        (-0.01, {"margin": 0.0297}, "equivalent within 0.0297"),
        (0.01, {"p_value": None, "corrected_p_value": None, "margin": 0.9}, "not tested"),
    ],
)
def test_a_verdict_is_that_of_the_corrected_p_and_the_family_interval(
    difference: float, values: dict[str, Any], verdict: str
) -> None:
    assert one_comparison(difference, 0.01, **values).verdict == verdict


def test_an_interval_ends_at_0_where_only_the_sign_is_decided() -> None:
    # Holm's later steps decide what Bonferroni's interval leaves open: p of 0.01 in 10 tests.
    up = one_comparison(0.026, 0.01, corrected_p_value=0.04, alpha=0.005)
    assert (up.family_interval.low, up.verdict) == (0, "second higher")
    assert up.family_interval.high == pytest.approx(0.026 + stats.norm.isf(0.0025) * 0.01)
    down = one_comparison(-0.026, 0.01, corrected_p_value=0.04, alpha=0.005)
    assert (down.family_interval.high, down.verdict) == (0, "first higher")
    assert down.family_interval.low == pytest.approx(-up.family_interval.high)


@pytest.mark.parametrize("digits", [1, 6])
def test_auroc_of_exchanged_rows_is_that_of_weights(digits: int) -> None:
    # Every exchange of 8 rows, with ties and rows on which the two cells agree.
    rng = np.random.default_rng(digits)
    y_true = np.array([1, 0, 1, 1, 0, 0, 1, 0], np.int8)
    first, second = np.round(rng.random((2, 3, 8)), digits)
    second[:, 2] = first[:, 2]
    differ = np.array([0, 1, 3, 4, 5, 6, 7])
    chosen = np.array(list(itertools.product([0, 1], repeat=7)), np.uint8)
    rows = y_true, first, second, differ
    fast = _difference_by_effects(auroc_exchange_effects, *rows)(chosen)
    weighted = _weighted_difference(weighted_auroc, *rows)(chosen)
    assert fast == pytest.approx(weighted, abs=1e-12)
