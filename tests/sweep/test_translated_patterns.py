"""Patterns with translations in an experiment: from the plan to tables, beside the plain ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from grids import load_grid
from tiny_data import WORDS, make_dataset
from tiny_translators import save_translator

from xlt.analysis.attributions.collect import load_attributions
from xlt.analysis.curves.learning_curves import make_learning_curves
from xlt.analysis.lit_export import lit_export
from xlt.analysis.trials.collect import collect
from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import Dataset
from xlt.data.sources.translations.add import Given, add_translations
from xlt.sweep.cli.main import main
from xlt.sweep.cli.models.predict import _describe_language
from xlt.sweep.experiment.experiment import load_experiment
from xlt.sweep.planning.gate import check_data
from xlt.sweep.planning.grid import Grid
from xlt.sweep.run import RunOutcome, run_sweep
from xlt.sweep.search.cells import make_search_cells, select_search_rows
from xlt.trainables.results.attributions import read_attributions
from xlt.trainables.results.result import Results
from xlt.trainables.spec.selection import parse_selection
from xlt.trainables.spec.trial_spec import TrialSpec

PATTERNS = ["ja0", "ja8", "ja0+tt", "ja8+tt", "ja0+tts", "ja0+te", "ja8+te"]
TO_JA = dict(zip(chain(*WORDS["en"]), chain(*WORDS["ja"]), strict=True))
TRANSLATED = TO_JA | {japanese: english for english, japanese in TO_JA.items()}


def without_parity() -> Dataset:
    """Rows whose numbers do not tell the label."""
    table = make_dataset().table
    texts = [text.split() for text in table["text"].to_pylist()]
    halved = [" ".join([str(int(words[0]) // 2), *words[1:3]]) for words in texts]
    column = pa.array(halved, pa.string())
    return Dataset.from_table(table.set_column(1, table.schema.field("text"), column))


DATASET = without_parity()


def translate(text: str) -> str:
    return " ".join(TRANSLATED.get(word, word) for word in text.split())


@pytest.fixture(scope="module")
def file(tiny_base: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("translated")
    texts, langs = (DATASET.table[name].to_pylist() for name in ("text", "lang"))
    table = DATASET.table
    for lang in ("en", "ja"):
        cells = [translate(t) if own != lang else None for t, own in zip(texts, langs, strict=True)]
        table = table.append_column(f"text_{lang}", pa.array(cells, pa.string()))
    pq.write_table(table, folder / "rows.parquet")
    values: dict[str, Any] = {
        "name": "translated",
        "data": {
            "source": "table", "path": str(folder / "rows.parquet"), "positive": ["1"],
            "leak_check": False,
            "columns": {"translations": {"ja": "text_ja", "en": "text_en"}},
        },
        "models": [
            {"name": "bert", "path": str(tiny_base("bert")), "learning_rate": 0.01},
            {"name": "ngram", "method": "ngram"},
            {"name": "ngram-ja", "method": "ngram", "languages": ["ja"]},
        ],
        "patterns": [{name: {"source_rows": 24}} for name in PATTERNS],
        "seeds": [0, 1],
        "sampling": {"test_rows": 20},
        "training": {"num_train_epochs": 1, "batch_size": 8},
        "accept_findings": ["cues"],
        "storage": {"keep_models": "all"},
        "explain": {"method": "ig", "num_steps": 2, "rows": 2},
    }  # fmt: skip
    path = folder / "translated.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def specs_of(grid: Grid, model: str, seed: int = 0) -> dict[str, TrialSpec]:
    return {
        spec.pattern.name: spec
        for spec in grid.specs
        if (spec.base_model, spec.seed) == (model, seed)
    }


def test_plain_trials_keep_their_ids(file: Path) -> None:
    """Neither other patterns nor translations in the data change them."""
    plain = '{"ja0": {"source_rows": 24}}', '{"ja8": {"source_rows": 24}}'
    without = load_grid(file, f"patterns=[{', '.join(plain)}]", "data.columns={}")
    ids = {spec.trial_id for spec in without.specs}
    every = load_grid(file)
    assert ids == {s.trial_id for s in every.specs if s.pattern.translate is None}
    assert without.dataset.fingerprint == every.dataset.fingerprint
    assert len({s.trial_id for s in every.specs}) == len(every.specs)


def test_the_same_rows_are_read_in_translation(outcome: RunOutcome) -> None:
    results, specs = outcome.results, specs_of(outcome.grid, "bert")
    rows = {n: results.read_table(s.trial_id, "train_rows").to_pydict() for n, s in specs.items()}
    tests = {n: results.read_table(s.trial_id, "predictions").to_pydict() for n, s in specs.items()}
    assert {tuple(test["id"]) for test in tests.values()} == {tuple(tests["ja0"]["id"])}
    assert {lang for n, t in tests.items() for lang in t["lang"] if n.endswith("te")} == {"en"}
    assert "translated" not in rows["ja0"] and "translated" not in rows["ja8"]
    source, target = rows["ja0"]["id"], rows["ja8"]["id"][24:]
    assert rows["ja0+tt"]["id"] == source == rows["ja0+te"]["id"]
    assert rows["ja8+tt"]["id"] == rows["ja8+te"]["id"] == source + target
    assert rows["ja0+tts"]["id"] == source + source
    marks = {name: rows[name]["translated"] for name in PATTERNS[2:]}
    assert marks == {
        "ja0+tt": [True] * 24, "ja8+tt": [True] * 24 + [False] * 8,
        "ja0+tts": [False] * 24 + [True] * 24, "ja0+te": [False] * 24,
        "ja8+te": [False] * 24 + [True] * 8,
    }  # fmt: skip
    langs = {name: "".join(lang[0] for lang in rows[name]["lang"]) for name in PATTERNS[2:]}
    assert langs == {
        "ja0+tt": "j" * 24, "ja8+tt": "j" * 32, "ja0+tts": "e" * 24 + "j" * 24,
        "ja0+te": "e" * 24, "ja8+te": "e" * 32,
    }  # fmt: skip
    assert specs["ja0+tts"].num_steps == 2 * specs["ja0"].num_steps


def test_exact_translations_help_ngrams(outcome: RunOutcome) -> None:
    """The languages share no word: without translations n-grams only rank numbers."""
    means: dict[str, float] = {}
    for name in PATTERNS:
        rows = [r for r in collect(outcome.results.root).rows if r.cell == ("ngram", name)]
        means[name] = sum(row.metrics["auroc"] for row in rows) / len(rows)
    assert means["ja0"] < 0.7
    assert min(means[name] for name in ("ja0+tt", "ja0+tts", "ja0+te")) > 0.85


def test_a_monolingual_model_trains_on_translations_only(outcome: RunOutcome) -> None:
    specs = specs_of(outcome.grid, "ngram-ja")
    assert {*specs} == {"ja8", "ja0+tt", "ja8+tt", "ja0+tts"}
    assert specs["ja0+tts"].pattern.translate == "train"
    rows = outcome.results.read_table(specs["ja0+tts"].trial_id, "train_rows")
    assert rows["translated"].to_pylist() == [True] * 24
    skipped = {str(cell.key): cell.skipped for cell in outcome.grid.cells if cell.skipped}
    assert skipped["ngram-ja x ja8+te"] == (
        "ngram-ja does not train on en and ja8+te reads en texts only"
    )
    assert not outcome.ledger.failed and len(outcome.ledger.done) == 2 * (7 + 7 + 4)


def test_the_plan_counts_translated_rows(
    file: Path, outcome: RunOutcome, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", str(file), "--results", outcome.results.root]) == 0
    printed = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    assert "bert ja8+tt full 24+8 0.01 2 2 24 rows translated en -> ja" in lines
    assert "ngram ja0+tts ngram 48+0 - 2 2 24 rows translated en -> ja" in lines
    assert "ngram ja8+te ngram 24+8 - 2 2 8 training and 20 test rows translated ja -> en" in lines
    assert (
        "Translations: ja0+te, ja8+te: trained on the source rows, tested on translations of the "
        "test rows (ja -> en by column text_en)." in lines
    )
    assert ", 0 to run" in printed


def test_missing_translations_stop_the_plan(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = yaml.safe_load(file.read_text())
    values["data"]["columns"] = {"translations": {"en": "text_en"}}
    few = tmp_path / "few.yaml"
    few.write_text(yaml.safe_dump(values, sort_keys=False))
    assert main(["run", str(few), "--results", str(tmp_path / "r"), "--backend", "inline"]) == 2
    error = capsys.readouterr().err
    assert error.count("drawn en rows have no translation into ja") == 3  # once a pattern
    assert (
        "ja0+tt: 24 of 24 drawn en rows" in error and "`translate` in `xlt data prepare`" in error
    )
    assert not (tmp_path / "r" / "trials").exists()


def test_tables_and_comparisons_have_the_patterns(
    outcome: RunOutcome, capsys: pytest.CaptureFixture[str]
) -> None:
    root = outcome.results.root
    assert main(["report", root, "--intervals"]) == 0
    printed = capsys.readouterr().out
    header = next(line for line in printed.splitlines() if "ja0+tts" in line and ":" not in line)
    assert header.split() == ["base", "model", *PATTERNS]
    assert "ja0+tt, ja8+tt: trained on translations of the source rows" in printed
    assert main(["compare", root, "--pairs", "ngram/ja0+tt:ngram/ja0"]) == 0
    assert "ja0+tt" in capsys.readouterr().out
    assert main(["boundary", root]) == 0
    capsys.readouterr()


def test_curves_of_translations_are_curves_of_their_own(outcome: RunOutcome) -> None:
    curves = make_learning_curves(collect(outcome.results.root))
    names = {curve.name: [p.num_target_rows for p in curve.points] for curve in curves.curves}
    assert names["bert"] == names["bert+tt"] == names["bert+te"] == [0, 8]
    assert names["bert+tts"] == [0] and not curves.left_out


def test_explanations_are_those_of_the_texts_that_were_read(outcome: RunOutcome) -> None:
    results, specs = outcome.results, specs_of(outcome.grid, "bert")
    texts = {row["id"]: row["text"] for row in DATASET.table.to_pylist()}
    for name, expected in (("ja0+tt", lambda text: text), ("ja0+te", translate)):
        table = read_attributions(results, specs[name].trial_id, "ig").table
        assert table is not None
        for row in table.to_pylist():
            assert row["text"] == expected(texts[row["id"]])
            assert row["lang"] == ("en" if name == "ja0+te" else "ja")
    loaded = load_attributions(collect(results.root), method="ig", unit="word", min_count=1)
    assert "carbon" not in "".join(loaded.cells["bert", "ja0+tt"].tokens)
    english = "".join(loaded.cells["bert", "ja0+te"].tokens)
    assert any(word in english for word in chain(*WORDS["en"]))


def test_a_kept_model_is_explained_later_on_the_same_texts(
    file: Path, outcome: RunOutcome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = str(shutil.copytree(outcome.results.root, tmp_path / "copy"))
    command = ["explain", copy, "--method", "occlusion", "--rows", "2"]
    assert main([*command, "--only", "model=bert,pattern=ja0+te", "--backend", "inline"]) == 0
    specs = specs_of(outcome.grid, "bert")
    found = read_attributions(Results(copy), specs["ja0+te"].trial_id, "occlusion")
    assert found.table is not None and not found.error
    assert set(found.table["lang"].to_pylist()) == {"en"}


def test_lit_leaves_out_trials_that_read_other_texts(outcome: RunOutcome) -> None:
    export = lit_export(collect(outcome.results.root, only="model=bert"), method="ig", seeds=[0])
    shown = [model["name"] for model in export.manifest["models"]]
    assert any("ja0+tt" in name for name in shown) and not any("+te" in name for name in shown)
    assert (
        sum("reads translations of the test rows" in note for note in export.manifest["notes"]) == 2
    )


def test_new_texts_must_be_translated_for_translate_test(outcome: RunOutcome) -> None:
    specs = specs_of(outcome.grid, "bert")
    assert _describe_language(specs["ja0+tt"]) == ""
    assert _describe_language(specs["ja0+te"]) == (
        "ja0+te was trained and tested on en texts: translate ja texts into en before you tag "
        "them, because `xlt predict` reads texts as they are."
    )


def test_a_search_reads_translations_of_its_own_rows(file: Path) -> None:
    grid = load_grid(file, "search={dev: source, dev_rows: 8, seeds: [9]}")
    rows = select_search_rows(grid)
    cells = make_search_cells(grid, rows, parse_selection("model=bert", ["bert"], PATTERNS))
    by_name = {cell.cell.pattern.name: cell.templates[0] for cell in cells}
    assert by_name["ja0"].translations is None
    assert by_name["ja0+tt"].translations not in (
        None,
        specs_of(grid, "bert")["ja0+tt"].translations,
    )
    from xlt.trainables.trial.rows import draw_rows

    train, dev = draw_rows(rows, by_name["ja0+tt"])
    assert set(train["lang"].to_pylist()) == set(dev["lang"].to_pylist()) == {"ja"}
    _, plain = draw_rows(rows, by_name["ja0"])
    assert dev["id"].to_pylist() == plain["id"].to_pylist()


def test_the_audit_finds_translations_that_are_none(file: Path, tmp_path: Path) -> None:
    values = yaml.safe_load(file.read_text())
    table = pq.read_table(values["data"]["path"])
    copied = table.set_column(table.schema.get_field_index("text_ja"), "text_ja", table["text"])
    pq.write_table(copied, tmp_path / "rows.parquet")
    values["data"]["path"] = str(tmp_path / "rows.parquet")
    bad = tmp_path / "bad.yaml"
    bad.write_text(yaml.safe_dump(values, sort_keys=False))
    found = {f.message: f.severity for f in check_data(load_grid(bad)) if f.about == "translations"}
    assert any("translations en -> ja equal their text" in message for message in found)
    assert {severity for message, severity in found.items() if "equal their" in message} == {
        "warning"
    }
    plain = '{"ja0": {"source_rows": 24}}'
    assert not [
        f for f in check_data(load_grid(bad, f"patterns=[{plain}]")) if f.about == "translations"
    ]


@pytest.mark.ray
def test_on_ray_the_bytes_are_the_same(
    file: Path, outcome: RunOutcome, ray_address: str, tmp_path: Path
) -> None:
    experiment = load_experiment(file)
    only = "model=ngram,pattern=ja0+tt,pattern=ja8+te"
    ran = run_sweep(
        experiment, str(tmp_path / "ray"), backend="ray", address=ray_address, only=only
    )
    assert len(ran.ledger.done) == 4
    for trial_id in ran.ledger.done:
        for name in ("predictions", "train_rows"):
            assert ran.results.read_table(trial_id, name).equals(
                outcome.results.read_table(trial_id, name)
            )


def test_rows_that_replace_leaks_are_translated_too(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A translator whose first translation is a test text."""
    values = yaml.safe_load(file.read_text())
    drawn = load_grid(file).draws[0]
    tested = DATASET.rows(drawn.test[:1])["text"][0].as_py()
    leak, done = drawn.source[3], list[set[str]]()

    def translate_rows(dataset: Dataset, settings: Any, ids: set[str], progress: Any) -> Any:
        new = sorted(ids - dataset.translations.find(settings.direction).keys())
        done.append({*new})
        given = [Given(i, "ja", tested if i == leak else f"text {i}", None, "t", i) for i in new]
        return add_translations(dataset, given, "test"), SimpleNamespace(describe=lambda: "")

    monkeypatch.setattr("xlt.trainables.translation.step.translate_rows", translate_rows)
    block = {"model": "any", "from": "en", "to": "ja"}
    data = {**values["data"], "columns": {}, "translate": block}
    values["patterns"] = [{name: {"source_rows": 24}} for name in ("ja0", "ja0+tt")]
    for name, content in (("source.yaml", data), ("asked.yaml", values)):
        (tmp_path / name).write_text(yaml.safe_dump(content, sort_keys=False))
    out = str(tmp_path / "prepared")
    command = ["data", "prepare", str(tmp_path / "source.yaml"), "--out", out]
    assert main([*command, "--for", str(tmp_path / "asked.yaml")]) == 0
    assert [len(ids) for ids in done] == [24, 1] and done[0] == {*drawn.source}
    grid = load_grid(tmp_path / "asked.yaml", f"data={{source: prepared, path: {out}}}")
    (other,) = ({*draw.source} for draw in grid.draws if {*draw.source} != {*drawn.source})
    assert other == ({*drawn.source} - {leak}) | done[1]


