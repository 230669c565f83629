"""Predictions of result folders as arrays: alignment, and reasons for cells that are left out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from result_folders import make_plan, make_results, save_done, save_failed
from simulated_scores import predictions

from xlt.analysis.trials.collect import collect
from xlt.analysis.trials.scores import load_scores

IDS, LABELS = ["c", "a", "b", "d"], [1, 0, 1, 0]
GOOD = predictions(IDS, LABELS, [0.9, 0.1, 0.6, 0.2])


def save(results: Any, model: str, seed: int, table: pa.Table, pattern: str = "ja16") -> None:
    save_done(results, model, pattern, seed, {"f1": 0.5}, predictions=table)


def test_items_are_aligned_by_id_over_seeds_and_cells(tmp_path: Path) -> None:
    results = make_results(tmp_path / "r", make_plan(["elyza", "mbert"], seeds=[0, 1]))
    save(results, "elyza", 0, GOOD)
    shuffled = predictions(["d", "c", "b", "a"], [0, 1, 1, 0], [0.25, 0.95, 0.65, 0.15])
    save(results, "elyza", 1, shuffled)
    for seed in (0, 1):
        save(results, "mbert", seed, GOOD.take([3, 2, 0, 1]))
    found = load_scores(collect(results))
    assert found.left_out == {}
    elyza, mbert = found.cells.values()
    assert elyza.ids == mbert.ids == ("a", "b", "c", "d")
    assert elyza.y_true.tolist() == [0, 1, 1, 0]
    assert (elyza.y_true.dtype, elyza.scores.dtype) == (np.int8, np.float64)
    assert elyza.scores.tolist() == [[0.1, 0.6, 0.9, 0.2], [0.15, 0.65, 0.95, 0.25]]
    assert mbert.scores.tolist() == [[0.1, 0.6, 0.9, 0.2]] * 2
    assert (elyza.key.path, elyza.runs, elyza.gaps) == ("elyza/ja16", ((0, 0), (0, 1)), ())


def test_missing_and_failed_seeds_are_named(tmp_path: Path) -> None:
    skipped = {("bert", "ja16"): "no ja rows"}
    plan = make_plan(["elyza", "mbert", "bert"], skipped=skipped)
    results = make_results(tmp_path / "r", plan)
    save(results, "elyza", 1, GOOD)
    save_failed(results, "elyza", "ja16", 0, "out of memory")
    found = load_scores(collect(results))
    cell = found.cells["elyza", "ja16"]
    assert (cell.runs, cell.gaps) == (((0, 1),), ("seed 0 failed", "seed 2 missing"))
    assert found.left_out == {
        ("mbert", "ja16"): "seed 0 missing, seed 1 missing, seed 2 missing",
        ("bert", "ja16"): "no ja rows",
    }


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (predictions(["a", "b", "c", "e"], LABELS, [0.5] * 4),
         "seed 0 and seed 1 were tested on different rows (2 ids in one)"),
        (predictions(IDS, [0, 0, 1, 1], [0.5] * 4),
         "seed 0 and seed 1 have different labels for a test row"),
        (predictions(["a", "a", "b", "c"], LABELS, [0.5] * 4),
         "seed 1: predictions with an id twice"),
        (predictions(IDS, LABELS, [0.5, math.nan, math.inf, 0.5]),
         "seed 1: predictions with 2 of 4 scores that are no probabilities"),
        (predictions(IDS, [0, 1, 2, 0], [0.5] * 4),
         "seed 1: predictions with a y_true other than 0 and 1"),
        (predictions(IDS, LABELS, [0.5, None, 0.5, 0.5]),
         "seed 1: predictions with empty entries"),
        (predictions(IDS, LABELS, [[0.2, 0.3, 0.5]] * 4),
         "seed 1: predictions with a list of probabilities a row; the experiment has 2 classes"),
        (pa.table({"id": ["a"]}), "seed 1: predictions without split, y_true, y_score"),
        (GOOD.slice(0, 0), "seed 1: predictions without test rows"),
    ],
)  # fmt: skip
def test_a_cell_that_cannot_be_used_is_left_out_and_the_rest_goes_on(
    table: pa.Table, reason: str, tmp_path: Path
) -> None:
    results = make_results(tmp_path / "r", make_plan(["elyza", "mbert"], seeds=[0, 1]))
    for model, second in (("elyza", table), ("mbert", GOOD)):
        save(results, model, 0, GOOD)
        save(results, model, 1, second)
    found = load_scores(collect(results))
    assert found.left_out == {("elyza", "ja16"): reason}
    assert list(found.cells) == [("mbert", "ja16")]
