"""Several draws of training rows: analysis of variance by hand, bootstrap by enumeration, coverage.

Draws and seeds are crossed: every seed runs on every draw.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from result_folders import make_plan, make_results, save_done, save_failed
from simulated_scores import make_cell, save_simulated, simulate_draws, true_auroc

from xlt.analysis.comparisons.compare import compare, difference_groups
from xlt.analysis.comparisons.superiority import superiority_interval
from xlt.analysis.curves.learning_curves import make_learning_curves
from xlt.analysis.curves.table import make_curve_tables
from xlt.analysis.page.build import build_content
from xlt.analysis.tables.report import render_tables
from xlt.analysis.trials.collect import collect
from xlt.analysis.trials.scores import load_scores
from xlt.analysis.trials.status import status
from xlt.analysis.trials.trial_names import describe_runs, name_runs
from xlt.analysis.uncertainty.intervals import CellIntervals, t_interval
from xlt.analysis.uncertainty.mean_variance import Components, components
from xlt.analysis.uncertainty.resampling import resampled_mean
from xlt.analysis.uncertainty.runs import MetricRuns, Runs
from xlt.analysis.uncertainty.trial_units import num_units, units_of
from xlt.analysis.uncertainty.variance_components import variance_components

GRID = tuple(itertools.product((0, 1, 2), (0, 1, 2)))
PER_SEED = ((0, 0), (1, 1), (2, 2))


def still(values: np.ndarray, runs: tuple[tuple[int, int], ...]) -> Runs:
    """Runs whose values no test row moves."""
    column = np.asarray(values, np.float64)
    return Runs(column, np.zeros((len(column), 100)), runs)


def resampled(values: np.ndarray) -> np.ndarray:
    """Means over 40,000 resamples of the runs of :data:`GRID`, whose values no test row moves."""
    return resampled_mean(np.tile(values.reshape(-1, 1), 40_000), GRID, 0)


# --- components -----------------------------------------------------------------------------


def test_components_are_those_of_a_three_way_analysis_of_variance() -> None:
    """Draws x seeds x rows, all crossed and random; accuracy, so that a score is a plain mean."""
    rng = np.random.default_rng(3)
    num_draws, num_seeds, num_items = 4, 3, 60
    runs = tuple(itertools.product(range(num_draws), range(num_seeds)))
    easy = rng.random(num_items) + 0.5 * rng.random((num_draws, 1, 1)) + 0.1
    right = (easy + 0.4 * rng.random((1, num_seeds, 1)) > 0.9 * rng.random((4, 3, 60))).astype(
        float
    )
    cell = make_cell(np.ones(num_items), np.where(right, 0.9, 0.1).reshape(12, -1), runs=runs)
    found = variance_components(MetricRuns("accuracy").of(cell))

    def effects(*kept: int) -> np.ndarray:
        """Means over the axes that are not kept, with those of all their margins taken off."""
        total = np.zeros((1, 1, 1))
        for size in range(len(kept) + 1):
            for axes in itertools.combinations(kept, size):
                dropped = tuple({0, 1, 2} - set(axes))
                mean = right.mean(axis=dropped, keepdims=True)
                total = total + (-1) ** (len(kept) - size) * mean
        return total

    def mean_square(*kept: int) -> float:
        squares = (np.broadcast_to(effects(*kept), right.shape) ** 2).sum()
        return float(squares / np.prod([right.shape[axis] - 1 for axis in kept]))

    d, s, i, ds, di, si, dsi = (
        mean_square(*kept) for kept in [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)]
    )
    expected = {
        "draw": (d - ds - di + dsi) / (num_seeds * num_items),
        "seed": (s - ds - si + dsi) / (num_draws * num_items),
        "run": (ds - dsi) / num_items,
        "item": (i - di - si + dsi) / (num_draws * num_seeds * num_items),
        "both": ((di - dsi) / num_seeds + (si - dsi) / num_draws + dsi) / num_items,
    }
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(max(value, 0), rel=1e-6, abs=1e-12), name
        assert (name in found.negative) == (value < 0)
    assert expected["draw"] > 0 and expected["seed"] > 0


def test_components_of_one_draw_and_of_one_seed_per_draw() -> None:
    values = np.array([0.7, 0.75, 0.83])
    one_draw = variance_components(still(values, ((0, 0), (0, 1), (0, 2))))
    assert (one_draw.draw, one_draw.run) == (None, None)
    assert one_draw.seed == pytest.approx(values.var(ddof=1))
    coupled = variance_components(still(values, PER_SEED))
    assert (coupled.seed, coupled.run) == (None, None)
    assert coupled.draw == pytest.approx(values.var(ddof=1))
    alone = variance_components(still(values[:1], ((2, 0),)))
    assert (alone.draw, alone.seed, alone.run, alone.item) == (None, None, None, 0)


def test_a_negative_variance_is_set_to_zero_and_marked() -> None:
    # All draws have the same mean, so that draws spread less than their seeds would let them.
    values = np.array([1, 2, 3, 3, 1, 2, 2, 3, 1]) / 10
    found = variance_components(still(values, GRID))
    assert found.draw == 0 and "draw" in found.negative
    assert found.text("draw") == "0 (< 0)"
    assert found.text("run") == "0.122"


@pytest.mark.parametrize(
    ("runs", "factors", "units"),
    [
        (((0, 5), (0, 7)), ((0, 1),), 2),
        (PER_SEED, ((0, 1, 2),), 3),
        (((0, 0), (0, 1), (4, 0), (4, 1)), ((0, 0, 1, 1), (0, 1, 0, 1)), 2),
        (((0, 0), (1, 0), (2, 0)), ((0, 1, 2),), 3),
        (((0, 0), (0, 1), (1, 2), (1, 3)), ((0, 0, 1, 1),), 2),  # seeds do not repeat
    ],
)
def test_units_are_draws_and_seeds(
    runs: tuple[tuple[int, int], ...], factors: tuple[tuple[int, ...], ...], units: int
) -> None:
    assert (units_of(runs), num_units(runs)) == (factors, units)


# --- intervals ------------------------------------------------------------------------------


def test_the_effect_of_a_seed_does_not_average_out_over_draws() -> None:
    """Seeds alone spread the scores: the interval is Student's of the seeds, not of nine runs."""
    by_seed = np.array([0.6, 0.8, 0.85])
    found = components([still(np.tile(by_seed, 3), GRID)])
    assert found.seed == pytest.approx(by_seed.var(ddof=1) / 3)
    assert (found.unit, found.seed_freedom, found.num_units) == (pytest.approx(0), 2, 3)
    one_draw = t_interval([still(by_seed, GRID[:3])])
    all_draws = t_interval([still(np.tile(by_seed, 3), GRID)])
    assert (all_draws.low, all_draws.high) == pytest.approx((one_draw.low, one_draw.high))
    # More draws do not mend it.
    assert found.half_width(0.975, unit_ratio=100) == pytest.approx(found.half_width(0.975))


