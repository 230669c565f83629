"""Boundary against ranking: simulated cells whose fault is known, and what is refused."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from result_folders import make_plan, make_results, save_done, save_failed
from scipy.special import expit

from analysis.boundary import BEST_POSSIBLE, MEASURES, CellBoundary, boundary, judge
from analysis.boundary_table import boundary_grids, share_text, verdict_text
from analysis.cells import TableCell
from analysis.collect import Collected, collect
from analysis.grids import write_grids
from data.errors import InputError
from trainables.metrics import METRICS

PATTERNS = ("ja0", "ja16", "ja104")


def predictions(
    seed: int, *, gain: float = 2.0, shift: float = 0.0, positive: float = 0.5, num_rows: int = 512
) -> pa.Table:
    """Rows whose classes lie 2 x gain logits apart, with the boundary ``shift`` logits off."""
    rng = np.random.default_rng(seed)
    y_true = (np.arange(num_rows) < positive * num_rows).astype(np.int8)
    logits = rng.normal(gain * (2.0 * y_true - 1), 1.5) - shift - 0.1 * seed
    return pa.table(
        {
            "id": [str(k) for k in range(num_rows)],
            "lang": ["ja"] * num_rows,
            "split": ["test"] * num_rows,
            "y_true": y_true,
            "y_score": expit(logits),
        }
    )


def train_rows(num_target: int) -> pa.Table:
    langs = ["en"] * 32 + ["ja"] * num_target
    return pa.table({"id": [str(k) for k in range(len(langs))], "lang": langs})


def simulated(folder: Path, **cells: dict[str, float]) -> Collected:
    """Pattern -> arguments of :func:`predictions`; three seeds, real metrics in trial.json."""
    results = make_results(folder, make_plan(patterns=list(cells)))
    for pattern, fault in cells.items():
        for seed in range(3):
            rows = predictions(seed, **fault)
            found = rows["y_true"].to_numpy(), rows["y_score"].to_numpy()
            metrics = {name: metric(*found) for name, metric in METRICS.items()}
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
    assert best.p is None
    # The numbers add up: what the oracle gains and leaves is the gap.
    assert blind.oracle + blind.ranking == pytest.approx(blind.gap)
    assert verdict_text(shifted).startswith("mostly boundary: 0.")
    assert " below ja104 (p 0.005); median +0." in verdict_text(shifted)


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
    text = write_grids(boundary_grids(collected, [cell], 0.25))
    assert "F1 0.400 at 25.0% positive" in text
    assert "do not read F1@median, give a prior" in text


def test_a_table_shows_every_cell_and_few_labelled_rows_on_request(tmp_path: Path) -> None:
    collected = simulated(tmp_path / "a", ja0={"shift": 3.0}, ja104={})
    judged = boundary(collected, num_labelled=[16])
    main, few = boundary_grids(collected, judged)
    assert main.heading == (
        "base model", "pattern", "F1@0.5", "F1@median", "F1@oracle", "AUROC", "AP", "ECE", "Brier",
        "boundary share", "verdict",
    )  # fmt: skip
    assert few.heading[2:] == ("F1@0.5", "temperature, 16", "platt, 16", "threshold, 16")
    assert len(main.lines) == len(few.lines) == 2
    records = list(csv.DictReader(io.StringIO(write_grids([main, few], "csv"))))
    assert [r["kind"] for r in records] == ["mostly boundary", "mostly ranking"]
    assert float(records[0]["f1_platt_16_mean"]) > float(records[0]["f1_temperature_16_mean"]) + 0.1
    assert len(boundary_grids(collected, boundary(collected))) == 1
    assert "| elyza | ja0 | " in write_grids([main], "md")


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
    text = write_grids(boundary_grids(collected, judged))
    assert "[1/3]†" in text
    assert "† elyza x ja16: seed 0 failed: out of memory" in text
    assert "- elyza x ja104: no" in text


def test_nothing_done_yet_is_a_table_of_gaps(tmp_path: Path) -> None:
    collected = collect(make_results(tmp_path / "a", make_plan()))
    judged = boundary(collected)
    assert judged[0].gap is None
    assert "pending [0/3]†" in write_grids(boundary_grids(collected, judged))


# --- judge ----------------------------------------------------------------------------------


def measures(f1: float, median: float, oracle: float, std: float = 0.01) -> dict[str, TableCell]:
    return {
        name: TableCell("m", "ja104", "complete", mean, std, 3, 3, (), "")
        for name, mean in (("f1", f1), ("f1_median", median), ("f1_oracle", oracle))
    }


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        (measures(0.60, 0.75, 0.78), "mostly boundary"),
        (measures(0.60, 0.62, 0.65), "mostly ranking"),
        (measures(0.68, 0.66, 0.80), "boundary, if labels are at hand"),
        (measures(0.74, 0.73, 0.775), "mostly ranking"),  # the oracle gains 0.02 at 0.80, too
        (measures(0.50, 0.52, 0.70), "any cut, not ranking"),
        (measures(0.05, 0.50, 0.67), "any cut, not ranking"),
        (measures(0.60, 0.75, 0.78, std=0.2), "no clear gap"),
        (measures(0.85, 0.85, 0.86), "no clear gap"),
    ],
)
def test_a_verdict_follows_from_the_gains(cell: dict[str, TableCell], kind: str) -> None:
    assert judge(cell, measures(0.80, 0.80, 0.82), prior=0.5).kind == kind


def test_a_gap_of_one_seed_is_not_clear() -> None:
    alone = measures(0.3, 0.6, 0.7)
    alone["f1"] = TableCell("m", "ja0", "complete", 0.3, None, 1, 1, (), "")
    gap = judge(alone, measures(0.80, 0.80, 0.82), prior=0.5)
    assert (gap.kind, gap.p) == ("no clear gap", None)


# --- refusals -------------------------------------------------------------------------------


def test_more_than_two_classes_are_refused(tmp_path: Path) -> None:
    results = make_results(tmp_path / "a", make_plan(classes=("a", "b", "c")))
    with pytest.raises(InputError, match="experiment test: has 3 classes; thresholds"):
        boundary(collect(results))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"y_score": None}, r"predictions without y_score; remove the folder"),
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
