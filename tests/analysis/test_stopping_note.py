"""The line beneath tables on the epochs that early stopping chose."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from result_folders import make_plan, make_results, save_done

from xlt.analysis.page.build import render_page
from xlt.analysis.tables.report import render_tables
from xlt.analysis.trials.collect import Collected, collect


def collect_stopped(folder: Path, epochs: dict[tuple[str, int], Any]) -> Collected:
    """Trials of two cells with 10 epochs at most; (pattern, seed) -> best epoch, if any."""
    results = make_results(folder, make_plan(patterns=("ja0", "ja16")))
    for pattern in ("ja0", "ja16"):
        for seed in range(3):
            best = epochs.get((pattern, seed))
            stopped = {} if best is None else {"best_epoch": best, "num_epochs": 10}
            scores = {"f1": 0.5, "auroc": 0.6}
            save_done(results, "elyza", pattern, seed, scores, convergence=stopped)
    return collect(results)


@pytest.fixture
def stopped(tmp_path: Path) -> Collected:
    best = zip([("ja16", 0), ("ja16", 1), ("ja16", 2), ("ja0", 1)], (2, 5, 3, 3), strict=True)
    return collect_stopped(tmp_path, dict(best))


SENTENCE = "best epoch 2 to 5 of 10, median 3 (4 trials of elyza x ja0, elyza x ja16)."


@pytest.mark.parametrize("format", ["text", "md", "latex"])
def test_tables_say_which_epochs_were_best(format: str, stopped: Collected) -> None:
    written = render_tables(stopped, format)
    assert written.count(f"Early stopping: {SENTENCE}") == 2  # beneath both tables


def test_the_page_says_it(stopped: Collected) -> None:
    assert SENTENCE in render_page(stopped)


def test_csv_has_no_place_for_it(stopped: Collected) -> None:
    assert "Early stopping" not in render_tables(stopped, "csv")


def test_a_best_epoch_at_the_end_asks_for_more_epochs(tmp_path: Path) -> None:
    collected = collect_stopped(tmp_path, {("ja16", 0): 10, ("ja16", 1): 10, ("ja0", 0): 4})
    assert (
        "best epoch 4 to 10 of 10, median 10 (3 trials of elyza x ja0, elyza x ja16). "
        "In 2 of them it is the last possible one: more epochs may be better."
    ) in render_tables(collected)
    (tmp_path / "alone").mkdir()
    alone = collect_stopped(tmp_path / "alone", {("ja16", 0): 4})
    assert "Early stopping: best epoch 4 of 10 (1 trial of elyza x ja16).\n" in render_tables(alone)
    (tmp_path / "last").mkdir()
    last = collect_stopped(tmp_path / "last", {("ja16", 0): 10})
    assert "(1 trial of elyza x ja16). It is the last possible one: more" in render_tables(last)


@pytest.mark.parametrize("best", [None, 0, -1, 11, 2.5, "3", [1]])
def test_nothing_is_said_without_a_usable_epoch(best: Any, tmp_path: Path) -> None:
    collected = collect_stopped(tmp_path, {("ja16", 0): json.loads(json.dumps(best))})
    assert "Early stopping" not in render_tables(collected)
