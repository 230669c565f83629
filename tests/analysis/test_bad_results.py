"""Results that lack something, through every command: one sentence where it lies, the rest made."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from page_results import history
from result_folders import make_plan, make_results, save_done
from run_command import run_command
from simulated_scores import predictions

from xlt.analysis.page import render_page
from xlt.analysis.trials.collect import collect
from xlt.data.core.errors import InputError
from xlt.sweep.cli.exit_status import BAD_INPUT, OK
from xlt.trainables.metrics.registry import score

pytestmark = pytest.mark.slow

MODELS, PATTERNS, SEEDS = ("elyza", "mbert"), ("ja0", "ja16"), (0, 1, 2)
BAD = ("elyza", "ja0")


def make(folder: Path, change: Callable[[int, dict[str, Any]], None], everywhere: bool) -> str:
    """All trials done; the predictions of cell BAD, or of all cells, are changed."""
    results = make_results(folder, make_plan(MODELS, PATTERNS))
    for number, (model, pattern) in enumerate((m, p) for m in MODELS for p in PATTERNS):
        for seed in SEEDS:
            rng = np.random.default_rng([number, seed])
            labels = np.arange(40) % 2
            rows: dict[str, Any] = {
                "ids": [f"r{k:02}" for k in range(40)],
                "y_true": labels.tolist(),
                "y_score": np.clip(0.3 + 0.3 * labels + 0.2 * rng.standard_normal(40), 0, 1),
            }
            values = score(labels.astype(np.int8), rows["y_score"])
            if everywhere or (model, pattern) == BAD:
                change(seed, rows)
                if np.isfinite(rows["y_score"]).all():
                    values = score(np.array(rows["y_true"], np.int8), rows["y_score"])
            table: pa.Table = predictions(**rows)
            save_done(results, model, pattern, seed, values, predictions=table, history=history(20))
    return results.uri


def one_class(seed: int, rows: dict[str, Any]) -> None:
    rows["y_true"] = [1] * 40


def nan(seed: int, rows: dict[str, Any]) -> None:
    rows["y_score"][3] = np.nan


def other_ids(seed: int, rows: dict[str, Any]) -> None:
    rows["ids"] = [f"{seed}-{k}" for k in range(40)]


REASONS = {
    one_class: "auroc needs both classes",
    nan: "1 of 40 scores that are no probabilities",
    other_ids: "tested on different rows",
}


@pytest.mark.parametrize("change", REASONS)
def test_one_bad_cell_is_reported_and_the_others_are_shown(
    change: Callable[[int, dict[str, Any]], None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    uri = make(tmp_path / "r", change, everywhere=False)
    status, text = run_command(capsys, "report", uri, "--intervals")
    lacks = "without auroc: it has no value on test rows that lack a class"
    assert status == OK and (lacks if change is one_class else REASONS[change]) in text
    assert ("n/a†" in text) == (change is one_class)
    status, text = run_command(capsys, "compare", uri, "--by", "model")
    assert status == OK and "elyza/ja16:mbert/ja16" in text and "Left out: elyza/ja0" in text
    status, text = run_command(capsys, "boundary", uri)
    assert status == OK and text.count("  reference\n") >= 1
    if change is not other_ids:  # seed by seed it does not matter
        assert "† elyza x ja0: seeds 0, 1, 2 without f1: predictions with" in text
    status, text = run_command(capsys, "curves", uri)
    assert status == OK and "mbert" in text
    status, text = run_command(capsys, "claims", uri)
    assert status == OK
    status, text = run_command(
        capsys, "figures", uri, "--out", str(tmp_path / "f"), "--kinds", "seeds", "roc"
    )
    assert status == OK and text.count("left out: ") == 1
    assert "5 figures" in text and "left out: roc-elyza-ja0" in text
    html = render_page(collect(uri))
    assert "Not shown: no base model" not in html
    assert html.count('class="absent"') == 2  # without scripts, and where these fail


def test_one_class_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    uri = make(tmp_path / "r", one_class, everywhere=True)
    collected = collect(uri)
    assert set(collected.table["state"].to_pylist()) == {"done"}
    assert "auroc" not in collected.metrics and "f1" in collected.metrics
    status, text = run_command(capsys, "report", uri, "--intervals")
    assert status == OK and text.count("n/a†") == 4
    assert "without auroc: it has no value on test rows that lack a class" in text
    status, text = run_command(capsys, "boundary", uri)
    assert status == BAD_INPUT and text.count("\n") < 8 and "and 9 more trials" in text
    status, text = run_command(capsys, "compare", uri)
    assert status == BAD_INPUT and "auroc needs both classes" in text
    html = render_page(collected)
    assert "n/a†" in html and "Not shown: " in html and "no trial can be judged" in html


def test_unreadable_predictions_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = make(tmp_path / "r", nan, everywhere=True)
    for folder in (tmp_path / "r" / "trials").iterdir():
        if folder.name.startswith("mbert"):
            shutil.rmtree(folder)
        elif "ja16" in folder.name:
            (folder / "trial.json").write_bytes(b"{")
    status, text = run_command(capsys, "status", uri)
    assert status == OK and "3 done, 3 corrupt, 6 missing of 12 trials" in text
    status, text = run_command(capsys, "report", uri, "--intervals")
    assert status == OK and "is not JSON" in text
    assert "pending [0/3]†" in text and "corrupt [0/3]†" in text
    html = render_page(collect(uri))
    assert "no trial can be judged" in html and "no two cells can be compared" in html


def test_undefined_metrics_are_left_out() -> None:
    scores = np.array([0.2, 0.9])
    assert set(score(np.array([1, 1], np.int8), scores)) == {
        "f1",
        "accuracy",
        "precision",
        "recall",
    }
    three = np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1]])
    assert set(score(np.array([0, 1], np.int8), three)) == {"macro_f1", "accuracy"}


def test_errors_for_unknown_names_suggest_the_nearest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = make(tmp_path / "r", lambda seed, rows: None, everywhere=False)
    for command in ("compare", "curves"):
        status, text = run_command(capsys, command, uri, "--metric", "aurc")
        assert status == BAD_INPUT and "Did you mean 'auroc'?" in text
    file = tmp_path / "claims.yaml"
    part = "{metric: auroc, first: elyza/ja0, direction: greater, second: %s}"
    file.write_text(
        "title: t\nclaims:\n"
        f"  - {{id: a, says: x, source: s, parts: [{part % 'mbrt/ja0'}]}}\n"
        f"  - {{id: b, says: y, source: s, parts: [{part % 'mbert/ja0'}]}}\n"
    )
    status, text = run_command(capsys, "claims", uri, "--claims", str(file))
    assert status == OK and "a is not evaluated: " in text and "Did you mean 'mbert'?" in text
    assert text.count("not evaluated") >= 1 and "AUROC" not in capsys.readouterr().err
    with pytest.raises(InputError, match=r"Did you mean 'test'\?"):
        collect(uri, "tst")
