"""Ranking or threshold: cells of an experiment, their tables, and what is refused."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from boundary_results import predictions, train_rows
from result_folders import TRAINED, make_plan, make_results, save_done, save_failed

from xlt.analysis.boundary.judge_cells import CellBoundary
from xlt.analysis.boundary.measure import boundary
from xlt.analysis.boundary.table import make_boundary_tables
from xlt.analysis.boundary.train_threshold import TRAIN_ROWS
from xlt.analysis.metrics.measures import MEASURES
from xlt.analysis.metrics.thresholds import f1_at
from xlt.analysis.tables.formats import write_tables
from xlt.analysis.trials.collect import Collected, collect
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


def words(judged: list[CellBoundary]) -> list[str]:
    return [cell.verdict.word if cell.verdict else "" for cell in judged]


def test_the_fault_of_a_cell_is_found(tmp_path: Path) -> None:
    collected = simulated(
        tmp_path / "a", ja0={"shift": 3.0}, ja16={"gain": 0.6}, ja32={"gain": 0.0, "shift": 3.0},
        ja64={"gain": 0.7, "shift": -2.0}, ja104={"shift": 0.1},
    )  # fmt: skip
    judged = boundary(collected)
    assert words(judged) == ["threshold is off", "ranks worse", "chance", "both", "reference"]
    assert {cell.reference for cell in judged} == {"ja104"}
    shifted, best = judged[0].verdict, judged[-1].verdict
    assert shifted and shifted.ranking and best and best.ranking is None
    found = {name: judged[0].measures[name].mean or 0.0 for name in ("f1", "f1_best", "auroc")}
    assert found["f1_best"] > found["f1"] + 0.1 and shifted.threshold.value > 0.1
    reference = judged[-1].measures["auroc"].mean or 0.0
    assert shifted.ranking.value == pytest.approx(reference - found["auroc"], abs=1e-12)
    assert judged[0].measures["auroc"].interval == (shifted.auroc.low, shifted.auroc.high)


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
    assert {cell.reference for cell in chosen} == {"ja16"}
    assert words(chosen)[1] == "reference" and words(chosen)[2] != "reference"
    with pytest.raises(InputError, match=r"reference: unknown pattern 'ja32'.*Known: ja0, ja104"):
        boundary(collected, reference="ja32")


def test_a_reference_without_value_leaves_the_other_question(tmp_path: Path) -> None:
    results = make_results(tmp_path / "a", make_plan(patterns=["ja0", "ja104"]))
    for seed in range(3):
        save_done(
            results, "elyza", "ja0", seed, {"f1": 0.5},
            predictions=predictions(seed, shift=3.0), train_rows=train_rows(0),
        )  # fmt: skip
    collected = collect(results)
    judged = boundary(collected, reference="ja104")
    assert words(judged) == ["threshold is off", ""]
    assert judged[0].verdict and judged[0].verdict.ranking is None
    text = write_tables(make_boundary_tables(collected, judged))
    assert "No comparison of ranking for elyza x ja0: elyza/ja104: seed 0 missing" in text


def test_cells_of_which_some_runs_did_not_train_are_not_judged(tmp_path: Path) -> None:
    results = make_results(tmp_path / "a", make_plan(patterns=["ja0", "ja16", "ja104"]))
    for pattern in ("ja0", "ja16", "ja104"):
        for seed in range(3):
            stuck = (
                {"final_loss": 0.693, "train_auroc": 0.5} if (pattern, seed) == ("ja16", 1) else {}
            )
            save_done(
                results, "elyza", pattern, seed, {"f1": 0.5}, predictions=predictions(seed),
                train_rows=train_rows(int(pattern.removeprefix("ja"))),
                convergence=TRAINED | stuck,
            )  # fmt: skip
    collected = collect(results)
    text = write_tables(make_boundary_tables(collected, boundary(collected)))
    assert "No verdict for elyza x ja16: elyza/ja16: seed 1 collapsed, the others did not" in text
    judged = boundary(collected, reference="ja16")
    assert words(judged) == ["undecided", "", "undecided"]
    assert judged[0].without.startswith("elyza/ja16: seed 1 collapsed")


@pytest.mark.parametrize("margin", [0.0, 1.0, -0.1, float("nan")])
def test_a_margin_is_a_loss(tmp_path: Path, margin: float) -> None:
    collected = collect(make_results(tmp_path / "a", make_plan()))
    with pytest.raises(InputError, match=r"margin .* is not a loss between 0 and 1, e.g. 0.03"):
        boundary(collected, margin=margin)


def test_unbalanced_rows_need_a_prior_and_the_table_says_so(tmp_path: Path) -> None:
    collected = simulated(tmp_path / "a", ja0={"positive": 0.25, "shift": 2.0})
    (cell,) = boundary(collected, prior=0.25)
    found = {name: value.mean or 0.0 for name, value in cell.measures.items()}
    assert found["f1_prior"] > found["f1_median"] + 0.1
    assert found["f1_prior"] == pytest.approx(found["f1_best"], abs=0.03)
    assert cell.prior == 0.25
    text = write_tables(make_boundary_tables(collected, [cell], 0.25))
    assert "F1 0.400 at 25.0% positive" in text
    assert "ignore F1@median and set --prior" in text


def test_a_table_shows_every_cell_and_few_labelled_rows_on_request(tmp_path: Path) -> None:
    collected = simulated(tmp_path / "a", ja0={"shift": 3.0}, ja104={})
    judged = boundary(collected, num_labelled=[16])
    main, thresholds, shifts, few = make_boundary_tables(collected, judged)
    assert main.heading[2:] == ("F1@0.5", "AUROC", "AUROC lost", "threshold gains", "verdict")
    assert thresholds.heading[2:] == ("F1@0.5", "F1@median", "F1@best", "AP", "ECE", "Brier")
    assert few.heading[2:] == ("F1@0.5", "temperature, 16", "platt, 16", "threshold, 16")
    assert [len(table.lines) for table in (main, thresholds, shifts, few)] == [2] * 4
    assert main.lines[1][4] == "-" and main.footnotes[0] == "Reference of elyza: ja104."
    records = list(csv.DictReader(io.StringIO(write_tables([main, thresholds, few], "csv"))))
    assert [r["verdict"] for r in records] == ["threshold is off", "reference"]
    assert records[0]["threshold_gain_above_0"] == "True" and records[1]["auroc_lost"] == ""
    assert float(records[0]["f1_platt_16_mean"]) > float(records[0]["f1_temperature_16_mean"]) + 0.1
    assert len(make_boundary_tables(collected, boundary(collected))) == 3
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
    assert words(judged) == ["reference", "", ""]
    text = write_tables(make_boundary_tables(collected, judged))
    assert "[1/3]†" in text
    assert "† elyza x ja16: seed 0 failed: out of memory" in text
    assert "- elyza x ja104: no" in text


def test_without_done_trials_all_cells_are_pending(tmp_path: Path) -> None:
    collected = collect(make_results(tmp_path / "a", make_plan()))
    judged = boundary(collected)
    assert judged[0].verdict is None and judged[0].reference == ""
    assert "pending [0/3]†" in write_tables(make_boundary_tables(collected, judged))


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
    _, table, _ = make_boundary_tables(collected, [none, some])
    assert table.heading[4] == "F1@train rows"
    assert [line[4] for line in table.lines] == [
        "-",
        f"{np.mean(expected):.3f} ({np.std(expected, ddof=1):.3f})",
    ]


# --- refusals -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"y_score": None}, r"no trial can be judged\n.*predictions without y_score"),
        ({"y_true": [0] * 512}, "without test rows of both classes"),
        ({"y_score": [1.5] * 512}, "512 of 512 scores that are no probabilities"),
        ({"y_score": [float("nan")] * 512}, "512 of 512 scores that are no probabilities"),
        ({"y_score": [[0.5, 0.5]] * 512}, "with a list of probabilities a row"),
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
