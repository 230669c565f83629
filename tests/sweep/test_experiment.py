"""Experiments: what is read, and how bad input is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from repository import ROOT

from xlt.data.core.errors import InputError
from xlt.data.sources.registry import parse_source
from xlt.sweep.experiment.experiment import Experiment, load_experiment, read_shipped
from xlt.sweep.planning.grid import expand
from xlt.sweep.planning.prepare import prepare
from xlt.trainables.models.base_models import LEARNING_RATE_OF, METHOD_OF


def problems(text: str, *settings: str) -> str:
    with pytest.raises(InputError) as caught:
        Experiment.from_yaml(text, "my.yaml", settings)
    return str(caught.value)


GOOD = "name: mine\nmodels: [mbert]\npatterns: [ja16]\nseeds: [0]\n"


@pytest.mark.parametrize("name", read_shipped())
def test_shipped_experiments_load_and_round_trip(name: str) -> None:
    files = ["data.path=news.csv", "pretraining.path=pairs.csv"] if name == "wikinews" else []
    experiment = load_experiment(name, files)
    assert experiment.name == name
    assert Experiment.from_yaml(experiment.to_yaml(), "again") == experiment


def test_the_studies_of_the_docs_are_valid_experiments() -> None:
    study = load_experiment(ROOT / "docs" / "real.yaml")
    methods = {model.name: model.method for model in study.models}
    assert methods["smollm2-prompt"] == "prompt" and methods["ngram"] == "ngram"
    assert [pattern.source_rows for pattern in study.patterns] == [512] * 3
    regimes = load_experiment(ROOT / "docs" / "regimes.yaml")
    assert (regimes.data, regimes.training, regimes.patterns) == (
        study.data, study.training, study.patterns
    )  # fmt: skip


def test_paper_settings() -> None:
    paper = load_experiment("paper")
    methods = [METHOD_OF[model.kind] for model in paper.models if model.kind]
    assert methods == ["lora", "lora", "full", "lora", "full"]
    assert [LEARNING_RATE_OF[method] for method in methods] == [5e-4, 5e-4, 5e-5, 5e-4, 5e-5]
    assert {(m.method, m.learning_rate) for m in paper.models} == {(None, None)}
    assert paper.training.num_train_epochs == 10
    assert paper.overrides[0].learning_rate == 7e-3


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (GOOD + "sedes: [1]\n", "Did you mean 'seeds'?"),
        (GOOD + "training: {num_train_epoch: 1}\n", "Did you mean 'num_train_epochs'?"),
        (GOOD.replace("mbert", "mbrt"), "Did you mean 'mbert'?"),
        (GOOD.replace("ja16", "japanese"), "such as ja16"),
        (GOOD.replace("[0]", "[0, 0]"), "seeds: 0 given more than once"),
        (
            GOOD.replace("ja16", "{ja0: {source_rows: 0}}"),
            "ja0: has no training rows; set",
        ),
        (GOOD.replace("[0]", "[]"), "seeds"),
        (GOOD + "training: {weight_decay: 5e-4}\n", "write it as 0.0005"),
        (GOOD + "task: {prevalence: 2}\n", "task.prevalence: should be less than 1 (got 2)"),
        (GOOD + "data: {source: tabel}\n", "Did you mean 'table'?"),
        (GOOD + "data: {source: table, positive: [a]}\n", "path: is required"),
        (GOOD + "seeds: [1]\n", "key 'seeds' is given twice"),
        (GOOD + "overrides: [{match: {model: elyza}, learning_rate: 0.1}]\n", "Known: mbert"),
        (GOOD + "overrides: [{match: {model: mbert}}]\n", "changes nothing"),
        ("name: [", "row 1"),
        ("", "is empty"),
    ],
)
def test_bad_files_are_told(text: str, told: str) -> None:
    assert told in problems(text)


def test_all_problems_in_one_error() -> None:
    told = problems("name: a b\nmodels: [mbrt, elza]\npatterns: [ja16]\nseeds: [x]\n")
    for part in ("my.yaml", "mbert", "elyza", "used in file names", "seeds"):
        assert part in told


def test_set_replaces_values() -> None:
    experiment = Experiment.from_yaml(
        GOOD, "my.yaml", ["training.num_train_epochs=2", "seeds=[3, 4]"]
    )
    assert experiment.training.num_train_epochs == 2
    assert experiment.seeds == (3, 4)
    assert "not key=value" in problems(GOOD, "seeds")
    assert "the value is not YAML" in problems(GOOD, "seeds=[0")


def test_set_of_another_source_drops_the_old_options() -> None:
    text = GOOD + "data: {source: synthetic, seed: 1}\n"
    settings = ["data.source=table", "data.path=x.csv", "data.positive=[a]"]
    assert Experiment.from_yaml(text, "", settings).data.as_given()["path"] == "x.csv"


def test_unknown_names_and_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Did you mean 'quickstart'"):
        load_experiment("quickstat")
    with pytest.raises(InputError, match="cannot be read"):
        load_experiment(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_bytes(b"name: \xff")
    with pytest.raises(InputError, match="not UTF-8 at byte 6"):
        load_experiment(tmp_path / "bad.yaml")


def test_problems_of_several_lists_are_told_together() -> None:
    settings = ["seeds=[0, 1, 0]", "patterns=[]", "models=[mini-mbert, mini-mbert]"]
    with pytest.raises(InputError) as caught:
        load_experiment("quickstart", settings)
    assert caught.value.problems == [
        "models: mini-mbert given more than once",
        "patterns: is empty; give at least one",
        "seeds: 0 given more than once",
    ]


def test_a_shared_model_is_not_explained_on_the_way() -> None:
    settings = ["resources={workers: 2, sharding: fsdp}", "explain={method: lime}"]
    with pytest.raises(InputError, match=r"no worker holds the whole model; keep models and"):
        load_experiment("quickstart", settings)
    load_experiment("quickstart", ["resources={workers: 2}", "explain={method: lime}"])


def test_several_gpus_are_asked_for_as_workers() -> None:
    with pytest.raises(InputError, match=r"resources.gpus: 2 GPUs for one process.* set workers"):
        load_experiment("quickstart", ["resources={gpus: 2}"])


@pytest.mark.parametrize(
    ("block", "written"),
    [
        ("", None),
        ("data: {source: synthetic}\n", None),
        ("data: {source: synthetic, seed: 0}\n", {"source": "synthetic", "seed": 0}),
    ],
)
def test_data_are_written_as_they_were_given(block: str, written: dict[str, object] | None) -> None:
    experiment = Experiment.from_yaml(GOOD + block, "my.yaml")
    assert experiment.data == parse_source({"source": "synthetic"})
    assert yaml.safe_load(experiment.to_yaml()).get("data") == written
    assert Experiment.from_yaml(experiment.to_yaml(), "again").to_yaml() == experiment.to_yaml()


DATA_FINGERPRINT = "f38135bec8e0f39a72023d789b544cdce5b31c170b99148108e958f0613df1c7"
TRIAL_ID = "ngram-zh-Hant4-s0-1cf002d55368"
SPELLED = """
name: spelled
task: {source_lang: eng_Latn}
models:
  - {name: mini-bert-ja, languages: [Japanese, jpn]}
  - {name: asked, path: a/b, method: prompt, prompt: {templates: {jpn_Jpan: "{text} is"}}}
