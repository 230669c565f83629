"""Each figure on small results: Axes returned, what they hold, glyphs, files."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from lang_results import make_lang_results
from page_results import make_page_results
from result_folders import make_plan, make_results, save_failed

from xlt.analysis.metrics.plot_points import block_means, make_cell_curves, thin
from xlt.analysis.tables.metric_cells import collect_metric_cells
from xlt.analysis.trials.collect import Collected, collect
from xlt.analysis.trials.scores import load_scores
from xlt.analysis.uncertainty.intervals import CellIntervals
from xlt.data.core.errors import InputError
from xlt.sweep.cli.exit_status import BAD_INPUT, OK
from xlt.sweep.cli.main import main

pytest.importorskip("matplotlib")
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xlt.analysis.figures import FIGURES, draw_figures, save_figures
from xlt.analysis.figures.style import FigureInput, use_style

pytestmark = pytest.mark.slow

JAPANESE = "日本語モデル$x_1$"


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Collected:
    folder = tmp_path_factory.mktemp("figures") / "r"
    return collect(make_page_results(folder, ["elyza", JAPANESE], positive="環境"))


@pytest.fixture(scope="module")
def shown(collected: Collected) -> FigureInput:
    use_style()
    intervals = CellIntervals(load_scores(collected))
    cells = collect_metric_cells(collected, "auroc", intervals=intervals).cells
    return FigureInput(collected, "auroc", "AUROC", cells, intervals.scores, (JAPANESE, "ja104"))


@pytest.fixture(scope="module")
def in_langs(tmp_path_factory: pytest.TempPathFactory) -> FigureInput:
    use_style()
    collected = collect(make_lang_results(tmp_path_factory.mktemp("langs") / "r", ["a", JAPANESE]))
    intervals = CellIntervals(load_scores(collected))
    cells = collect_metric_cells(collected, "auroc", intervals=intervals).cells
    return FigureInput(collected, "auroc", "AUROC", cells, intervals.scores, (JAPANESE, "ja16"))


def test_scores_by_language(in_langs: FigureInput) -> None:
    axes = Figure().add_subplot()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FIGURES["languages"].draw(axes, in_langs)
        axes.figure.canvas.draw()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["en", "ja", "de", "fr", "zh"]
    (line,) = [line for line in axes.lines if str(line.get_label()).startswith("a × ja16")]
    records = in_langs.collected.records
    rows = [row for row in in_langs.collected.rows if row.cell == ("a", "ja16")]
    by_lang = [records[row.trial_id]["metrics_by_lang"] for row in rows]
    expected = [np.mean([own[lang]["auroc"] for own in by_lang]) for lang in by_lang[0]]
    assert list(line.get_xdata()) == pytest.approx(expected)
    drawn = {one.name: one for one in draw_figures(in_langs.collected, ["languages"])}
    assert set(drawn) == {"languages-f1", "languages-auroc"} and not drawn["languages-f1"].why


@pytest.mark.parametrize("name", [name for name in FIGURES if name not in ("languages", "sources")])
def test_each_figure_draws_into_the_axes_given(name: str, shown: FigureInput) -> None:
    axes = Figure().add_subplot()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert FIGURES[name].draw(axes, shown) is axes
        axes.figure.canvas.draw()
    assert isinstance(axes, Axes)
    assert axes.has_data()


def test_japanese_names_and_dollars_have_glyphs(collected: Collected, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        told = save_figures(collected, tmp_path, "png", ["heat-map", "seeds", "scores"])
    assert not [one for one in told if one.why]
    assert (tmp_path / "scores-日本語モデル_x_1_-ja104.png").stat().st_size > 5000


def test_lines_are_the_seeds_and_bars_sum_to_one(shown: FigureInput) -> None:
    axes = FIGURES["roc"].draw(Figure().add_subplot(), shown)
    assert [line.get_label() for line in axes.lines[:3]] == ["seed 0", "seed 1", "seed 2"]
    curves = make_cell_curves(shown.scores.cells[shown.key])
    assert curves.negatives.sum() == pytest.approx(1) and curves.positives.sum() == pytest.approx(1)
    areas = [np.trapezoid(one.roc[1], one.roc[0]) for one in curves.runs]
    rows = shown.collected.table.to_pylist()
    expected = [r["auroc"] for r in rows if (r["base_model"], r["pattern"]) == shown.key]
    assert areas == pytest.approx(expected)  # of scikit-learn's roc_auc_score


def test_means_of_the_heat_map(shown: FigureInput) -> None:
    axes = FIGURES["heat-map"].draw(Figure().add_subplot(), shown)
    texts = [text.get_text() for text in axes.texts]
    assert texts == [f"{cell.mean:.3f}" for cell in shown.cells]


def test_thin_keeps_both_ends_and_blocks_the_mean() -> None:
    points = np.arange(1000.0)
    assert thin(points, 10)[[0, -1]].tolist() == [0, 999] and len(thin(points, 10)) == 10
    assert thin(points[:5], 10).tolist() == points[:5].tolist()
    assert block_means(points, 10).mean() == pytest.approx(points.mean())
    assert len(block_means(points, 10)) == 10


def test_a_figure_that_cannot_be_drawn_has_the_reason(tmp_path: Path) -> None:
    uri = make_page_results(tmp_path / "r", ["other"], ["ja16"], seeds=[0])
    drawn = {one.name: one for one in draw_figures(collect(uri))}
    assert drawn["paper-f1"].why == "the paper has none of the cells with a value"
    assert "not tested in several languages" in drawn["languages-f1"].why
    assert drawn["roc-other-ja16"].figure is not None


@pytest.mark.parametrize("image_format", ["svg", "png", "pdf"])
def test_the_same_results_give_the_same_files(
    collected: Collected, tmp_path: Path, image_format: str
) -> None:
    for folder in ("a", "b"):
        save_figures(collected, tmp_path / folder, image_format, ["seeds"])
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == [f"seeds-auroc.{image_format}", f"seeds-f1.{image_format}"]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_from_the_command_line(
    collected: Collected, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "figures")
    assert main(["figures", collected.uri, "--out", out, "--kinds", "paper", "roc"]) == OK
    assert capsys.readouterr().out == f"6 figures in {out}\n"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--kinds", "rock"], "unknown figure 'rock'. Did you mean 'roc'?"),
        (["--format", "gif"], "unknown format 'gif'. Did you mean 'pdf'? Known: pdf, png, svg."),
    ],
)
def test_bad_input_is_one_sentence(
    collected: Collected, options: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["figures", collected.uri, "--out", "/nowhere/x", *options]) == BAD_INPUT
    assert told.split(" Did")[0] in capsys.readouterr().err


def test_nothing_done_is_told(tmp_path: Path) -> None:
    location = make_results(tmp_path / "r", make_plan())
    save_failed(location, "elyza", "ja16", 0, "out of memory")
    with pytest.raises(InputError, match="no trial is done"):
        list(draw_figures(collect(location)))
