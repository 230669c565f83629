"""Collapsed runs: which count, what tables say, and coverage with and without them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from result_folders import TRAINED, make_plan, make_results, save_done
from scipy import special, stats
from simulated_scores import ITEM_STD, RUN_STD, make_cell, predictions

from xlt.analysis.claims import ResultCells, parse_claims
from xlt.analysis.claims.report import make_claims_tables
from xlt.analysis.comparisons.family import compare_cells
from xlt.analysis.comparisons.table import make_comparison_table
from xlt.analysis.tables.formats import write_tables
from xlt.analysis.tables.report import render_tables
from xlt.analysis.trials.collect import collect
from xlt.analysis.trials.scores import CellScores, load_scores
from xlt.analysis.uncertainty.collapse import describe_collapse
from xlt.analysis.uncertainty.intervals import CellIntervals, t_interval
from xlt.analysis.uncertainty.runs import MetricRuns
from xlt.data.core.errors import InputError

Y_TRUE = np.repeat([0, 1], 100)


def calling_positive(*numbers: int) -> CellScores:
    """Runs that call this number of 200 rows positive."""
    return make_cell(Y_TRUE, np.array([np.arange(200) >= 200 - number for number in numbers]))


@pytest.mark.parametrize(
    ("numbers", "collapsed"),
    [
        ((100, 90, 0), "seed 2 collapsed"),
        ((100, 1, 200), "seeds 1, 2 collapsed"),
        ((199, 100, 100), "seed 0 collapsed"),  # one row called negative, fewer than two of 100
        ((100, 2, 198), ""),
        ((0, 1, 0), ""),  # one kind: the mean of scores near 0 is known well
    ],
)
def test_runs_that_decide_for_one_class_collapsed(numbers: tuple[int, ...], collapsed: str) -> None:
    cell, values = calling_positive(*numbers), np.array([0.5, 0.6, 0.7])
    assert describe_collapse(cell, "f1", values).startswith(collapsed)
    assert bool(describe_collapse(cell, "accuracy", values)) == bool(collapsed)
    assert describe_collapse(cell, "auroc", values) == ""  # it uses no decisions


def test_runs_that_did_not_train_collapsed_in_every_metric() -> None:
    cell = replace(calling_positive(90, 100, 110), untrained=frozenset({(0, 1)}))
    for metric in ("f1", "auroc"):
        assert describe_collapse(cell, metric, np.array([0.8, 0.5, 0.75])) == (
            "seed 1 collapsed, the others did not; their mean is of two kinds: "
            "seed 0 0.800, seed 1 0.500, seed 2 0.750"
        )
    of_all = replace(cell, untrained=frozenset(cell.runs))
    assert describe_collapse(of_all, "auroc", np.zeros(3)) == ""


# --- coverage -------------------------------------------------------------------------------


def f1_coverage(
    num_seeds: int, shift_std: float, share_collapsed: float, num_experiments: int
) -> tuple[float, float, float, float]:
    """Simulate cells whose seeds shift all logits, by a normal deviation or out of range.

    Returns:
        Standard deviation of the true F1 over seeds that do not collapse; share of all intervals
        that hold the mean over all seeds; share of cells with an interval; share of these that hold
        the mean over seeds that do not collapse.
    """
    rng, num_items, separation = np.random.default_rng(1), 512, 1.5
    shifts = shift_std * rng.standard_normal(100_000)
    hits = stats.norm.sf(-separation / 2 - shifts)
    f1 = 2 * hits / (1 + hits + stats.norm.sf(separation / 2 - shifts))
    y_true = np.repeat([0, 1], num_items // 2)
    held_all, given, held = 0, 0, 0
    for _ in range(num_experiments):
        shift = shift_std * rng.standard_normal((num_seeds, 1))
        shift -= 10.0 * (rng.random((num_seeds, 1)) < share_collapsed)
        noise = ITEM_STD * rng.standard_normal(num_items)
        noise = noise + RUN_STD * rng.standard_normal((num_seeds, num_items))
        cell = make_cell(y_true, special.expit(separation * (y_true - 0.5) + noise + shift))
        runs = MetricRuns("f1").of(cell)
        interval = t_interval([runs])
        held_all += interval.holds((1 - share_collapsed) * f1.mean())
        if not describe_collapse(cell, "f1", runs.values):
            given += 1
            held += interval.holds(f1.mean())
    return f1.std(), held_all / num_experiments, given / num_experiments, held / given


def test_cells_without_collapsed_runs_are_covered() -> None:
    _, held_all, given, held = f1_coverage(3, 0.1, 0.2, 150)
    assert held_all < 0.6 < 0.9 < held
    assert 0.35 < given < 0.65  # about 0.8 ** 3


@pytest.mark.chaos
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("num_seeds", [3, 5])
@pytest.mark.parametrize(
    ("shift_std", "share_collapsed"), [(0.1, 0.2), (0.3, 0.2), (0.3, 0.0), (0.5, 0.0), (1.0, 0.0)]
)
def test_collapse_at_length(num_seeds: int, shift_std: float, share_collapsed: float) -> None:
    std, held_all, given, held = f1_coverage(num_seeds, shift_std, share_collapsed, 500)
    print(num_seeds, share_collapsed, round(std, 3), held_all, given, round(held, 3))
    if shift_std <= 0.3:
        assert held >= 0.92


# --- in tables ------------------------------------------------------------------------------


def test_tables_show_the_scores_instead_of_an_interval(tmp_path: Path) -> None:
    results = make_results(tmp_path / "r", make_plan(("elyza", "mbert"), ("ja0",)))
    y_true, rng = np.repeat([0, 1], 20), np.random.default_rng(0)
    stuck = TRAINED | {"final_loss": 0.693, "train_auroc": 0.5}
    for seed in range(3):
        scores = special.expit(2 * y_true - 1 + rng.standard_normal(40))
        table = predictions([str(k) for k in range(40)], y_true.tolist(), scores)
        values = {"f1": 0.2 + 0.3 * seed, "auroc": 0.8}
        save_done(results, "elyza", "ja0", seed, values, predictions=table)
        convergence = stuck if seed == 1 else TRAINED
        save_done(results, "mbert", "ja0", seed, values, predictions=table, convergence=convergence)
    collected = collect(results)
    assert load_scores(collected).cells["mbert", "ja0"].untrained == {(0, 1)}
    text = render_tables(collected, intervals=CellIntervals(load_scores(collected)))
    assert text.count("No interval for mbert x ja0: seed 1 collapsed, the others did not") == 2
    assert "No interval for elyza" not in text
    told = write_tables([make_comparison_table(compare_cells(collected, "f1", by="model"))])
    assert told.count("† mbert/ja0: seed 1 collapsed, the others did not") == 1
    part = {"metric": "f1", "first": "elyza/ja0", "second": "mbert/ja0", "direction": "greater"}
    claim = {"id": "x", "says": "so", "parts": [part]}
    claims, cells = parse_claims({"title": "T", "claims": [claim]}), ResultCells(collected)
    told = write_tables(make_claims_tables(claims, cells))
    assert told.count("† f1 of mbert/ja0: seed 1 collapsed, the others did not") == 1
    assert "† f1 of elyza/ja0" not in told
    with pytest.raises(InputError, match=r"^seed 1 collapsed, the others did not"):
        cells.difference_to_published("f1", "mbert/ja0")
    assert cells.difference_to_published("f1", "elyza/ja0").interval()
    assert text.count("elyza x ja0: runs differ by a standard deviation above 0.1") == 1