patterns: [jpn_Jpan16, {few: {target_lang: Chinese (Traditional), target_rows: 2, source_rows: 2}}]
overrides: [{match: {pattern: Japanese16}, training: {num_train_epochs: 2}}]
seeds: [0]
"""


def test_languages_may_have_any_spelling() -> None:
    experiment = Experiment.from_yaml(SPELLED, "x")
    known, asked = experiment.models
    assert experiment.task.source_lang == "en"
    assert known.languages == ("ja",) and known.knows("ja") and not known.knows("en")
    assert list(asked.prompt.templates) == ["ja"]
    patterns = [(pattern.name, pattern.target_lang) for pattern in experiment.patterns]
    assert patterns == [("ja16", "ja"), ("few", "zh-Hant")]
    assert experiment.overrides[0].match.pattern == "ja16"
    assert experiment.select("pattern=jpn16").patterns == {"ja16"}
    assert Experiment.from_yaml(experiment.to_yaml(), "x") == experiment


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "task: {source_lang: Serbo-Croatian}",
            "task.source_lang: language 'Serbo-Croatian' may be",
        ),
        ("patterns: [xx16]", "patterns: item 1: language 'xx' is not a BCP-47 code"),
        ("patterns: [{few: {target_lang: xx, target_rows: 2}}]", "patterns: item 1: language 'xx'"),
        ("patterns: [ja16, jpn16]", "patterns: ja16 given more than once"),
        (
            "models: [{name: mini-mbert, languages: [xx]}]",
            "models: item 1: languages: language 'xx'",
        ),
        (
            "models: [{name: a, path: b/c, method: prompt, prompt: {templates: {ja: '{text} is', "
            "jpn: '{text} is'}}}]",
            "models: item 1: prompt.templates: 'jpn' is ja, which another key is, too; remove one",
        ),
    ],
)
def test_unknown_languages_are_told_with_their_place(line: str, told: str) -> None:
    settings = {"name": "x", "models": ["mini-mbert"], "patterns": ["ja16"], "seeds": [0]}
    with pytest.raises(InputError) as error:
        Experiment.parse(settings | yaml.safe_load(line))
    assert told in str(error.value)


def test_languages_that_are_codes_change_no_trial(tmp_path: Path) -> None:
    """Fingerprint and trial id of the version that knew no other spellings of languages."""
    names = {"en": "eng_Latn", "zh-Hant": "Chinese (Traditional)"}
    for spelled in (False, True):
        lines = ["text,lang,label"]
        for code, name in names.items():
            written = name if spelled else code
            lines += [f"text {code} {n},{written},{'yes' if n % 2 else 'no'}" for n in range(40)]
        (tmp_path / "data.csv").write_text("\n".join(lines) + "\n")
        values = {
            "name": "x",
            "data": {
                "source": "table", "path": str(tmp_path / "data.csv"), "positive": ["yes"],
                "leak_check": False,
            },
            "task": {"source_lang": names["en"] if spelled else "en"},
            "models": [{"name": "ngram", "method": "ngram"}],
            "patterns": [{"zho_Hant4" if spelled else "zh-Hant4": {"source_rows": 8}}],
            "seeds": [0],
            "sampling": {"test_rows": 20},
        }  # fmt: skip
        prepared = prepare(Experiment.parse(values))
        assert prepared.dataset.fingerprint == DATA_FINGERPRINT
        (cell,) = expand(prepared).cells
        assert [spec.trial_id for spec in cell.specs] == [TRIAL_ID]
