"""Scores of each class and confusion matrices: scikit-learn's numbers in every report."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from page_data import data_of
from result_folders import make_plan, make_results, save_done
from simulated_scores import make_cell, save_simulated, simulate, simulate_classes
from sklearn import metrics as sk

from xlt.analysis.figures import save_figures
from xlt.analysis.metrics.class_scores import score_classes
from xlt.analysis.page import render_page
from xlt.analysis.trials.collect import collect
from xlt.analysis.trials.scores import CellScores
from xlt.sweep.cli.exit_status import BAD_INPUT, OK
from xlt.sweep.cli.main import main

NAMES = ("economy", "health", "politics", "science", "sport", "travel", "weather")


@pytest.fixture
def cell() -> CellScores:
    return simulate_classes(np.random.default_rng(0), 3, 140, 7, 1.5, 0.2)


@pytest.fixture
def results(cell: CellScores, tmp_path: Path) -> str:
    location = make_results(tmp_path / "r", make_plan(["elyza", "mbert"], classes=NAMES))
    save_simulated(location, "elyza", "ja16", cell, cell.ids)
    for seed in range(3):  # without predictions
        save_done(location, "mbert", "ja16", seed, {"macro_f1": 0.5, "auroc_ovr": 0.7})
    return str(tmp_path / "r")


def test_numbers_are_those_of_scikit_learn(cell: CellScores) -> None:
    found = score_classes(cell)
    decided = cell.scores.argmax(axis=2)
    matrices = [sk.confusion_matrix(cell.y_true, run) for run in decided]
    assert found.matrix.tolist() == np.sum(matrices, axis=0).tolist()
    for run, of_run in enumerate(decided):
        expected = sk.precision_recall_fscore_support(cell.y_true, of_run, zero_division=0.0)
        for own, theirs in zip(found.values.values(), expected[:3], strict=True):
            assert own[:, run] == pytest.approx(theirs)
        assert found.num_rows.tolist() == expected[3].tolist()


def test_two_classes_are_decided_at_the_threshold() -> None:
    cell = simulate(np.random.default_rng(1), 2, 60, 1.0, 0.1)
    found = score_classes(cell)
    matrices = [sk.confusion_matrix(cell.y_true, run >= 0.5) for run in cell.scores]
    assert found.matrix.tolist() == np.sum(matrices, axis=0).tolist()
    f1 = [sk.f1_score(cell.y_true, run >= 0.5, average=None) for run in cell.scores]
    assert pytest.approx(np.array(f1)) == found.values["f1"].T


def test_classes_without_rows_or_decisions_have_zeros() -> None:
    scores = np.eye(3)[[0, 0, 1]][None]
    found = score_classes(make_cell([0, 1, 1], scores))
    assert found.matrix.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert [values[2].tolist() for values in found.values.values()] == [[0.0]] * 3


def test_the_report_has_a_line_for_each_class(
    results: str, cell: CellScores, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", results, "--confusion"]) == OK
    text = capsys.readouterr().out
    assert "called the class of the largest probability" in text and "called weather" in text
    assert "Left out: mbert/ja16: seed 0: predictions without" in text
    assert main(["report", results, "--confusion", "--format", "csv"]) == OK
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [line["class"] for line in lines] == list(NAMES)
    decided = cell.scores.argmax(axis=2)
    recalls = np.array([sk.recall_score(cell.y_true, run, average=None) for run in decided])
    means, stds = recalls.mean(axis=0), recalls.std(axis=0, ddof=1)
    assert [float(line["recall"]) for line in lines] == pytest.approx(means)
    assert [float(line["recall_std"]) for line in lines] == pytest.approx(stds)
    total = sum(int(line[f"called {name}"]) for line in lines for name in NAMES)
    assert total == 3 * 140 and all(line["num_rows"] == "20" for line in lines)
    for format in ("md", "latex"):
        assert main(["report", results, "--confusion", "--format", format]) == OK
        assert "called weather" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--format", "html", "--out", "x.html"], "--confusion is for tables; html has its own"),
        (["--only", "model=mbert"], "no cell has usable predictions: seed 0: predictions without"),
        (["--prevalence", "0.1"], "this experiment has 7 classes"),
    ],
)
def test_what_cannot_be_counted_is_one_error(
    arguments: list[str], told: str, results: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", results, "--confusion", *arguments]) == BAD_INPUT
    assert told in capsys.readouterr().err


def test_a_prevalence_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    location = make_results(tmp_path / "r", make_plan())
    two = simulate(np.random.default_rng(1), 3, 60, 1.0, 0.1)
    save_simulated(location, "elyza", "ja16", two, two.ids)
    assert main(["report", str(tmp_path / "r"), "--confusion", "--prevalence", "0.1"]) == BAD_INPUT
    assert "leave out --prevalence" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "r"), "--confusion"]) == OK
    assert "called negative  called positive" in capsys.readouterr().out


def test_the_page_has_a_matrix_in_colour(results: str, cell: CellScores) -> None:
    html = render_page(collect(results))
    assert "Scores of each class" in html and 'id="plot-confusion"' in html
    assert 'id="plot-roc"' not in html
    cells = data_of(html)["cells"]
    assert cells[0]["confusion"] == score_classes(cell).matrix.tolist()
    assert cells[1]["confusion"] is None and "predictions without" in cells[1]["why"]


def test_figures_suit_the_number_of_classes(results: str, tmp_path: Path) -> None:
    drawn = save_figures(collect(results), tmp_path / "out", "svg")
    kinds = {figure.name: figure.why for figure in drawn}
    assert kinds["confusion-elyza-ja16"] == "" and "confusion-mbert-ja16" in kinds
    assert not any(name.startswith(("roc", "scores", "reliability")) for name in kinds)
    assert b"politics" in (tmp_path / "out" / "confusion-elyza-ja16.svg").read_bytes()
    (asked,) = save_figures(collect(results, only="model=elyza"), tmp_path / "out", only=["roc"])
    assert "are of two classes" in asked.why
