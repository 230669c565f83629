"""xlt report as files: rows as Parquet, a page that follows results as they grow."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from page_results import make_page_results
from result_folders import make_plan, make_results, save_done, save_failed
from simulated_scores import predictions

from xlt.analysis.page import render_page
from xlt.analysis.trials.collect import collect
from xlt.sweep.cli.exit_status import BAD_INPUT, INTERRUPTED, OK
from xlt.sweep.cli.main import main

SCORES = {"f1": 0.5, "auroc": 0.75}


def test_parquet_holds_the_tidy_rows(tmp_path: Path) -> None:
    results = make_page_results(tmp_path / "r")
    out = tmp_path / "rows.parquet"
    assert main(["report", results, "--format", "parquet", "--out", str(out)]) == OK
    assert pq.read_table(out).equals(collect(results).table)


class Sleeper:
    """Does something to the results while the command waits."""

    def __init__(self, out: Path, *steps: Any) -> None:
        self.out, self.steps, self.seen = out, list(steps), list[str]()

    def sleep(self, seconds: float) -> None:
        assert seconds == 3
        self.seen.append(self.out.read_text("utf-8"))
        if not self.steps:
            raise KeyboardInterrupt
        self.steps.pop(0)()


def test_a_watched_page_follows_growing_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = make_results(tmp_path / "r", make_plan())
    out = tmp_path / "report.html"

    def done(seed: int) -> None:
        table = predictions(["a", "b"], [0, 1], [0.25, 0.75])
        save_done(results, "elyza", "ja16", seed, SCORES, predictions=table)

    sleeper = Sleeper(
        out,
        lambda: done(0),
        lambda: None,
        lambda: save_failed(results, "elyza", "ja16", 1, "out of memory"),
        lambda: (done(1), done(2)),
    )
    monkeypatch.setattr(time, "sleep", sleeper.sleep)
    command = ["report", results.uri, "--format", "html", "--out", str(out), "--watch", "3"]
    assert main(command) == OK
    for html, told in zip(sleeper.seen, (0, 1, 1, 1), strict=True):
        assert f"<b>{told} of 3 trials done</b>" in html and 'data-watch="3"' in html
    assert "Not shown: no cell has a value yet." in sleeper.seen[0]
    assert "out of memory" in sleeper.seen[3]
    assert sleeper.seen[1] == sleeper.seen[2]
    # Written once for each change, and the last one is an ordinary page.
    assert capsys.readouterr().err.count("trials done") == 3
    assert out.read_text("utf-8") == render_page(collect(results))


def test_ctrl_c_leaves_a_page_that_does_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = make_results(tmp_path / "r", make_plan())
    out = tmp_path / "report.html"
    monkeypatch.setattr(time, "sleep", Sleeper(out).sleep)
    command = ["report", results.uri, "--format", "html", "--out", str(out), "--watch", "3"]
    assert main(command) == INTERRUPTED
    assert out.read_text("utf-8") == render_page(collect(results))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--format", "parquet"], "give --out FILE, e.g. --out report.parquet"),
        (["--format", "html", "--out", "x.html", "--metrics", "f1"], "--metrics is for tables"),
        (["--metrics", "preci"], "Did you mean 'precision'?"),
        (["--watch"], "--watch is for --format html, not text"),
        (["--format", "html", "--out", "x.html", "--watch", "0"], "give 1 or more"),
    ],
)
def test_bad_options_are_one_sentence(
    tmp_path: Path, options: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    results = make_results(tmp_path / "r", make_plan())
    assert main(["report", results.uri, *options]) == BAD_INPUT
    assert told in capsys.readouterr().err


def test_other_metrics_than_f1_and_auroc_have_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = make_results(tmp_path / "r", make_plan(seeds=[0]))
    save_done(results, "elyza", "ja16", 0, {"f1": 0.25, "precision": 0.625})
    assert main(["report", results.uri, "--metrics", "precision"]) == OK
    shown = capsys.readouterr().out
    assert "0.625 (n/a)" in shown and "0.250" not in shown
