"""Status of an experiment with trials in all states."""

from __future__ import annotations

from pathlib import Path

import pytest
from result_folders import make_plan, make_results, save_done, save_failed

from xlt.analysis.trials.status import status
from xlt.sweep.cli.main import main


@pytest.fixture
def location(tmp_path: Path) -> Path:
    plan = make_plan(
        ["elyza", "bert-ja"], ["ja0", "ja16"], skipped={("bert-ja", "ja0"): "knows no en"}
    )
    results = make_results(tmp_path / "results", plan)
    save_done(results, "elyza", "ja0", 0, {"f1": 0.5})
    save_failed(results, "elyza", "ja16", 1, "loss is nan\nTraceback")
    trial_id = save_done(results, "bert-ja", "ja16", 2, {"f1": 0.5})
    (Path(results.root) / "trials" / trial_id / "history.parquet").unlink()
    return Path(results.root)


def test_every_state_has_its_sign_and_every_error_its_line(location: Path) -> None:
    from xlt.analysis.trials.collect import collect

    lines = status(collect(str(location))).splitlines()
    assert lines[0] == "Experiment test: 1 done, 1 failed, 1 corrupt, 6 missing of 9 trials"
    grid = ["base model  ja0   ja16", "elyza       +..   .x.", "bert-ja     -     ..!"]
    assert lines[2:5] == grid
    assert any(line.endswith(": loss is nan") for line in lines)
    assert any("history.parquet has None bytes" in line for line in lines)


def test_trials_that_must_not_be_averaged_are_still_shown(
    location: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = make_results(location)
    save_done(results, "elyza", "ja0", 1, {"f1": 0.5}, precision="bf16")
    assert main(["report", str(location)]) == 2
    assert "these are not averaged" in capsys.readouterr().err
    assert main(["status", str(location)]) == 0
    shown = capsys.readouterr().out
    assert "elyza       ++." in shown
    assert "warning: precision is fp32 in 1 trial(s) but bf16 in elyza-ja0-s1-" in shown