def test_draws_alone_give_students_interval_of_draws() -> None:
    by_draw = np.array([0.6, 0.8, 0.85])
    nine, three = (
        t_interval([still(values, runs)])
        for values, runs in ((np.repeat(by_draw, 3), GRID), (by_draw, PER_SEED))
    )
    assert (nine.low, nine.high) == pytest.approx((three.low, three.high))


def test_one_seed_per_draw_gives_the_interval_of_seeds_on_one_draw() -> None:
    rng = np.random.default_rng(0)
    cell = simulate_draws(rng, PER_SEED, 60, 1.5, (0.3, 0.0, 0.0))
    on_one = replace(cell, runs=((0, 0), (0, 1), (0, 2)))
    first, second = (t_interval([MetricRuns("auroc").of(one)]) for one in (cell, on_one))
    assert first == second


def test_draws_and_seeds_are_resampled_independently() -> None:
    # Every pair of two draws and two seeds of three, by enumeration.
    x = np.array([[0.5, 0.7, 0.6], [0.8, 0.75, 0.9], [0.6, 0.9, 0.7]])
    pairs = list(itertools.product(range(3), repeat=2))
    exact = [x[np.ix_(draws, seeds)].mean() for draws in pairs for seeds in pairs]
    drawn = resampled(x)
    assert set(np.round(drawn, 9)) == set(np.round(exact, 9))
    assert drawn.mean() == pytest.approx(x.mean(), abs=0.003)
    assert drawn.var() == pytest.approx(np.var(exact), rel=0.03)
    # Each main effect has the variance of its mean: draws alone, then as components have it.
    alone = resampled(np.repeat(x.mean(1), 3))
    assert alone.var() == pytest.approx(x.mean(1).var(ddof=1) / 3, rel=0.03)


