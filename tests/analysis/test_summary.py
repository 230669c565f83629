"""The three answers of a summary, for cells whose truth is simulated."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from result_folders import make_plan, make_results
from simulated_scores import save_simulated, simulate

from xlt.analysis.comparisons.family import compare_cells
from xlt.analysis.page import render_page
from xlt.analysis.summary import sentences
from xlt.analysis.summary.sentences import Summary, summarise
from xlt.analysis.trials.collect import collect
from xlt.analysis.trials.scores import load_scores
from xlt.analysis.uncertainty.intervals import CellIntervals
from xlt.data.core.errors import InputError
from xlt.sweep.cli.main import main

SEPARATION = {
    ("elyza", "ja0"): 2.0,  # ranks at once, and target rows change nothing
    ("elyza", "ja104"): 2.0,
    ("mbert", "ja0"): 0.0,  # ranks by chance until it has target rows
    ("mbert", "ja104"): 2.6,
}


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> str:
    plan = make_plan(("elyza", "mbert"), ("ja0", "ja104"), seeds=[0, 1, 2, 3])
    results = make_results(tmp_path_factory.mktemp("summary") / "r", plan)
    rng = np.random.default_rng(7)
    rows = rng.standard_normal(400)
    for (model, pattern), separation in SEPARATION.items():
        cell = simulate(rng, 4, 400, separation, 0.05, rows)
        failed = (3,) if (model, pattern) == ("elyza", "ja104") else ()
        save_simulated(results, model, pattern, cell, cell.ids, failed)
    return results.uri


def test_answers_are_those_of_the_simulated_truth(location: str) -> None:
    collected = collect(location)
    summary = summarise(collected, CellIntervals(load_scores(collected)))
    assert "1 of 2 cells rank the test rows better than chance (elyza 0.9" in summary.carried_over
    assert "is above 0.667, the F1 of calling every row positive" in summary.carried_over
    pairs = [f"{model}/ja0:{model}/ja104" for model in ("elyza", "mbert")]
    differences = [c.difference for c in compare_cells(collected, pairs=pairs).comparisons]
    assert f"AUROC of 1 of 2 (mbert {differences[1]:+.3f})" in summary.bought
    assert "corrected for 2 comparisons" in summary.bought
    assert "2 of these 4 differences are not settled" in summary.unknown
    assert "1 of 16 trials have no result" in summary.unknown
    assert "one draw of training rows" in summary.unknown


def test_answers_are_at_the_prevalence_of_the_trials(location: str) -> None:
    collected = collect(location, prevalence=0.02)
    summary = summarise(collected, CellIntervals(load_scores(collected), prevalence=0.02))
    pairs = [f"{model}/ja0:{model}/ja104" for model in ("elyza", "mbert")]
    at, as_drawn = (
        compare_cells(collect(location, prevalence=p), "f1", pairs=pairs).comparisons[1].difference
        for p in (0.02, None)
    )
    assert at < as_drawn - 0.03
    assert f"F1 of 1 of 2 (mbert {at:+.3f})" in summary.bought
    assert f") is above {2 * 0.02 / 1.02:.3f}" in summary.carried_over
    assert "and the F1 of 1 (elyza 0." in summary.carried_over
    assert "F1 is of rows of which 2 % are positive" in summary.unknown


def summary_of(folder: Path, **separations: float) -> Summary:
    """Summarise cells of one base model: pattern -> separation, with _ for +."""
    names = {pattern.replace("_", "+"): value for pattern, value in separations.items()}
    results = make_results(folder, make_plan(("bert",), tuple(names), seeds=[0, 1, 2]))
    rng = np.random.default_rng(9)
    rows = rng.standard_normal(400)
    for pattern, separation in names.items():
        cell = simulate(rng, 3, 400, separation, 0.05, rows)
        save_simulated(results, "bert", pattern, cell, cell.ids)
    collected = collect(results.uri)
    return summarise(collected, CellIntervals(load_scores(collected)))


def test_what_translations_raise_is_not_said_of_target_rows(tmp_path: Path) -> None:
    summary = summary_of(tmp_path / "r", ja0=0.5, ja16=0.5, ja0_tt=3.0, ja16_tt=3.0)
    assert "16 target rows raise the AUROC of 0 of 2 and the F1 of 0 of 2." in summary.bought
    assert "chance (bert/ja0 0.6" in summary.carried_over
    assert ", bert/ja0+tt 0.9" in summary.carried_over


def test_losses_are_said(tmp_path: Path) -> None:
    summary = summary_of(tmp_path / "r", ja0=3.0, ja16=0.5)
    assert "AUROC of 0 of 1 and the F1 of 0 of 1, and lower the AUROC of 1 (" in summary.bought
    assert summary.bought.count("(bert -0.") == 2


def test_the_reason_is_given_if_cells_cannot_be_compared(
    location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentences, "compare_cells", partial(compare_cells, num_resamples=99))
    collected = collect(location)
    summary = summarise(collected, CellIntervals(load_scores(collected)))
    assert summary.bought == (
        "Target rows were not compared: 99 resamples are too few; give 100 or more."
    )
    assert "settled" not in summary.unknown


def test_page_and_report_show_the_same_answers(
    location: str, capsys: pytest.CaptureFixture[str]
) -> None:
    collected = collect(location)
    summary = summarise(collected, CellIntervals(load_scores(collected)))
    html = render_page(collected)
    assert main(["report", location, "--intervals"]) == 0
    shown = capsys.readouterr().out
    for heading, answer in summary.parts:
        assert f"<dt>{heading}</dt><dd>{answer}</dd>" in html
        assert f"{heading}: {answer}" in shown
    assert main(["report", location, "--intervals", "--format", "csv"]) == 0
    assert "Carried over" not in capsys.readouterr().out  # a program reads it


def test_an_experiment_without_zero_shot_cells_measures_no_transfer(tmp_path: Path) -> None:
    results = make_results(tmp_path / "r", make_plan(("bert",), ("ja16",), seeds=[0, 1]))
    rng = np.random.default_rng(8)
    cell = simulate(rng, 2, 100, 2.0, 0.05)
    save_simulated(results, "bert", "ja16", cell, cell.ids, ())
    collected = collect(results.uri)
    summary = summarise(collected, CellIntervals(load_scores(collected)))
    assert "transfer was not measured" in summary.carried_over
    assert "no base model has cells that differ only in the number of target" in summary.bought


def test_without_predictions_there_is_no_summary(tmp_path: Path) -> None:
    results = make_results(tmp_path / "r", make_plan(("bert",), ("ja16",), seeds=[0]))
    collected = collect(results.uri)
    with pytest.raises(InputError, match="seed 0 missing"):
        summarise(collected, CellIntervals(load_scores(collected)))
    assert "No summary: no cell has usable predictions: seed 0 missing." in render_page(collected)
