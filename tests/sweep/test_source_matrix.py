"""The matrix of source and test languages, as table, figure and command."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score
from source_sweep import LANGS, write_experiment

from xlt.analysis.languages.matrix import MatrixRow, find_source_matrix, has_sources
from xlt.analysis.languages.matrix_table import make_matrix_table
from xlt.analysis.trials.collect import collect
from xlt.data.core.errors import InputError
from xlt.sweep.cli.main import main


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_experiment(tmp_path_factory.mktemp("sources"))


def run(file: Path, folder: Path, *settings: str) -> str:
    options = [part for setting in settings for part in ("--set", setting)]
    where = ["--results", str(folder), "--backend", "inline"]
    assert main(["run", str(file), *where, *options]) == 0
    return str(folder)


@pytest.fixture(scope="module")
def results(file: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Each trial tested in its target language."""
    return run(file, tmp_path_factory.mktemp("own") / "r")


@pytest.fixture(scope="module")
def in_all(file: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Each trial tested in all languages."""
    setting = f"sampling.test_langs=[{','.join(LANGS)}]"
    return run(file, tmp_path_factory.mktemp("all") / "r", setting)


def score(results: str, model: str, pattern: str, lang: str) -> tuple[float, float]:
    """Mean and std of AUROC, by scikit-learn from the predictions of the trials of a cell."""
    values = []
    for folder in Path(results, "trials").iterdir():
        spec = json.loads((folder / "trial.json").read_text())["spec"]
        if (spec["base_model"], spec["pattern"]["name"]) == (model, pattern):
            rows = pq.read_table(folder / "predictions.parquet").to_pylist()
            own = [row for row in rows if row["lang"] == lang]
            values.append(
                roc_auc_score([row["y_true"] for row in own], [row["y_score"] for row in own])
            )
    assert len(values) == 2
    return float(np.mean(values)), float(np.std(values, ddof=1))


def test_each_trial_stands_at_its_source_and_target_language(results: str) -> None:
    matrix = find_source_matrix(collect(results), "auroc")
    found = {tuple(row): {lang: cell.pattern for lang, cell in cells.items()}
             for row, cells in matrix.rows.items()}  # fmt: skip
    assert list(found.items()) == [
        (("grams", 0, 40, "en"), {"ja": "en:ja0", "de": "en:de0"}),
        (("grams", 0, 40, "de"), {"ja": "de:ja0", "de": "de:de0"}),
        (("grams", 8, 40, "en"), {"ja": "en:ja8", "de": "en:de8"}),
        (("grams", 8, 40, "de"), {"ja": "de:ja8"}),
        (("grams", 8, 42, "en+de"), {"ja": "mix"}),
        (("german", 0, 40, "de"), {"ja": "de:ja0", "de": "de:de0"}),
        (("german", 8, 40, "de"), {"ja": "de:ja8"}),
        (("german", 8, 0, ""), {"ja": "en:ja8", "de": "en:de8"}),
    ]
    assert not matrix.left_out
    for row, cells in matrix.rows.items():
        for lang, cell in cells.items():
            expected = score(results, row.base_model, cell.pattern, lang)
            assert (cell.mean, cell.std) == pytest.approx(expected, abs=1e-12)


def test_one_training_fills_the_line_of_its_source_language(in_all: str) -> None:
    matrix = find_source_matrix(collect(in_all), "auroc")
    assert matrix.langs == LANGS
    for source in ("en", "de"):
        cells = matrix.rows[MatrixRow("grams", 0, 40, source)]
        assert [cells[lang].pattern for lang in ("ja", "de")] == [f"{source}:ja0", f"{source}:de0"]
        for lang in LANGS:
            expected = score(in_all, "grams", f"{source}:ja0", lang)
            assert (cells[lang].mean, cells[lang].std) == pytest.approx(expected, abs=1e-12)
    few = matrix.rows[MatrixRow("grams", 8, 40, "en")]
    assert {lang: cell.pattern for lang, cell in few.items()} == {"ja": "en:ja8", "de": "en:de8"}


def test_the_table_marks_the_monolingual_reference(in_all: str) -> None:
    table = make_matrix_table(find_source_matrix(collect(in_all), "auroc"))
    assert table.heading == ("base model", "target rows", "source rows", "source", *LANGS)
    zero = {line[3]: line[4:] for line in table.lines if line[:2] == ("grams", "0")}
    for source, texts in zero.items():
        assert [lang for lang, text in zip(LANGS, texts, strict=True) if text.endswith("=")] == [
            source
        ]
    mix = next(line for line in table.lines if line[3] == "en+de")
    assert [text == "-" for text in mix[4:]] == [True, True, False, True]
    records = {(r["source_lang"], r["test_lang"]): r for r in table.records
               if r["base_model"] == "grams" and str(r["pattern"]).endswith("0")}  # fmt: skip
    assert records["en", "de"]["mean"] == pytest.approx(score(in_all, "grams", "en:ja0", "de")[0])


def test_the_command_has_the_matrix(
    results: str, in_all: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["transfer", results]) == 0  # without test languages there are no gaps
    text = capsys.readouterr().out
    assert "Line: language of the source rows." in text and "source minus it" not in text
    assert main(["transfer", in_all]) == 0
    text = capsys.readouterr().out
    assert "source minus it" in text
    assert main(["transfer", in_all, "--format", "csv"]) == 0
    records = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    own = (r for r in records if r["statement"] == "score" and r["base_model"] == "grams")
    gaps = {(r["pattern"], r["test_lang"]): float(r["difference"]) for r in own if r["difference"]}
    de, ja = (score(in_all, "grams", "de:ja0", lang)[0] for lang in ("de", "ja"))
    assert gaps["de:ja0", "ja"] == pytest.approx(de - ja, abs=1e-12)
    assert main(["transfer", results, "--only", "pattern=en:ja8"]) != 0


def test_the_figure_is_drawn_of_several_source_languages(
    in_all: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    from xlt.analysis.figures import FIGURES, save_figures
    from xlt.analysis.figures.style import FigureInput, use_style
    from xlt.analysis.trials.scores import load_scores

    use_style()
    collected = collect(in_all)
    shown = FigureInput(
        collected, "auroc", "AUROC", (), load_scores(collected), collected.plan.cells[0].key
    )
    axes = FIGURES["sources"].draw(Figure().add_subplot(), shown)
    matrix = find_source_matrix(collected, "auroc")
    means = [f"{cell.mean:.3f}" for cells in matrix.rows.values() for cell in cells.values()]
    texts = [text.get_text() for text in axes.texts]
    assert sorted(text for text in texts if text != "–") == sorted(means)
    assert len(axes.patches) == sum(row.is_same(lang) for row in matrix.rows for lang in LANGS)
    assert [one.why for one in save_figures(collected, tmp_path, "svg", ["sources"])] == ["", ""]
    one = collect(in_all, only="pattern=en:ja8")
    assert not has_sources(one) and not FIGURES["sources"].suits(one)
    with pytest.raises(InputError, match=r"give task\.source_lang a list of several"):
        find_source_matrix(one, "auroc")
