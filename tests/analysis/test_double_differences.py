"""Claims about a difference of two differences of cells: text, errors, tests, level and power."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from result_folders import make_plan, make_results
from scipy import stats
from simulated_scores import save_simulated, simulate_draws

from xlt.analysis.claims import PublishedCells, ResultCells, evaluate, parse_claims
from xlt.analysis.claims.report import make_claims_tables
from xlt.analysis.claims.schema import ClaimPart, signed_cells
from xlt.analysis.comparisons.compare import signed_groups
from xlt.analysis.trials.collect import collect
from xlt.analysis.uncertainty.differences import runs_difference
from xlt.analysis.uncertainty.intervals import ONE_DRAW
from xlt.analysis.uncertainty.runs import MetricRuns
from xlt.analysis.uncertainty.welch import Sample, welch, welch_sum
from xlt.data.core.errors import InputError

LARGE, SMALL = "elyza/ja16 - opencalm/ja16", "mbert/ja16 - bert-ja/ja16"


def part(first: str = LARGE, second: str = SMALL) -> ClaimPart:
    values = {"metric": "f1", "direction": "equal", "margin": 0.05}
    return ClaimPart.parse(values | {"first": first, "second": second})


def test_the_signs_are_those_of_the_brackets() -> None:
    assert signed_cells("a/x - b/x", "c/x - d/x") == [
        (1, "a/x"), (-1, "b/x"), (-1, "c/x"), (1, "d/x")
    ]  # fmt: skip
    assert signed_cells("a/x", "b/x") == [(1, "a/x"), (-1, "b/x")]
    assert part().text == f"f1 ({LARGE}) - ({SMALL}) within 0.05"
    assert part("a/x", "b/x").text == "f1 a/x - b/x within 0.05"


@pytest.mark.parametrize(
    ("first", "second", "problem"),
    [
        ("a/x - b/x - c/x", "d/x", "has 3 cells; one, or a difference of two"),
        ("a/x - b/x", "c/x - b/x", "b/x is compared with itself"),
        ("a/x - b", "c/x", "'b' is no cell"),
    ],
)
def test_what_is_refused(first: str, second: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        part(first, second)


def test_four_samples_of_one_spread_have_the_textbook_test() -> None:
    samples = [Sample(mean, 0.02, 3) for mean in (0.9, 0.8, 0.85, 0.7)]
    found = welch_sum(list(zip((1, -1, -1, 1), samples, strict=True)))
    assert found.estimate == pytest.approx(-0.05)
    assert found.df == pytest.approx(8)
    assert found.se == pytest.approx(0.02 * np.sqrt(4 / 3))
    expected = 2 * stats.t.sf(0.05 / found.se, 8)
    assert found.p_equal() == pytest.approx(expected)
    assert welch(*samples[:2]) == welch_sum([(1, samples[0]), (-1, samples[1])])


def test_the_published_tables_have_differences_of_differences() -> None:
    found = PublishedCells().difference("f1", LARGE, SMALL)
    assert found.estimate == pytest.approx((0.777 - 0.674) - (0.675 - 0.595))


# --- level and power ------------------------------------------------------------------------


def called_different(num_draws: int, gain: float, num_experiments: int) -> float:
    """Share of simulated fours of cells whose advantages differ with p < 0.05."""
    rng = np.random.default_rng(3)
    runs = tuple(itertools.product(range(num_draws), range(3)))
    different = 0
    for _ in range(num_experiments):
        rows = rng.standard_normal(128)
        separations = 1.5 + gain, 1.5, 1.5, 1.5
        stds = (0.05, 0.05, 0.05) if num_draws > 1 else (0.0, 0.15, 0.0)
        cells = [
            simulate_draws(rng, runs, 128, separation, stds, rows, name)
            for name, separation in zip("abcd", separations, strict=True)
        ]
        terms = list(zip((1, -1, -1, 1), cells, strict=True))
        groups, _ = signed_groups(terms, MetricRuns("auroc"))
        assert len(groups) == (1 if num_draws > 1 else 4)
        different += runs_difference(groups).p_equal() < 0.05
    return different / num_experiments


@pytest.mark.parametrize("num_draws", [1, 3])
def test_level_and_power(num_draws: int) -> None:
    # 150 experiments: a level of 0.05 is seen as 0.1 or less in 99 % of cases.
    assert called_different(num_draws, 0.0, 150) <= 0.10
    assert called_different(num_draws, 1.5, 60) >= 0.8


def test_results_and_tables_have_them(tmp_path: Path) -> None:
    models = ("elyza", "opencalm", "mbert", "bert-ja")
    results = make_results(tmp_path / "r", make_plan(models, ("ja16",)))
    rng = np.random.default_rng(0)
    runs, rows = ((0, 0), (0, 1), (0, 2)), rng.standard_normal(80)
    for model, separation in zip(models, (2.0, 1.0, 1.8, 1.0), strict=True):
        cell = simulate_draws(rng, runs, 80, separation, (0.0, 0.1, 0.0), rows)
        save_simulated(results, model, "ja16", cell, cell.ids)
    cells = ResultCells(collect(results))
    means = {model: cells.sample("f1", f"{model}/ja16").mean for model in models}
    found = cells.difference("f1", LARGE, SMALL)
    elyza, opencalm, mbert, bert = (means[model] for model in models)
    assert found.estimate == pytest.approx((elyza - opencalm) - (mbert - bert))
    assert found.made_with == "runs x test rows"
    claims = parse_claims(
        {"title": "T", "claims": [{"id": "4c", "says": "so", "parts": [part().model_dump()]}]}
    )
    assert evaluate(claims, cells)[0].verdict == "undecided"
    (table,) = make_claims_tables(claims, cells)
    assert any(part().text in line[0] for line in table.lines)
    assert table.caption[-1].endswith(f"All {ONE_DRAW}.")