def test_prepare_translates_and_the_experiment_runs(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole way with a local translator, whose random words are no help."""
    monkeypatch.setenv("XLT_CACHE", str(tmp_path / "cache"))
    values = yaml.safe_load(file.read_text())
    model = save_translator("mbart50", tmp_path / "model")
    block = {"model": str(model), "from": "en", "to": "ja", "max_length": 24}
    data = {**values["data"], "columns": {}, "translate": block}
    source, asked = tmp_path / "source.yaml", tmp_path / "asked.yaml"
    source.write_text(yaml.safe_dump(data, sort_keys=False))
    prepared = {"source": "prepared", "path": str(tmp_path / "prepared")}
    values |= {
        "data": prepared, "patterns": [{n: {"source_rows": 24}} for n in ("ja0", "ja0+tt")],
        "models": values["models"][1:2],
    }  # fmt: skip
    asked.write_text(yaml.safe_dump(values, sort_keys=False))
    command = ["data", "prepare", str(source), "--out", prepared["path"]]
    assert main([*command, "--for", str(asked)]) == 0
    first = capsys.readouterr().out
    assert "Translated en -> ja: 24 rows, 24 different texts, 0 of them from the cache" in first
    assert main(command) == 0
    assert "60 rows, 60 different texts, 24 of them from the cache" in capsys.readouterr().out
    assert main(["data", "show", prepared["path"]]) == 0
    shown = capsys.readouterr().out
    assert "60 translations en -> ja by sha256:" in shown
    ran = run_sweep(load_experiment(asked), str(tmp_path / "r"), backend="inline")
    assert len(ran.ledger.done) == 4
    values["data"] = data
    asked.write_text(yaml.safe_dump(values, sort_keys=False))
    with pytest.raises(InputError, match="translate is a step of `xlt data prepare`"):
        load_experiment(asked)
    assert main(["data", "prepare", str(source), "--out", str(tmp_path / "x"), "--set",
                 "translate=[]", "--for", str(asked)]) == 2  # fmt: skip
    assert "has no translate block" in capsys.readouterr().err