def test_a_missing_run_is_tolerated() -> None:
    rng = np.random.default_rng(1)
    cell = simulate_draws(rng, GRID[1:], 60, 1.5, (0.2, 0.1, 0.1))
    runs = MetricRuns("auroc").of(cell)
    found = t_interval([runs])
    assert found.low < runs.values.mean() < found.high
    assert variance_components(runs).run is not None


def test_runs_are_compared_draw_by_draw_and_seed_by_seed() -> None:
    """What draws do to both cells alike drops out of the difference."""
    rng = np.random.default_rng(2)
    shift = np.repeat(0.6 * rng.standard_normal(3), 3)[:, None]
    y_true = np.repeat([0, 1], 60)
    noise = rng.standard_normal(120)
    first, second = (
        make_cell(
            y_true,
            1 / (1 + np.exp(-(y_true * (1 + gain + shift) + noise + 0.1 * rng.random((9, 120))))),
            name, runs=GRID,
        )
        for name, gain in (("a", 0.0), ("b", 0.5))
    )  # fmt: skip
    metric_runs = MetricRuns("auroc")
    groups, runs = difference_groups(first, second, metric_runs)
    assert len(groups) == 1 and runs == GRID
    found = compare(first, second, metric_runs, 200)
    apart = t_interval([metric_runs.of(second), -metric_runs.of(first)])
    assert found.interval.high - found.interval.low < 0.5 * (apart.high - apart.low)
    # The order of runs is that of the first cell, whatever the second's.
    order = [4, 0, 8, 2, 6, 1, 7, 3, 5]
    shuffled = replace(
        second, scores=second.scores[order], runs=tuple(second.runs[k] for k in order)
    )
    again = compare(first, shuffled, MetricRuns("auroc"), 200)
    assert again.difference == pytest.approx(found.difference)
    assert again.interval.low == pytest.approx(found.interval.low)
    assert found.superiority_interval == superiority_interval(found.superiority, 3)  # not 9 runs


# --- coverage -------------------------------------------------------------------------------


def coverage(
    num_draws: int, num_seeds: int, num_items: int, stds: tuple[float, float, float],
    num_experiments: int,
) -> float:  # fmt: skip
    """Share of simulated experiments whose interval of the AUROC holds the truth."""
    rng = np.random.default_rng(1)
    runs = tuple(itertools.product(range(num_draws), range(num_seeds)))
    truth = true_auroc(1.5, float(np.sqrt(np.square(stds).sum())))
    held = 0
    for _ in range(num_experiments):
        cell = simulate_draws(rng, runs, num_items, 1.5, stds)
        held += t_interval([MetricRuns("auroc").of(cell)]).holds(truth)
    return held / num_experiments


@pytest.mark.parametrize("stds", [(0.6, 0.0, 0.2), (0.0, 0.6, 0.2)])
def test_coverage_where_draws_or_seeds_matter_most(stds: tuple[float, float, float]) -> None:
    # 150 experiments: a coverage of 0.95 is seen as 0.905 to 0.985 in 99 % of cases.
    assert coverage(3, 3, 80, stds, 150) >= 0.905


@pytest.mark.chaos
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("num_draws", "num_seeds"), [(3, 3), (5, 3)])
@pytest.mark.parametrize(
    "stds", [(0.05, 0.02, 0.05), (0.3, 0.0, 0.1), (0.0, 0.3, 0.1), (0.2, 0.2, 0.1)]
)
def test_coverage_of_draws_at_length(
    num_draws: int, num_seeds: int, stds: tuple[float, float, float]
) -> None:
    found = coverage(num_draws, num_seeds, 512, stds, 500)
    print(num_draws, num_seeds, stds, found)
    assert 0.92 <= found <= 0.995


