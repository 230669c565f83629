"""Intervals: scipy's, variance components by analysis of variance, coverage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from result_folders import make_plan, make_results, save_done
from scipy import stats
from simulated_scores import (
    make_cell,
    predictions,
    save_simulated,
    simulate,
    simulate_classes,
    true_accuracy,
    true_auroc,
)

from xlt.analysis.tables.report import render_tables
from xlt.analysis.trials.collect import collect
from xlt.analysis.trials.scores import ExperimentScores, load_scores
from xlt.analysis.uncertainty.intervals import CellIntervals, t_interval
from xlt.analysis.uncertainty.mean_variance import components
from xlt.analysis.uncertainty.runs import MetricRuns, Runs
from xlt.data.core.errors import InputError
from xlt.trainables.metrics.registry import METRICS

SEEDS = ((0, 0), (0, 1), (0, 2))


def accuracy_runs(num_seeds: int, num_items: int = 50) -> tuple[Runs, np.ndarray]:
    """Runs of one class, and whether each decision is correct: accuracy is then a plain mean."""
    rng = np.random.default_rng(5)
    right = (rng.random(num_items) + 0.3 * rng.random((num_seeds, num_items)) > 0.4).astype(float)
    cell = make_cell(np.ones(num_items), np.where(right, 0.9, 0.1))
    return MetricRuns("accuracy").of(cell), right


def test_components_are_those_of_a_two_way_analysis_of_variance() -> None:
    runs, x = accuracy_runs(4)
    num_seeds, num_items = x.shape
    rows, seeds = x.mean(0), x.mean(1)
    of_seeds = num_items * seeds.var(ddof=1)
    of_rows = num_seeds * rows.var(ddof=1)
    rest = ((x - rows - seeds[:, None] + x.mean()) ** 2).sum()
    of_both = rest / ((num_seeds - 1) * (num_items - 1))
    found = components([runs])
    assert of_seeds > of_both and of_rows > of_both
    expected = np.array([of_seeds - of_both, of_rows - of_both, of_both]) / x.size
    assert (found.unit, found.item, found.both) == pytest.approx(expected, rel=1e-6)
    assert (found.unit_freedom, found.item_freedom) == (3, num_items - 2)


def test_seeds_alone_give_students_and_welchs_interval() -> None:
    # Rows that move nothing leave the textbook intervals, here scipy's.
    a, b = [0.81, 0.84, 0.9], [0.7, 0.72, 0.79]
    still = np.zeros((3, 10**6))
    first, second = (Runs(np.array(v), still, SEEDS) for v in (a, b))
    one = stats.ttest_1samp(a, 0).confidence_interval(0.95)
    found = t_interval([first])
    assert (found.low, found.high) == pytest.approx((one.low, one.high), rel=1e-9)
    two = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    found = t_interval([first, -second])
    assert (found.low, found.high) == pytest.approx((two.low, two.high), rel=1e-9)
    paired = stats.ttest_rel(a, b).confidence_interval(0.95)
    found = t_interval([first + -second])
    assert (found.low, found.high) == pytest.approx((paired.low, paired.high), rel=1e-9)


def test_the_interval_of_one_seed_is_that_of_the_rows() -> None:
    runs, right = accuracy_runs(1)
    found = t_interval([runs])
    error = right[0].std(ddof=1) / np.sqrt(right.size)
    expected = right.mean() + stats.t.ppf(0.975, right.size - 2) * error
    assert found.high == pytest.approx(expected, rel=1e-9)
    assert components([runs]).unit == 0


def test_runs_without_any_variation_have_an_interval_of_no_width() -> None:
    cell = make_cell([0, 1, 0, 1], np.array([[0.1, 0.9, 0.2, 0.8]] * 3))
    found = t_interval([MetricRuns("auroc").of(cell)])
    assert (found.low, found.high) == (1, 1)


def test_variance_components_fall_with_more_units_or_rows() -> None:
    parts = components([accuracy_runs(4)[0]])
    alone = replace(parts, item=0.0, both=0.0)
    infinite = replace(alone, unit_freedom=1e9)
    assert infinite.half_width(0.975, unit_ratio=4) == pytest.approx(
        infinite.half_width(0.975) / 2, rel=1e-6
    )
    assert alone.half_width(0.975, item_ratio=4) == alone.half_width(0.975)
    # 4 seeds -> 16: 15 degrees of freedom.
    expected = stats.t.ppf(0.975, 15) * np.sqrt(alone.unit / 4)
    assert alone.half_width(0.975, unit_ratio=4) == pytest.approx(expected)


# --- coverage -------------------------------------------------------------------------------


def coverage(
    num_seeds: int, num_items: int, seed_std: float, num_experiments: int
) -> dict[str, float]:
    """Metric -> share of simulated experiments whose interval holds the truth."""
    rng = np.random.default_rng(1)
    truth = {"auroc": true_auroc(1.5, seed_std), "accuracy": true_accuracy(1.5, seed_std)}
    held = dict.fromkeys(truth, 0)
    for _ in range(num_experiments):
        cell = simulate(rng, num_seeds, num_items, 1.5, seed_std)
        for metric, value in truth.items():
            held[metric] += t_interval([MetricRuns(metric).of(cell)]).holds(value)
    return {metric: count / num_experiments for metric, count in held.items()}


def test_coverage_of_three_seeds_where_seeds_matter_most() -> None:
    # 150 experiments: a coverage of 0.95 is seen as 0.905 to 0.985 in 99 % of cases.
    found = coverage(3, 100, 0.8, 150)
    assert all(share >= 0.90 for share in found.values()), found


def test_coverage_of_one_kind_of_seed_is_that_of_rows() -> None:
    found = coverage(10, 100, 0.1, 100)
    assert all(0.90 <= share <= 1 for share in found.values()), found


@pytest.mark.chaos
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("num_seeds", "seed_std"),
    [(3, 0.02), (3, 0.15), (3, 0.5), (5, 0.15), (5, 0.5), (10, 0.15), (10, 0.5)],
)
def test_coverage_at_length(num_seeds: int, seed_std: float) -> None:
    found = coverage(num_seeds, 512, seed_std, 500)
    print(num_seeds, seed_std, found)
    assert all(0.92 <= share <= 0.995 for share in found.values()), found


# --- in tables ------------------------------------------------------------------------------


def test_tables_show_intervals_and_why_a_cell_has_none(tmp_path: Path) -> None:
    results = make_results(tmp_path / "r", make_plan(["elyza", "mbert"], seeds=[0, 1]))
    rng = np.random.default_rng(0)
    for seed in (0, 1):
        cell = simulate(rng, 1, 40, 1.5, 0.1)
        one_class = predictions(cell.ids, [1] * 40, cell.scores[0])
        good = predictions(cell.ids, cell.y_true.tolist(), cell.scores[0])
        scores = {"f1": 0.75, "auroc": 0.8}
        save_done(results, "elyza", "ja16", seed, scores, predictions=good)
        save_done(results, "mbert", "ja16", seed, scores, predictions=one_class)
    collected = collect(results)
    intervals = CellIntervals(load_scores(collected))
    found, without = intervals.of("auroc")
    low, high = found["elyza", "ja16"]
    assert 0 <= low < high <= 1
    assert without == {("mbert", "ja16"): "auroc needs both classes, all test rows are of class 1"}
    value = f"0.800 (0.000) [{low:.3f}, {high:.3f}]"
    for format in ("text", "md"):
        shown = render_tables(collected, format, metrics=["auroc"], intervals=intervals)
        assert value in shown.replace("\\", "")
        assert "No interval for mbert x ja16: auroc needs both classes" in shown.replace("\\", "")
        assert "95 % interval of the mean over seeds and test rows" in shown
        assert "with fewer than 10 seeds their variance is poorly known" in shown
    assert f"{{[}}{low:.3f}, {high:.3f}{{]}}" in render_tables(
        collected, "latex", intervals=intervals
    )
    rows = render_tables(collected, "csv", metrics=["auroc"], intervals=intervals).splitlines()
    assert rows[0].split(",")[5:7] == ["low", "high"]
    assert [float(x) for x in rows[1].split(",")[5:7]] == [low, high]
    assert rows[2].split(",")[5:7] == ["", ""]
    assert "interval" not in render_tables(collected)


def test_more_than_two_classes_have_intervals(tmp_path: Path) -> None:
    plan = make_plan(["elyza", "mbert"], seeds=[0, 1], classes=tuple("abcdefg"))
    results = make_results(tmp_path / "r", plan)
    cell = simulate_classes(np.random.default_rng(0), 2, 70, 7, 1.5, 0.1)
    save_simulated(results, "elyza", "ja16", cell, cell.ids)
    some = replace(cell, y_true=np.minimum(cell.y_true, 5))
    for run, table_of in ((0, some.y_true.tolist()), (1, some.y_true.tolist())):
        rows = predictions(cell.ids, table_of, cell.scores[run].tolist())
        save_done(results, "mbert", "ja16", run, {"macro_f1": 0.5}, predictions=rows)
    collected = collect(results)
    intervals = CellIntervals(load_scores(collected))
    for metric, known in (("macro_f1", 2), ("auroc_ovr", 1), ("accuracy", 2)):
        found, without = intervals.of(metric)
        assert len(found) == known and len(without) == 2 - known
        low, high = found["elyza", "ja16"]
        assert low < np.mean([METRICS[metric].compute(cell.y_true, s) for s in cell.scores]) < high
    assert without == {}
    assert intervals.of("auroc_ovr")[1] == {
        ("mbert", "ja16"): "auroc_ovr needs rows of every class, no test row is of class 6"
    }
    shown = render_tables(collected, intervals=intervals)
    assert "Floor: calling every row g has macro_f1 0.036" in shown  # 2 * 10 / 80 over 7 classes
    assert "Floor: the same score for every row has auroc_ovr 0.500" in shown
    with pytest.raises(InputError, match="unknown metric of 7 classes 'f1'"):
        intervals.of("f1")


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(InputError, match=r"unknown interval 'bca'\. Known: t\."):
        CellIntervals(ExperimentScores({}, {}), "bca").of("f1")
