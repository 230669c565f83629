"""Boundary against ranking: simulated cells whose fault is known, and what is refused."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from boundary_results import (
    predictions,
    train_rows,
)
from result_folders import make_plan, make_results, save_done, save_failed
from scipy import stats
from scipy.special import expit
from simulated_scores import make_cell

from xlt.analysis.boundary.measure import CellBoundary, boundary
from xlt.analysis.boundary.table import make_boundary_tables, share_text, verdict_text
from xlt.analysis.boundary.train_threshold import TRAIN_ROWS
from xlt.analysis.boundary.verdict import BEST_POSSIBLE, JUDGED_BY, CellPair, Gap, judge
from xlt.analysis.metrics.measures import MEASURES, RESAMPLED_MEASURES
from xlt.analysis.metrics.thresholds import f1_at
from xlt.analysis.tables.formats import write_tables
from xlt.analysis.trials.collect import Collected, collect
from xlt.analysis.trials.scores import CellScores
from xlt.analysis.uncertainty.intervals import Interval
from xlt.analysis.uncertainty.runs import MetricRuns, Runs
from xlt.data.core.errors import InputError
from xlt.trainables.metrics.registry import score

PATTERNS = ("ja0", "ja16", "ja104")


def simulated(folder: Path, **cells: dict[str, float]) -> Collected:
    """Pattern -> arguments of :func:`predictions`; three seeds, real metrics in trial.json."""
    results = make_results(folder, make_plan(patterns=list(cells)))
    for pattern, fault in cells.items():
        for seed in range(3):
            rows = predictions(seed, **fault)
            found = rows["y_true"].to_numpy(), rows["y_score"].to_numpy()
            metrics = score(*found)
            num_target = int(pattern.removeprefix("ja"))
            save_done(
                results, "elyza", pattern, seed, metrics,
                predictions=rows, train_rows=train_rows(num_target),
            )  # fmt: skip
    return collect(results)


def kinds(judged: list[CellBoundary]) -> list[str]:
    return [cell.gap.kind if cell.gap else "" for cell in judged]


def test_the_fault_of_a_cell_is_found(tmp_path: Path) -> None:
    collected = simulated(
        tmp_path / "a", ja0={"shift": 3.0}, ja16={"gain": 0.6}, ja104={"shift": 0.1}
    )
    judged = boundary(collected)
    assert kinds(judged) == ["mostly boundary", "mostly ranking", "mostly ranking"]
    shifted, blind, best = (cell.gap for cell in judged)
    assert shifted and blind and best
    assert (shifted.reference, blind.reference, best.reference) == ("ja104", "ja104", BEST_POSSIBLE)
    assert shifted.share_median and shifted.share_median > 0.9
    assert blind.share_oracle is not None and blind.share_oracle < 0.5
    assert best.interval and best.interval.holds(best.gap)
    # The numbers add up: what the oracle gains and leaves is the gap.
    assert blind.oracle + blind.ranking == pytest.approx(blind.gap)
    assert verdict_text(shifted).startswith("mostly boundary: 0.")
    assert " below ja104 [+0." in verdict_text(shifted)


def test_a_ranking_at_chance_is_not_taken_for_a_boundary(tmp_path: Path) -> None:
    # Hardly anything is called positive and the ranking is worth nothing: the oracle calls all so.
    collected = simulated(tmp_path / "a", ja0={"gain": 0.0, "shift": 3.0}, ja16={"gain": 0.6})
    judged = boundary(collected)
    assert kinds(judged)[0] == "any cut, not ranking"
    assert judged[0].measures["auroc"].mean == pytest.approx(0.5, abs=0.05)


def test_measures_are_those_of_the_trials(tmp_path: Path) -> None:
    collected = simulated(tmp_path / "a", ja0={"shift": 1.0})
    (cell,) = boundary(collected)
    recorded = collected.table.to_pylist()
    for name in ("f1", "auroc", "average_precision"):
        found = [row[name] for row in recorded]
        assert cell.measures[name].mean == pytest.approx(np.mean(found), abs=1e-12)
        assert cell.measures[name].std == pytest.approx(np.std(found, ddof=1), abs=1e-12)
    parts = {name: cell.measures[name].mean or 0.0 for name in MEASURES if "brier" in name}
    assert parts["brier"] == pytest.approx(
        parts["brier_reliability"]
        - parts["brier_resolution"]
        + parts["brier_uncertainty"]
        + parts["brier_within_bins"]
    )


def test_the_reference_can_be_chosen_and_must_exist(tmp_path: Path) -> None:
    collected = simulated(tmp_path / "a", ja0={"shift": 3.0}, ja16={}, ja104={})
    chosen = boundary(collected, reference="ja16")
    assert [cell.gap.reference for cell in chosen if cell.gap] == ["ja16", BEST_POSSIBLE, "ja16"]
    assert kinds(chosen)[2] == "no clear gap"
    assert share_text(chosen[2].gap) == "-"
    with pytest.raises(InputError, match=r"reference: unknown pattern 'ja32'.*Known: ja0, ja104"):
        boundary(collected, reference="ja32")


def test_unbalanced_rows_need_a_prior_and_the_table_says_so(tmp_path: Path) -> None:
    collected = simulated(tmp_path / "a", ja0={"positive": 0.25, "shift": 2.0})
    (cell,) = boundary(collected, prior=0.25)
    found = {name: value.mean or 0.0 for name, value in cell.measures.items()}
    assert found["f1_prior"] > found["f1_median"] + 0.1
    assert found["f1_prior"] == pytest.approx(found["f1_oracle"], abs=0.03)
    assert cell.prior == 0.25
    text = write_tables(make_boundary_tables(collected, [cell], 0.25))
    assert "F1 0.400 at 25.0% positive" in text
    assert "ignore F1@median and set --prior" in text


def test_a_table_shows_every_cell_and_few_labelled_rows_on_request(tmp_path: Path) -> None:
    collected = simulated(tmp_path / "a", ja0={"shift": 3.0}, ja104={})
    judged = boundary(collected, num_labelled=[16])
    main, shifts, few = make_boundary_tables(collected, judged)
    assert main.heading == (
        "base model", "pattern", "F1@0.5", "F1@median", "F1@oracle", "AUROC", "AP", "ECE", "Brier",
        "boundary share, median / oracle", "verdict",
    )  # fmt: skip
    assert few.heading[2:] == ("F1@0.5", "temperature, 16", "platt, 16", "threshold, 16")
    assert len(main.lines) == len(shifts.lines) == len(few.lines) == 2
    records = list(csv.DictReader(io.StringIO(write_tables([main, shifts, few], "csv"))))
    assert [r["kind"] for r in records] == ["mostly boundary", "mostly ranking"]
    assert float(records[0]["f1_platt_16_mean"]) > float(records[0]["f1_temperature_16_mean"]) + 0.1
    assert len(make_boundary_tables(collected, boundary(collected))) == 2
    assert "| elyza | ja0 | " in write_tables([main], "md")


def test_missing_and_failed_seeds_stay_visible(tmp_path: Path) -> None:
    results = make_results(
        tmp_path / "a", make_plan(patterns=PATTERNS, skipped={("elyza", "ja104"): "no"})
    )
    save_done(
        results, "elyza", "ja0", 0, {"f1": 0.5},
        predictions=predictions(0), train_rows=train_rows(0),
    )  # fmt: skip
    save_failed(results, "elyza", "ja16", 0, "out of memory")
    collected = collect(results)
    judged = boundary(collected)
    assert [cell.measures["f1"].state for cell in judged] == ["partial", "failed", "impossible"]
    assert judged[0].gap and judged[0].gap.reference == BEST_POSSIBLE
    text = write_tables(make_boundary_tables(collected, judged))
    assert "[1/3]†" in text
    assert "† elyza x ja16: seed 0 failed: out of memory" in text
    assert "- elyza x ja104: no" in text


def test_without_done_trials_all_cells_are_pending(tmp_path: Path) -> None:
    collected = collect(make_results(tmp_path / "a", make_plan()))
    judged = boundary(collected)
    assert judged[0].gap is None
    assert "pending [0/3]†" in write_tables(make_boundary_tables(collected, judged))


# --- judge ----------------------------------------------------------------------------------


def measured(f1: float, median: float, oracle: float, std: float = 0.001) -> dict[str, Runs]:
    """Three seeds whose measures move together and which no test row moves."""
    moved, rows = std * np.array([-1.0, 0.0, 1.0]), np.zeros((3, 1000))
    seeds = ((0, 0), (0, 1), (0, 2))
    return {
        name: Runs(mean + moved, rows, seeds)
        for name, mean in zip(JUDGED_BY, (f1, median, oracle), strict=True)
    }


def judged(cell: dict[str, Runs]) -> Gap:
    return judge(CellPair(cell, measured(0.80, 0.80, 0.82), "ja104"), prior=0.5)


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        (measured(0.60, 0.75, 0.78), "mostly boundary"),
        (measured(0.60, 0.62, 0.65), "mostly ranking"),
        (measured(0.68, 0.66, 0.80), "boundary, if labels are at hand"),
        (measured(0.74, 0.73, 0.775), "mostly ranking"),  # the oracle gains 0.02 at 0.80, too
        (measured(0.50, 0.52, 0.70), "any cut, not ranking"),
        (measured(0.05, 0.50, 0.67), "any cut, not ranking"),
        (measured(0.85, 0.85, 0.86), "no clear gap"),
    ],
)
def test_a_verdict_follows_from_the_gains(cell: dict[str, Runs], kind: str) -> None:
    found = judged(cell)
    assert (found.kind, found.open) == (kind, (kind,))


def test_shares_and_verdicts_depend_on_the_intervals() -> None:
    sure = judged(measured(0.60, 0.75, 0.78))
    assert sure.share_median == pytest.approx(0.75)
    assert sure.median_interval and sure.median_interval.holds(0.75)
    assert sure.median_interval.low > 0.5
    # The same means from seeds that differ: the median may close less than half.
    loose = judged(measured(0.60, 0.75, 0.78, std=0.05))
    assert loose.kind == "undecided" and "mostly boundary" in loose.open
    assert loose.median_interval and loose.median_interval.low < 0.5
    assert "undecided (mostly boundary; " in verdict_text(loose)
    assert share_text(loose).startswith("75% [")
    none = judged(measured(0.60, 0.75, 0.78, std=0.2))
    assert (none.kind, share_text(none)) == ("no clear gap", "-")


def test_a_share_without_lower_limit_is_shown_as_such() -> None:
    """F1 cannot lie above 1 or below 0, and a share of a gap near 0 may have no lower limit."""
    found = judge(CellPair(measured(0.40, 0.60, 0.70, std=0.3), None, BEST_POSSIBLE), 0.5)
    assert found.interval == Interval(0.0, 1.0)
    open_below = replace(found, median_interval=Interval(-np.inf, 0.6))
    assert share_text(open_below).startswith("33% [no limit, 60%] / ")


def test_a_gap_of_one_seed_is_not_clear() -> None:
    alone = {name: runs.chosen([0]) for name, runs in measured(0.3, 0.6, 0.7).items()}
    gap = judged(alone)
    assert (gap.kind, gap.interval) == ("no clear gap", None)


def test_intervals_of_shares_are_those_of_fieller() -> None:
    """With F1 = 1 as reference and seeds alone, by hand: roots of a quadratic in the share."""
    rng = np.random.default_rng(0)
    f1, median = 0.6 + 0.02 * rng.random(3), 0.8 + 0.02 * rng.random(3)
    seeds, rows = ((0, 0), (0, 1), (0, 2)), np.zeros((3, 10**4))
    values = dict(zip(JUDGED_BY, (f1, median, median), strict=True))
    cell = {name: Runs(v, rows, seeds) for name, v in values.items()}
    found = judge(CellPair(cell, None, BEST_POSSIBLE), 0.5).median_interval
    gain, gap = median - f1, 1 - f1
    variance = np.cov(gain, gap) / 3 * stats.t.ppf(0.975, 2) ** 2
    roots = np.roots(
        [
            gap.mean() ** 2 - variance[1, 1],
            -2 * (gain.mean() * gap.mean() - variance[0, 1]),
            gain.mean() ** 2 - variance[0, 0],
        ]
    )
    assert found and sorted(roots) == pytest.approx([found.low, found.high], abs=1e-5)


def share_coverage(
    num_seeds: int, seed_std: float, num_experiments: int, num_items: int = 200
) -> float:
    """Share of simulated pairs of cells whose interval holds the true median share.

    The cell ranks worse, and its scores lie 1 lower, by a normal deviation more in each seed.
    """
    rng = np.random.default_rng(5)
    y_true = np.repeat([0, 1], num_items // 2)

    def cell(num: int, rows: Any, shift: float, size: int = num_items) -> CellScores:
        labels = np.repeat([0, 1], size // 2)
        moved = shift * (1 + seed_std * rng.standard_normal((num, 1)))
        own = (0.6 + shift) * rng.standard_normal((num, size))
        return make_cell(labels, expit(2.0 * (labels - 0.5) * 2 + 0.8 * rows + own - moved))

    def measures(one: CellScores) -> dict[str, Runs]:
        return {name: MetricRuns(name, RESAMPLED_MEASURES).of(one) for name in JUDGED_BY}

    large = 40_000
    many = [cell(20, rng.standard_normal(large), shift, large) for shift in (1.0, 0.0)]
    ones = np.ones((large, 1))
    f1, median = (
        np.mean(RESAMPLED_MEASURES[n].weighted(many[0].y_true, many[0].scores, ones))
        for n in ("f1", "f1_median")
    )
    truth = (median - f1) / (
        np.mean(RESAMPLED_MEASURES["f1"].weighted(many[1].y_true, many[1].scores, ones)) - f1
    )
    assert 0.2 < truth < 0.8  # at 1 every interval that is cut off there would hold it
    held = 0
    for _ in range(num_experiments):
        rows = rng.standard_normal(len(y_true))
        first, second = (measures(cell(num_seeds, rows, shift)) for shift in (1.0, 0.0))
        pair = CellPair(first, second, "ja104")
        held += pair.share_interval("f1_median").holds(float(truth))
    return held / num_experiments


def test_intervals_of_shares_hold_the_truth() -> None:
    # 40 pairs: a coverage of 0.95 is seen as 0.85 or more in 99 % of cases.
    assert share_coverage(3, 0.2, 40, 100) >= 0.85


@pytest.mark.chaos
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("num_seeds", "seed_std"), [(3, 0.05), (3, 0.3), (10, 0.3)])
def test_coverage_of_shares_at_length(num_seeds: int, seed_std: float) -> None:
    found = share_coverage(num_seeds, seed_std, 200)
    print(num_seeds, seed_std, found)
    assert found >= 0.91


def test_the_threshold_of_target_training_rows(tmp_path: Path) -> None:
    """Scores of training rows that call for a cut at 0.2 move F1 to what it is at 0.2."""
    results = make_results(tmp_path / "a", make_plan(patterns=["ja0", "ja16"], seeds=[0, 1]))
    trained = train_rows(16)
    score = [0.5] * 32 + [0.1, 0.3] * 8
    label = [0, 1] * 24
    table = trained.append_column("label", pa.array(label, pa.int8()))
    table = table.append_column("y_score", pa.array(score))
    for pattern, rows in (("ja0", train_rows(0)), ("ja16", table)):
        for seed in (0, 1):
            save_done(
                results, "elyza", pattern, seed, {"f1": 0.5},
                predictions=predictions(seed, shift=2.0), train_rows=rows,
            )  # fmt: skip
    collected = collect(results)
    none, some = boundary(collected)
    assert none.measures[TRAIN_ROWS].n == 0
    expected = [
        f1_at(rows["y_true"].to_numpy(), rows["y_score"].to_numpy(), 0.2)
        for rows in (predictions(seed, shift=2.0) for seed in (0, 1))
    ]
    assert some.measures[TRAIN_ROWS].mean == pytest.approx(np.mean(expected))
    table, _ = make_boundary_tables(collected, [none, some])
    assert table.heading[4] == "F1@train rows"
    assert [line[4] for line in table.lines] == [
        "-",
        f"{np.mean(expected):.3f} ({np.std(expected, ddof=1):.3f})",
    ]


# --- refusals -------------------------------------------------------------------------------


def test_more_than_two_classes_are_refused(tmp_path: Path) -> None:
    results = make_results(tmp_path / "a", make_plan(classes=("a", "b", "c")))
    with pytest.raises(InputError, match="experiment test: has 3 classes; thresholds"):
        boundary(collect(results))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"y_score": None}, r"no trial can be judged\n.*predictions without y_score"),
        ({"y_true": [0] * 512}, "without test rows of both classes"),
        ({"y_score": [1.5] * 512}, "512 of 512 scores that are no probabilities"),
        ({"y_score": [float("nan")] * 512}, "512 of 512 scores that are no probabilities"),
        ({"y_score": [[0.5, 0.5]] * 512}, "of more than two classes"),
        ({"split": ["train"] * 512}, "predictions without test rows"),
    ],
)
def test_files_that_no_trial_writes_are_refused(
    tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    rows = predictions(0)
    for name, column in change.items():
        at = rows.schema.get_field_index(name)
        rows = rows.remove_column(at)
        if column is not None:
            rows = rows.append_column(name, pa.array(column))
    results = make_results(tmp_path / "a", make_plan(seeds=[0]))
    save_done(results, "elyza", "ja16", 0, {"f1": 0.5}, predictions=rows, train_rows=train_rows(16))
    with pytest.raises(InputError, match=told):
        boundary(collect(results))