# --- names, tables, curves ------------------------------------------------------------------


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two base models on two patterns, 2 draws x 2 seeds; one run failed, one missing."""
    plan = make_plan(("elyza", "mbert"), ("ja0", "ja16"), seeds=(0, 1), draws=(0, 1))
    results = make_results(tmp_path_factory.mktemp("draws") / "r", plan)
    rng = np.random.default_rng(4)
    rows = rng.standard_normal(60)
    runs = tuple(itertools.product((0, 1), (0, 1)))
    for model in ("elyza", "mbert"):
        for pattern, separation in (("ja0", 1.0), ("ja16", 1.6)):
            cell = simulate_draws(rng, runs, 60, separation, (0.3, 0.1, 0.1), rows)
            if (model, pattern) == ("mbert", "ja16"):
                cell = replace(cell, runs=runs[:2], scores=cell.scores[:2])
                save_failed(results, model, pattern, 1, "out of memory", draw_index=1)
            save_simulated(results, model, pattern, cell, cell.ids)
    return results.uri


def test_runs_are_named_by_draw_and_seed(location: str) -> None:
    collected = collect(location)
    assert collected.table["draw_index"].to_pylist()[:4] == [0, 0, 1, 1]
    text = render_tables(collected)
    assert "n = 4; over 2 draws x 2 seeds (draws of training rows 0, 1; seeds 0, 1)" in text
    assert "std with ddof=1 over draws and seeds together" in text
    assert "† mbert x ja16: draw 1 seed 0 missing" in text
    assert "† mbert x ja16: draw 1 seed 1 failed: out of memory" in text
    cell = load_scores(collected).cells["mbert", "ja16"]
    assert cell.gaps == ("draw 1 seed 0 missing", "draw 1 seed 1 failed")
    told = status(collected).splitlines()
    assert told[4] == "mbert       ++ ++  ++ .x"
    assert "One sign per seed [0, 1], one group per draw [0, 1]: + done" in "\n".join(told)


def test_the_report_shows_variance_components(location: str) -> None:
    collected = collect(location)
    intervals = CellIntervals(load_scores(collected))
    text = render_tables(collected, metrics=["auroc"], intervals=intervals)
    assert (
        "Variance components of auroc: draws / seeds / seeds on draws / test rows / runs on rows."
        in text
    )
    cell = intervals.components("auroc")["elyza", "ja0"]
    shown = [cell.text(part) for part in ("draw", "seed", "run", "item", "both")]
    assert " / ".join(shown) in text
    assert "over draws of training rows, seeds and test rows (method t)" in text
    head, first, *_ = render_tables(
        collected, "csv", metrics=["auroc"], intervals=intervals
    ).splitlines()
    assert head.endswith("std_draw,std_seed,std_run,std_item,std_both")
    assert float(first.split(",")[-5]) == pytest.approx(cell.std("draw"))
    assert "Variance components" not in render_tables(collected)


def test_curves_and_page_know_draws(location: str) -> None:
    collected = collect(location)
    made = make_learning_curves(collected, "auroc", "mbert", 100)
    points, _ = make_curve_tables(made)
    assert points.heading[6:] == ("draws", "seeds", "seeds on draws", "test rows", "runs on rows")
    assert points.records[0]["std_draw"] is not None
    shown = build_content(collected)
    assert shown["data"]["cells"][0]["values"]["f1"]["runs"][3][0] == "draw 1 seed 1"
    assert shown["data"]["trials"]["draw"][:4] == [0, 0, 1, 1]


def test_runs_of_one_draw_are_named_by_seed(tmp_path: Path) -> None:
    results = make_results(tmp_path / "r", make_plan(seeds=(0, 1)))
    save_done(results, "elyza", "ja16", 0, {"f1": 0.5, "auroc": 0.5})
    collected = collect(results)
    assert describe_runs(collected.plan) == "the seeds 0, 1 on one draw of training rows"
    assert "† elyza x ja16: seed 1 missing" in render_tables(collected)
    own = make_plan(seeds=(4,), draws=(4,))
    assert describe_runs(own) == "the seeds 4 on one draw of training rows (draw 4)"
    assert name_runs([(0, 0), (0, 2), (1, 1)], True) == "draw 0 seeds 0, 2 and draw 1 seed 1"


def test_components_of_known_size_are_found_on_average() -> None:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(400):
        draws, seeds = 0.05 * rng.standard_normal(3), 0.02 * rng.standard_normal(3)
        x = draws[:, None] + seeds + 0.03 * rng.standard_normal((3, 3))
        parts = components([still(x.ravel(), GRID)])
        found.append(parts.unit + parts.seed)
    # The variance of the mean; the part of seeds is cut at zero, which errs to the wide side.
    truth = (0.05**2 + 0.02**2) / 3 + 0.03**2 / 9
    assert truth <= np.mean(found) <= 1.2 * truth
    assert isinstance(parts, Components)
