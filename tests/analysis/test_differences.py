"""Claims over runs and test rows: the same as xlt compare, level and power by simulation."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from result_folders import make_plan, make_results, save_done
from scipy import stats
from simulated_scores import save_simulated, simulate, simulate_draws

from xlt.analysis.claims import ResultCells, evaluate, parse_claims
from xlt.analysis.claims.report import make_claims_tables
from xlt.analysis.comparisons.compare import difference_groups
from xlt.analysis.comparisons.family import compare_cells
from xlt.analysis.tables.formats import write_tables
from xlt.analysis.trials.collect import collect
from xlt.analysis.trials.scores import CellScores
from xlt.analysis.uncertainty.differences import RunsDifference, runs_difference
from xlt.analysis.uncertainty.mean_variance import Components
from xlt.analysis.uncertainty.runs import MetricRuns
from xlt.data.core.errors import InputError

parts = st.builds(
    Components,
    unit=st.floats(0, 1e-2), item=st.floats(1e-6, 1e-2), both=st.floats(0, 1e-3),
    unit_freedom=st.floats(1, 20), item_freedom=st.just(510.0), num_units=st.just(3),
    num_items=st.just(512), seed=st.floats(0, 1e-2), seed_freedom=st.just(2.0),
)  # fmt: skip


# --- p values -------------------------------------------------------------------------------


@given(parts, st.floats(-0.3, 0.3), st.sampled_from([0.01, 0.05, 0.2]))
def test_p_is_below_alpha_where_the_interval_excludes(
    made_of: Components, estimate: float, alpha: float
) -> None:
    found = RunsDifference(estimate, made_of)
    low, high = found.interval(alpha)
    assert found.p_equal(low) == pytest.approx(alpha, rel=1e-4)
    assert found.p_equal(high) == pytest.approx(alpha, rel=1e-4)
    assert (found.p_equal() < alpha) == (not low <= 0 <= high) or min(abs(low), abs(high)) < 1e-9
    assert found.p_not_above(0.1) + found.p_not_below(0.1) == pytest.approx(1)


def test_with_units_or_rows_alone_p_is_students() -> None:
    units = RunsDifference(0.05, Components(1e-4, 0.0, 0.0, 3.4, 1e9, 3, 512))
    assert units.p_equal() == pytest.approx(2 * stats.t.sf(5, 3.4), rel=1e-6)
    rows = RunsDifference(-0.02, Components(0.0, 1e-4, 0.0, 2, 98, 3, 100))
    assert rows.p_equal(0.01) == pytest.approx(2 * stats.t.sf(3, 98), rel=1e-6)
    assert RunsDifference(9.0, Components(0.0, 1e-6, 0.0, 2, 510, 3, 512)).p_equal() == 0


def test_a_difference_without_known_error_is_refused() -> None:
    cell = simulate(np.random.default_rng(0), 1, 40, 1.5, 0.1)
    with pytest.raises(InputError, match="one seed gives no error"):
        runs_difference([MetricRuns("auroc").of(cell)])
    still = MetricRuns("auroc").of(
        simulate(np.random.default_rng(0), 2, 40, 90.0, 0.0)  # every row where it belongs
    )
    with pytest.raises(InputError, match="no spread between the runs of either cell"):
        runs_difference([still])


# --- level and power ------------------------------------------------------------------------


def rejected(
    num_draws: int, num_items: int, gain: float, stds: tuple[float, float, float],
    num_experiments: int,
) -> float:  # fmt: skip
    """Share of simulated pairs of cells, three seeds a draw, that differ with p < 0.05."""
    rng = np.random.default_rng(2)
    runs = tuple(itertools.product(range(num_draws), range(3)))
    found = []
    for _ in range(num_experiments):
        rows = rng.standard_normal(num_items)
        cells = [
            simulate_draws(rng, runs, num_items, separation, stds, rows, name)
            for name, separation in (("a", 1.2), ("b", 1.2 + gain))
        ]
        groups, _ = difference_groups(*cells, MetricRuns("auroc"))
        found.append(runs_difference(groups).p_equal() < 0.05)
    return float(np.mean(found))


@pytest.mark.parametrize("num_draws", [1, 3])
def test_level_and_power_of_few_runs(num_draws: int) -> None:
    # 150 pairs: a level of 0.05 is seen as 0.1 or less in 99 % of cases.
    stds = (0.15, 0.15, 0.1) if num_draws > 1 else (0.0, 0.2, 0.0)
    assert rejected(num_draws, 80, 0.0, stds, 150) <= 0.10
    assert rejected(num_draws, 80, 1.2, (0.05, 0.05, 0.05), 60) >= 0.8


@pytest.mark.chaos
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("num_draws", [1, 3])
@pytest.mark.parametrize("std", [0.02, 0.15, 0.5])
def test_level_and_power_at_length(num_draws: int, std: float) -> None:
    stds = (std / 2, std / 2, std / 2) if num_draws > 1 else (0.0, std, 0.0)
    level = rejected(num_draws, 512, 0.0, stds, 400)
    powers = [rejected(num_draws, 512, gain, stds, 200) for gain in (0.1, 0.2, 0.4)]
    print(num_draws, std, level, powers)
    assert level <= 0.05 + 3 * (0.05 * 0.95 / 400) ** 0.5


# --- claims and comparisons agree -----------------------------------------------------------


def part(first: str, second: str, direction: str = "greater", margin: float = 0.0) -> Any:
    return {
        "metric": "auroc", "first": first, "second": second, "direction": direction,
        "margin": margin,
    }  # fmt: skip


def claims_of(*comparisons: Any) -> Any:
    listed = [{"id": str(k), "says": "so", "parts": [p]} for k, p in enumerate(comparisons)]
    return parse_claims({"title": "T", "claims": listed})


def saved(folder: Path, draws: tuple[int, ...] = (0,), without_rows: bool = False) -> Any:
    plan = make_plan(("elyza", "mbert"), ("ja0", "ja16"), seeds=(0, 1, 2), draws=draws)
    results = make_results(folder, plan)
    rng = np.random.default_rng(4)
    rows = rng.standard_normal(80)
    runs = tuple(itertools.product(draws, (0, 1, 2)))
    for model, separation in (("elyza", 3.6), ("mbert", 1.0)):
        for pattern in ("ja0", "ja16"):
            stds = (0.02, 0.02, 0.02)
            cell: CellScores = simulate_draws(rng, runs, 80, separation, stds, rows)
            if without_rows and (model, pattern) == ("mbert", "ja0"):
                for seed in (0, 1, 2):
                    bad = pa.table({"id": ["a"]})
                    values = {"f1": 0.5, "auroc": 0.5 + 0.01 * seed}
                    save_done(results, model, pattern, seed, values, predictions=bad)
            else:
                save_simulated(results, model, pattern, cell, cell.ids)
    return collect(results)


@pytest.mark.parametrize("draws", [(0,), (0, 1, 2)])
def test_claims_and_comparisons_have_the_same_differences(
    tmp_path: Path, draws: tuple[int, ...]
) -> None:
    collected = saved(tmp_path / "r", draws)
    pairs = [("elyza/ja0", "mbert/ja0"), ("mbert/ja16", "elyza/ja16"), ("elyza/ja0", "elyza/ja16")]
    results = evaluate(claims_of(*(part(*pair) for pair in pairs)), ResultCells(collected))
    family = compare_cells(
        collected, "auroc", pairs=[f"{b}:{a}" for a, b in pairs], num_resamples=200
    )
    for claim, comparison in zip(results, family.comparisons, strict=True):
        found = claim.parts[0]
        assert found.difference and found.interval
        assert found.difference.made_with == "runs x test rows"
        assert found.difference.estimate == pytest.approx(comparison.difference)
        interval = comparison.interval
        assert found.interval == pytest.approx((interval.low, interval.high))
        # Never the opposite: what one calls higher, the other does not call lower.
        assert (claim.verdict, comparison.verdict) not in {
            ("supported", "first higher"), ("contradicted", "second higher"),
        }  # fmt: skip
    assert [claim.verdict for claim in results] == ["supported", "contradicted", "undecided"]


def test_the_table_says_which_test_was_used(tmp_path: Path) -> None:
    collected = saved(tmp_path / "r", without_rows=True)
    claims = claims_of(part("elyza/ja16", "mbert/ja16"), part("elyza/ja0", "mbert/ja0"))
    cells = ResultCells(collected)
    (table,) = make_claims_tables(claims, cells)
    text = write_tables([table])
    assert "ours: over seeds (and draws of training rows" in text
    assert "; Welch's t over seeds, with fixed test rows." in text
    assert "ours: Welch's t over seeds where test rows cannot be used: mbert/ja0: seed 0: " in text
    methods = [record["method"] for record in table.records]
    assert methods == ["", "runs x test rows", "", "Welch"]


def test_draws_count_as_units_where_test_rows_are_not_there(tmp_path: Path) -> None:
    collected = saved(tmp_path / "r", (0, 1))
    found = ResultCells(collected).sample("auroc", "elyza/ja0")
    rows = [r for r in collected.table.to_pylist() if r["trial_id"].startswith("elyza-ja0")]
    x = np.array([row["auroc"] for row in rows]).reshape(2, 3)
    rest = x - x.mean(0) - x.mean(1, keepdims=True) + x.mean()
    variance = x.mean(1).var(ddof=1) / 2 + x.mean(0).var(ddof=1) / 3 - (rest**2).sum() / 2 / 6
    assert (found.mean, found.n) == (pytest.approx(x.mean()), 2)
    assert found.std == pytest.approx(np.sqrt(max(variance, 0) * 2))
