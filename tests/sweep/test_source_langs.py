"""Source languages as an axis of an experiment: what is planned, run, searched and named."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from grids import load_grid
from source_sweep import MIX, write_experiment

from xlt.analysis.boundary.measure import boundary
from xlt.analysis.comparisons.family import compare_cells, list_pairs
from xlt.analysis.curves.learning_curves import make_learning_curves
from xlt.analysis.trials.collect import collect
from xlt.analysis.trials.scores import load_scores
from xlt.analysis.trials.source_langs import describe_source_langs
from xlt.data.core.errors import InputError
from xlt.sweep.cli.main import main
from xlt.sweep.experiment.experiment import Experiment, load_experiment
from xlt.sweep.plan_text.text import describe_plan
from xlt.sweep.planning.test_langs import share_training
from xlt.sweep.planning.trained_rows import restrict_patterns
from xlt.sweep.search.cells import make_search_cells, select_search_rows
from xlt.trainables.models.base_models import BaseModel
from xlt.trainables.results.result import Results
from xlt.trainables.spec.selection import EVERY_CELL

QUICKSTART_IDS = "fc442e3452060b543fafaa1601fcd49521adecb1fb8054e6801256fb7f83db19"
"""SHA-256 of the trial ids of the shipped quickstart before source languages were an axis."""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_experiment(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def results(file: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("results") / "r")
    assert main(["run", str(file), "--results", folder, "--backend", "inline"]) == 0
    return folder


def test_one_source_language_changes_nothing(file: Path) -> None:
    grid = load_grid("quickstart")
    ids = "\n".join(spec.trial_id for spec in grid.specs)
    assert hashlib.sha256(ids.encode()).hexdigest() == QUICKSTART_IDS
    assert "source_lang" not in grid.plan().model_dump_json()
    german = ["patterns=[{ja8: {source_rows: 40}}]", "models=[{name: grams, method: ngram}]"]
    one = load_grid(file, "task.source_lang=de", *german)
    listed = load_grid(file, "task.source_lang=[German]", *german)
    own = load_grid(
        file,
        "task.source_lang=en",
        german[1],
        "patterns=[{ja8: {source_rows: 40, source_lang: de}}]",
    )
    assert one.specs == listed.specs == own.specs  # equal trials have equal ids
    assert one.specs[0].source_lang == "de" and one.specs[0].pattern.source_lang is None


def test_every_pattern_exists_once_for_each_source_language(file: Path) -> None:
    experiment = load_experiment(file)
    names = [pattern.name for pattern in experiment.patterns]
    assert names == [f"{lang}:{name}" for name in ("ja0", "ja8", "de0", "de8")
                     for lang in ("en", "de")] + ["mix"]  # fmt: skip
    assert Experiment.from_yaml(experiment.to_yaml(), "again") == experiment
    bare = load_experiment(file, ["patterns=[ja0, {ja64: {source_rows: 0}}]"])
    assert [pattern.name for pattern in bare.patterns] == ["en:ja0", "de:ja0", "ja64"]
    chosen = load_experiment(file, ["task.source_lang=en", "patterns=[ja16, German:ja16]"])
    assert [chosen.find_source_lang(pattern) for pattern in chosen.patterns] == ["en", "de"]
    override = "overrides=[{match: {pattern: 'deu:ja0'}, learning_rate: 0.1}]"
    with_model = load_experiment(file, [override, "models=[{name: m, path: any/model}]"])
    assert with_model.overrides[0].match.pattern == "de:ja0"
    with pytest.raises(InputError, match=r"unknown pattern 'ja0'.*en:ja0"):
        load_experiment(file, [override.replace("'deu:ja0'", "ja0")])


def test_the_plan_says_which_cells_cannot_exist(file: Path) -> None:
    grid = load_grid(file)
    skipped = {str(cell.key): cell.skipped for cell in grid.cells if cell.skipped}
    assert skipped == {
        "grams x de:de8": "source and target rows of de:de8 would be in one language, de",
        "german x en:ja0": "german does not train on en and en:ja0 has no ja rows to train on",
        "german x en:de0": "german does not train on en and en:de0 has no de rows to train on",
        "german x de:de8": "source and target rows of de:de8 would be in one language, de",
        "german x mix": "german trains on no source rows, so this is en:ja8",
    }
    specs = {str(cell.key): cell.specs[0] for cell in grid.cells if cell.specs}
    assert specs["grams x de:ja8"].source_lang == "de"
    assert specs["grams x mix"].source_lang == ("en", "de")
    assert specs["german x en:ja8"].pattern.source_rows == 0
    assert specs["german x de:ja8"].pattern.source_rows == 40
    assert specs["grams x de:ja8"].trial_id.startswith("grams-de-ja8-s0-")
    text = describe_plan(grid, Results("nowhere"))
    assert "Source rows in 2 languages (en, de)" in text
    assert "source rows divided evenly over en, de" in text
    other = load_grid(file, "patterns=[{mix: " + json.dumps(MIX) + "}]")
    text = describe_plan(other, Results("nowhere"))
    assert "no source rows, because the model does not know en" in text
    planned = {cell.pattern: cell.source_langs for cell in grid.plan().cells}
    assert planned["de:ja0"] == ("de",) and planned["mix"] == ("en", "de")


def test_one_source_language_keeps_the_remedy(file: Path) -> None:
    for name in ("de0", "de8"):
        with pytest.raises(InputError, match="both 'de'; set source_rows: 0 and give the number"):
            load_grid(file, "task.source_lang=de", f"patterns=[{name}]")


def test_trainings_are_shared_within_a_source_language(file: Path) -> None:
    grid = load_grid(file, "sampling.test_langs=[ja, fr, de]")
    served = {cell.pattern.name: [pattern.name for pattern in cell.serves]
              for cell in grid.cells if cell.model.name == "grams"}  # fmt: skip
    assert served["en:ja0"] == ["en:ja0", "en:de0"] and served["de:ja0"] == ["de:ja0", "de:de0"]
    assert "de:de0" not in served and served["de:ja8"] == ["de:ja8"]
    # de:ja0 and de:de0 train on the same rows, so that sharing loses nothing.
    apart = load_grid(
        file, "sampling.test_langs=[ja, fr, de]", "patterns=[{de0: {source_rows: 40}}]"
    )
    assert {draw.source for draw in apart.draws} <= {draw.source for draw in grid.draws}
    text = describe_plan(load_grid(file), Results("nowhere"))
    assert "de:ja0, de:de0 train on source rows alone; `--set sampling.test_langs=[ja,de]`" in text


def test_prompts_exist_once(file: Path) -> None:
    experiment = load_experiment(file)
    model = BaseModel(name="asked", path="any/model", method="prompt")
    trained = restrict_patterns(experiment, model)
    kept = [pattern.name for pattern, read in trained.items() if not isinstance(read, str)]
    assert kept == ["en:ja0", "en:ja8", "en:de0", "en:de8"]
    assert "this is en:ja8" in str(trained[experiment.patterns[3]])
    assert share_training(experiment, model).keys() == trained.keys()


def test_trials_train_on_rows_of_their_source_language(results: str) -> None:
    trained: dict[str, Counter[str]] = {}
    for folder in Path(results, "trials").iterdir():
        spec = json.loads((folder / "trial.json").read_text())["spec"]
        rows = pq.read_table(folder / "train_rows.parquet").to_pylist()
        name = f"{spec['base_model']} x {spec['pattern']['name']}"
        trained[name] = Counter(row["lang"] for row in rows)
        assert Counter(row["label"] for row in rows) == dict.fromkeys((0, 1), len(rows) // 2)
    assert trained["grams x en:ja8"] == {"en": 40, "ja": 8}
    assert trained["grams x de:ja8"] == {"de": 40, "ja": 8}
    assert trained["grams x mix"] == {"en": 22, "de": 20, "ja": 8}
    assert trained["german x en:ja8"] == {"ja": 8}
    assert trained["german x de:ja8"] == {"de": 40, "ja": 8}
    assert trained["grams x de:de0"] == {"de": 40}


def test_cells_are_selected_by_name(results: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert collect(results, only="model=grams,pattern=de:ja8").plan.patterns == ["de:ja8"]
    pair = "grams/en:ja8:grams/de:ja8"
    assert main(["compare", results, "--pairs", pair, "--resamples", "1000"]) == 0
    assert "grams/de:ja8" in capsys.readouterr().out
    assert main(["status", results]) == 0


def test_reports_group_and_pair_cells_of_one_source_language(
    results: str, capsys: pytest.CaptureFixture[str]
) -> None:
    collected = collect(results)
    plan, scores = collected.plan, load_scores(collected)
    pairs = {tuple(key.path for key in pair) for pair in list_pairs(plan, scores, "pattern")}
    assert pairs == {
        ("grams/en:ja0", "grams/en:ja8"), ("grams/de:ja0", "grams/de:ja8"),
        ("grams/en:de0", "grams/en:de8"), ("german/de:ja0", "german/de:ja8"),
    }  # fmt: skip
    assert "base model and source language" in compare_cells(collected, num_resamples=1000).pairs
    curves = {
        (c.name, c.target_lang): len(c.points) for c in make_learning_curves(collected).curves
    }
    assert curves == {
        ("en:grams", "ja"): 2, ("de:grams", "ja"): 2, ("en:grams", "de"): 2, ("de:grams", "de"): 1,
            ("en+de:grams", "ja"): 1, ("german", "ja"): 1, ("de:german", "ja"): 2,
            ("german", "de"): 1, ("de:german", "de"): 1,
    }  # fmt: skip
    references = {own.measures["f1"].key.path: own.reference for own in boundary(collected)}
    assert references["grams/en:ja0"] == "en:ja8" and references["grams/de:ja0"] == "de:ja8"
    assert references["grams/mix"] == "mix"
    sentence = "A pattern begins with the language of its source rows; mix: en+de."
    assert describe_source_langs(plan)[0].startswith(sentence)
    for command in ("report", "curves", "boundary", "compare"):
        options = ["--resamples", "1000"] if command == "compare" else []
        assert main([command, results, *options]) == 0
        assert sentence in capsys.readouterr().out


def test_a_search_has_dev_rows_of_each_source_language(file: Path) -> None:
    pinned = f"path: any/model, revision: {'a' * 40}"
    grid = load_grid(
        file,
        "models=[{name: m, kind: encoder, method: full, " + pinned + "}]",
        "search={dev: source, dev_rows: 20, seeds: [7]}",
    )
    rows = select_search_rows(grid)
    assert not grid.test_ids & {*rows.index}
    cells = make_search_cells(grid, rows, EVERY_CELL)
    langs = {cell.name: cell.templates[0].source_lang for cell in cells}
    assert langs["m x de:ja8"] == "de" and langs["m x mix"] == ("en", "de")
