"""Test languages of an experiment: what is trained once, how it is planned, run and reported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from draw_rows import make_rows
from grids import load_grid
from sklearn.metrics import f1_score, roc_auc_score
from tiny_data import with_german

from xlt.analysis.lit_export import MANIFEST
from xlt.analysis.metrics.operating_points import choose_threshold, parse_rule
from xlt.analysis.trials.collect import collect
from xlt.analysis.trials.scores import load_scores
from xlt.analysis.trials.test_lang import by_test_lang
from xlt.data.core.errors import InputError
from xlt.data.dataset.patterns import Sampling
from xlt.data.dataset.schema import HEADLINE_SCHEMA, Dataset
from xlt.sweep.cli.main import main
from xlt.sweep.experiment.experiment import load_experiment
from xlt.sweep.plan_text.text import describe_plan
from xlt.sweep.planning import extensions
from xlt.sweep.planning.test_langs import share_training
from xlt.sweep.predict.threshold import choose_on_test_rows
from xlt.trainables.results.attributions import read_attributions
from xlt.trainables.results.find_trial import FinishedTrial
from xlt.trainables.results.result import Results
from xlt.trainables.spec.trial_spec import TrialSpec

LANGS = ("ja", "en", "de")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment on three languages, whose n-grams the label follows."""
    folder = tmp_path_factory.mktemp("langs")
    rows = make_rows(200, LANGS)
    for row in rows:
        noise = int(row["id"][3:]) % 7 == 0
        row["text"] += " risk" if (row["label"] == 1) != noise else " sport"
    pq.write_table(pa.Table.from_pylist(rows, schema=HEADLINE_SCHEMA), folder / "rows.parquet")
    values: dict[str, Any] = {
        "name": "langs",
        "data": {
            "source": "table",
            "path": str(folder / "rows.parquet"),
            "positive": [1],
            "leak_check": False,
        },
        "models": [{"name": "grams", "method": "ngram"}],
        "patterns": [{name: {"source_rows": 40}} for name in ("ja0", "de0", "ja8", "de8")],
        "seeds": [0, 1],
        "draws": "per_seed",
        "accept_findings": ["cues", "language", "near_duplicates", "duplicates"],
        "sampling": {"test_rows": 40, "test_langs": ["ja", "en"]},
    }
    path = folder / "langs.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def results(file: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("results") / "r")
    assert main(["run", str(file), "--results", folder, "--backend", "inline"]) == 0
    return folder


def test_patterns_without_target_rows_are_one_training(file: Path) -> None:
    grid = load_grid(file)
    assert grid.experiment.sampling.test_langs == ("ja", "en", "de")  # a target language joins
    assert [cell.pattern.name for cell in grid.cells] == ["ja0", "ja8", "de8"]
    assert len(grid.specs) == 6
    text = describe_plan(grid, Results("nowhere"))
    assert "Tested in 3 languages (ja, en, de) on 120 rows" in text and "is ja0 and de0" in text
    apart = load_grid(file, "sampling.test_langs=null")
    assert len(apart.specs) == 8
    assert "sampling.test_langs=[ja,de]` trains them once" in describe_plan(
        apart, Results("nowhere")
    )
    override = "overrides=[{match: {pattern: de0}, learning_rate: 0.1}]"
    experiment = load_experiment(file, [override, "models=[{name: m, path: any/model}]"])
    patterns = share_training(experiment, experiment.models[0])
    assert [p.name for p in patterns] == ["ja0", "de0", "ja8", "de8"]  # de0 has its own rate


def test_all_names_the_languages_with_every_class(file: Path) -> None:
    assert load_grid(file, "sampling.test_langs=all").experiment.sampling.test_langs == (
        "ja", "de", "en",
    )  # fmt: skip


def test_each_language_has_the_metrics_of_its_rows(results: str) -> None:
    for folder in Path(results, "trials").iterdir():
        record = json.loads((folder / "trial.json").read_text())
        rows = pq.read_table(folder / "predictions.parquet").to_pylist()
        assert list(record["metrics_by_lang"]) == [*LANGS[:2], "de"]
        assert (
            record["metrics"] == record["metrics_by_lang"][record["spec"]["pattern"]["target_lang"]]
        )
        for lang, metrics in record["metrics_by_lang"].items():
            own = [row for row in rows if row["lang"] == lang]
            truth, scores = ([row[name] for row in own] for name in ("y_true", "y_score"))
            assert len(own) == record["test_rows_by_lang"][lang] == 40
            assert metrics["auroc"] == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
            decided = [score >= 0.5 for score in scores]
            assert metrics["f1"] == pytest.approx(f1_score(truth, decided), abs=1e-12)


def test_views_of_a_language(results: str) -> None:
    collected = collect(results)
    assert [*map(str, collected.plan.patterns)] == ["ja0", "ja8", "de8"]
    views = {str(view.test_lang): view for view in by_test_lang(collected)}
    assert list(views) == ["ja", "en", "de"]
    assert views["de"].plan.patterns == ["de0", "ja8", "de8"]  # ja0 under its German name
    for lang, view in views.items():
        scores = load_scores(view)
        assert not scores.left_out
        for row in view.rows:
            cell = scores.cells[row.cell]
            assert all(row_id.startswith(f"{lang}-") for row_id in cell.ids)
            number = cell.runs.index(row.run)
            expected = roc_auc_score(cell.y_true, cell.scores[number])
            assert row.metrics["auroc"] == pytest.approx(expected, abs=1e-12)
    own = {row.trial_id: row.metrics for row in collected.rows}
    assert all(own[r.trial_id] == r.metrics for r in views["ja"].rows if r.cell.pattern == "ja0")
    with pytest.raises(InputError, match=r"--test-lang: unknown test language 'fr'.*de, en, ja"):
        collect(results, test_lang="fr")
    assert collect(results, only="pattern=de0", test_lang="German").plan.patterns == ["de0"]


def test_reports_of_each_language(results: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", results, "--intervals", "--test-lang", "de"]) == 0
    text = capsys.readouterr().out
    assert "Tested in de." in text and "base model  de0" in text and "ja0" not in text
    assert main(["report", results, "--format", "csv"]) == 0
    lines = [line.split(",") for line in capsys.readouterr().out.splitlines()]
    assert lines[0][-1] == "test_lang"
    cells = {(line[1], line[2], line[-1]) for line in lines[1:]}
    patterns = {
        "ja": ("ja0", "ja8", "de8"),
        "en": ("ja0", "ja8", "de8"),
        "de": ("de0", "ja8", "de8"),
    }
    assert cells == {
        (name, metric, lang)
        for lang, names in patterns.items()
        for name in names
        for metric in ("f1", "auroc")
    }
    assert main(["compare", results, "--test-lang", "en", "--resamples", "1000"]) == 0
    assert "Tested in en." in capsys.readouterr().out
    for command in ("boundary", "curves"):
        assert main([command, results, "--test-lang", "en"]) == 0
        assert "Tested in en." in capsys.readouterr().out
    assert main(["status", results]) == 0
    assert main(["lit", "export", results, "--test-lang", "en", "--out", f"{results}-lit"]) == 0
    manifest = json.loads(Path(f"{results}-lit", MANIFEST).read_text())
    assert [dataset["language"] for dataset in manifest["datasets"]] == ["en"]


def test_a_rule_chooses_on_the_test_rows_of_a_language(results: str) -> None:
    collected = collect(results)
    row = next(row for row in collected.rows if row.cell.pattern == "ja8")
    record = collected.records[row.trial_id]
    spec = TrialSpec.parse(record["spec"])
    trial = FinishedTrial(results, spec, record["signature"], {}, ("negative", "positive"))
    rule = parse_rule("precision=0.5")
    assert rule
    for lang in (None, "ja", "en", "de"):
        threshold, _ = choose_on_test_rows(rule, trial, 0.2, lang)
        test = collected.read.of(row.trial_id, lang or "ja")
        assert threshold.value == choose_threshold(rule, test.y_true, test.y_score, 0.2)
    with pytest.raises(InputError, match="--test-lang: unknown test language 'fr'"):
        choose_on_test_rows(rule, trial, 0.2, "fr")


def test_prompts_and_translated_tests_are_tested_in_their_language(
    make_spec: Any, make_prompt: Any
) -> None:
    spec = make_spec("llama", sampling={"test_rows": 8, "test_langs": ["ja", "en"]})
    assert spec.test_langs == ("ja", "en")
    pattern = spec.pattern.model_copy(update={"name": "any", "translate": "test"})
    assert spec.model_copy(update={"pattern": pattern}).test_langs == ("ja",)
    assert make_prompt(sampling=spec.sampling.model_dump()).test_langs == ("ja",)


@pytest.fixture
def tiny(experiment_file: Path, tiny_dataset: Dataset, tmp_path: Path) -> list[str]:
    """Words of a run of one encoder on two seeds, with German rows in the data."""
    values = yaml.safe_load(experiment_file.read_text())
    values["data"]["path"] = str(tmp_path / "rows.parquet")
    values |= {"patterns": [{"ja8": {"source_rows": 24}}], "storage": {"keep_models": "all"}}
    pq.write_table(with_german(tiny_dataset).table, tmp_path / "rows.parquet")
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    words = ["run", str(tmp_path / "tiny.yaml"), "--results", str(tmp_path / "r")]
    return [*words, "--backend", "inline", "--only", "model=bert"]


MORE = ("--set", "sampling.test_langs=[ja, de]")


def test_a_new_test_language_trains_nothing_again(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = Results(str(tmp_path / "r"))
    assert main(tiny) == 0
    before = results.trial_ids()
    assert main(["plan", *tiny[1:4], *MORE]) == 0
    assert "2 trials train nothing: their models are kept" in capsys.readouterr().out
    assert main([*tiny, *MORE]) == 0
    new = set(results.trial_ids()) - {*before}
    records = [results.state(trial_id).record or {} for trial_id in new]
    assert {record["execution"]["extends"] for record in records} == {*before}
    assert main([*tiny, *MORE]) == 0  # nothing is left to do
    assert set(results.trial_ids()) == new | {*before}
    assert collect(results, test_lang="de", only="model=bert").plan.patterns == ["ja8"]
    # An interrupted run goes on with the finished trials, although the plan has the new ones.
    shutil.rmtree(results.trial_path(min(new)))
    assert main([*tiny, *MORE]) == 0
    again = results.state(min(new)).record or {}
    assert again["execution"]["extends"] in before


def test_done_trials_without_models_are_not_trained_again_unasked(
    tiny: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    tiny += ["--set", "storage.keep_models=none"]
    assert main(tiny) == 0
    assert main([*tiny, *MORE]) == 2
    assert "2 done trials kept no model (storage.keep_models)" in capsys.readouterr().err
    assert main(["plan", *tiny[1:4], *MORE]) == 0
    assert "`xlt run` would refuse: " in capsys.readouterr().out
    assert main([*tiny, *MORE, "--set", "name=both"]) == 0  # asked for: another experiment
    english = ("--set", "sampling.test_langs=[ja, en]")
    assert main([*tiny, *english]) == 2
    assert "would train on other rows" in capsys.readouterr().err


def test_a_trial_that_would_stop_on_other_dev_rows_is_not_extended(
    make_spec: Any, tiny_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = {"num_train_epochs": 2, "batch_size": 8, "early_stopping": {"dev_rows": 8}}
    before = make_spec("bert", training=training)
    drawn, dev = extensions._draw(tiny_dataset, before)
    assert len(dev) == 8
    after = before.model_copy(update={"sampling": Sampling(test_rows=20, test_langs=("ja", "de"))})
    rows = {before.trial_id: (drawn, dev), after.trial_id: (drawn, ("en59", *dev[1:]))}
    monkeypatch.setattr(extensions, "_draw", lambda dataset, spec: rows[spec.trial_id])
    obstacle = extensions._find_obstacle(after, before, tiny_dataset, True)
    assert "would stop on other dev rows" in obstacle
    rows[after.trial_id] = drawn, dev
    assert extensions._find_obstacle(after, before, tiny_dataset, True) == ""


def test_explanations_of_several_languages(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*tiny, *MORE]) == 0
    results, only = str(tmp_path / "r"), ("--only", "model=bert", "--method", "occlusion")
    explain = ["explain", results, *only, "--rows", "6", "--backend", "inline"]
    assert main(explain) == 0
    table = ["explanations", results, *only, "--min-count", "1", "--top", "3"]
    assert main(table) == 0
    assert main([*table, "--test-lang", "de"]) == 2
    assert "no row in de is explained; `xlt explain --langs de` does it" in capsys.readouterr().err
    assert main([*explain, "--langs", "German", "ja"]) == 0
    location = Results(results)
    trial_id = location.trial_ids()[0]
    explained = read_attributions(location, trial_id, "occlusion").table
    assert explained is not None
    assert explained["lang"].to_pylist() == ["de"] * 6 + ["ja"] * 6
    tested = location.read_table(trial_id, "predictions")
    scores = dict(zip(tested["id"].to_pylist(), tested["y_score"].to_pylist(), strict=True))
    for row_id, score in zip(explained["id"].to_pylist(), explained["p_original"].to_pylist(),
                             strict=True):  # fmt: skip
        assert score == pytest.approx(scores[row_id], abs=1e-6)
    capsys.readouterr()
    assert main([*table, "--test-lang", "de", "--format", "csv"]) == 0
    german = capsys.readouterr().out
    assert main([*table, "--format", "csv"]) == 0
    assert capsys.readouterr().out not in ("", german)
    assert main([*explain, "--langs", "fr"]) == 1
    assert "unknown test language 'fr'" in capsys.readouterr().err
