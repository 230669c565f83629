"""method: peft in experiments: names, errors before a launch, overrides, kept models and export."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from fresh_process import modules_after
from kept_tiny import keep
from peft_settings import make_peft_spec
from repository import ROOT

from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import Dataset
from xlt.sweep.check.registry import check_sweep
from xlt.sweep.cli.main import main
from xlt.sweep.experiment.experiment import Experiment
from xlt.sweep.planning.grid import Grid, expand
from xlt.sweep.planning.prepare import prepare
from xlt.trainables.inference.save import save_classifier
from xlt.trainables.spec.adapters import REFUSED, TYPES
from xlt.trainables.spec.trial_spec import TrialSpec

VALUES: dict[str, Any] = {"name": "own", "patterns": ["ja0"], "seeds": [0]}


def grid(*models: object, **values: Any) -> Grid:
    return expand(prepare(Experiment.parse(VALUES | {"models": list(models)} | values)))


def told(*models: object, **values: Any) -> str:
    with pytest.raises(InputError) as caught:
        grid(*models, **values)
    return str(caught.value)


@pytest.fixture
def model(tiny_base: Callable[[str], Path]) -> Callable[..., dict[str, Any]]:
    def make(architecture: str = "bert", **peft: Any) -> dict[str, Any]:
        path = str(tiny_base(architecture))
        return {
            "name": "own", "path": path, "method": "peft", "learning_rate": 0.01, "peft": peft
        }  # fmt: skip

    return make


Make = Callable[..., dict[str, Any]]


def test_settings_are_part_of_the_trial(model: Make) -> None:
    specs = [
        grid(model(**peft)).specs[0]
        for peft in (
            {"peft_type": "IA3"},
            {"peft_type": "ia3"},
            {"peft_type": "IA3", "target_modules": ["key"], "feedforward_modules": ["key"]},
            {"feedforward_modules": ["key"], "target_modules": ["key"], "peft_type": "IA3"},
            {"peft_type": "VERA"},
        )
    ]
    ids = [spec.trial_id for spec in specs]
    assert ids[0] == ids[1] and ids[2] == ids[3] and len({*ids}) == 3
    for spec in specs:
        assert TrialSpec.parse(spec.model_dump(mode="json")) == spec
        assert TrialSpec.model_validate_json(spec.model_dump_json()).trial_id == spec.trial_id


def test_an_experiment_is_written_and_read_again(model: Make) -> None:
    named = model(peft_type="VERA", r=16, target_modules=["query", "value"])
    experiment = Experiment.parse(VALUES | {"models": [named]})
    assert Experiment.from_yaml(experiment.to_yaml(), "copy") == experiment


def test_an_override_changes_settings_of_a_cell(model: Make) -> None:
    override = {"match": {"pattern": "ja16"}, "peft": {"r": 4}}
    named = model(peft_type="VERA", vera_dropout=0.1)
    cells = grid(named, patterns=["ja0", "ja16"], overrides=[override]).cells
    given = [cell.specs[0].peft.given for cell in cells if cell.specs[0].peft]
    assert given == [{"vera_dropout": 0.1}, {"vera_dropout": 0.1, "r": 4}]
    owned = override | {"peft": {"task_type": "CAUSAL_LM"}}
    assert "overrides.0: peft.task_type: is SEQ_CLS in every trial; remove it" in told(
        named, patterns=["ja16"], overrides=[owned]
    )


@pytest.mark.parametrize(
    ("peft", "message"),
    [
        ({}, "method peft needs a type; add peft: {peft_type: IA3}, or another"),
        ({"peft_type": "IA4"}, "peft.peft_type: unknown type 'IA4'. Did you mean 'IA3'?"),
        ({"peft_type": "XLORA"}, f"peft.peft_type: XLORA {REFUSED['XLORA']}; give another type"),
        (
            {"peft_type": "VERA", "vera_droput": 0.1},
            "peft: unknown setting of VERA 'vera_droput'. Did you mean 'vera_dropout'?",
        ),
        ({"peft_type": "VERA", "r": "8"}, "peft.r: should be a valid integer (got '8')"),
        ({"peft_type": "VERA", "r": True}, "peft.r: should be a valid integer (got True)"),
        ({"peft_type": "OFT", "r": 2, "oft_block_size": 2}, "peft: You can only specify either"),
        (
            {"peft_type": "ADALORA", "tinit": 900, "tfinal": 900},
            "The supplied schedule values don't allow for a budgeting phase",
        ),
        ({"peft_type": "IA3", "modules_to_save": ["x"]}, "modules_to_save: is the head of the"),
        ({"peft_type": "VERA", "bias": "all"}, "bias: would train biases of the base model"),
        ({"peft_type": "VERA", "d_initial": float("nan")}, "should be a finite number"),
        ({"peft_type": "PREFIX_TUNING"}, "num_virtual_tokens: is required, a number above 0"),
        (
            {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 20},
            "max_length 128 with 20 virtual tokens is more than the 128 tokens",
        ),
        (
            {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 2, "prompt_tuning_init": "TEXT"},
            "prompt_tuning_init: TEXT is not supported; give RANDOM",
        ),
    ],
)
def test_wrong_settings_are_found_before_a_launch(
    peft: dict[str, Any], message: str, model: Make
) -> None:
    assert message in told(model(**peft))


def test_settings_that_nothing_reads_are_refused(model: Make) -> None:
    alone = model(peft_type="IA3") | {"method": "full"}
    assert "peft settings are given without method: peft; add it" in told(alone)
    rateless = model(peft_type="IA3")
    del rateless["learning_rate"]
    assert "method peft has no default learning_rate; give one" in told(rateless)
    staged = {"training": {"regime": "sequential"}, "patterns": ["ja16"]}
    assert "ADALORA takes ranks away over the steps of one training; set training.regime" in told(
        model(peft_type="ADALORA"), **staged
    )
    averaged = {"training": {"average_seeds": True, "init_seed": 0}, "seeds": [0, 1]}
    assert "average_seeds cannot average adapters of method peft" in told(
        model(peft_type="IA3"), **averaged
    )
    sharded = model(peft_type="IA3") | {"resources": {"workers": 2, "sharding": "fsdp", "gpus": 1}}
    assert "method peft cannot be sharded; set resources.sharding to ddp" in told(sharded)


def test_settings_of_adapters_that_no_trial_reads_are_refused(model: Make) -> None:
    ia3 = model(peft_type="IA3")
    full = {"name": "full", "path": ia3["path"]}
    lora = {"name": "lora", "path": ia3["path"], "method": "lora"}
    unused = {"match": {"model": "own"}, "lora": {"r": 4}}
    assert (
        "overrides.0.lora: changes nothing, because own has method peft; remove it, or give the "
        "base model method: lora"
    ) in told(ia3, overrides=[unused])
    everywhere = {"match": {"pattern": "ja0"}, "lora": {"r": 4}}
    assert "because own, full has method full or peft" in told(ia3, full, overrides=[everywhere])
    other = {"match": {"model": "full"}, "peft": {"peft_type": "VERA"}}
    assert "overrides.0.peft: changes nothing, because full has" in told(full, overrides=[other])
    cells = grid(ia3, full, lora, overrides=[everywhere]).cells
    assert [cell.specs[0].lora.r for cell in cells if cell.specs[0].lora] == [4]
    given = full | {"lora": {"r": 4}}
    for method in ({}, {"method": "full"}, {"method": "bitfit"}):
        assert "lora settings are given and the method is" in told(given | method)


def test_ranks_that_cannot_be_are_refused(model: Make, tmp_path: Path) -> None:
    assert "peft.target_r: 99 is more than init_r 12" in told(
        model(peft_type="ADALORA", target_r=99, tinit=0, tfinal=1)
    )
    long = model(peft_type="PREFIX_TUNING", num_virtual_tokens=100_000)
    assert "than the 128 tokens that the model has positions for; lower num_virtual" in told(long)
    for layers in ([], [-1]):
        named = model() | {"method": "lora", "lora": {"layers_to_transform": layers}}
        del named["peft"]
        assert "lora.layers_to_transform" in told(named)
    zero = Experiment.parse(VALUES | {"models": [model(peft_type="VERA", r=0)]})
    (problem,) = (
        problem.sentence
        for outcome in check_sweep(zero, str(tmp_path), backend="inline")
        for problem in outcome.problems
        if problem.severity == "error"
    )
    assert "peft cannot add adapters to bert: float division by zero" in problem


def test_a_decoder_is_given_no_vectors_in_the_place_of_ids(model: Make) -> None:
    named = model("llama", peft_type="P_TUNING", num_virtual_tokens=4)
    assert "P_TUNING gives llama vectors in the place of token ids" in told(named)


def test_only_experiments_with_method_peft_wait_for_peft(
    model: Make, tiny_base: Callable[[str], Path], tmp_path: Path
) -> None:
    plain = {"name": "own", "path": str(tiny_base("bert"))}
    loaded = []
    for number, named in enumerate((plain, model(peft_type="IA3"))):
        file = tmp_path / f"{number}.yaml"
        file.write_text(yaml.safe_dump(VALUES | {"models": [named]}))
        results = ["--results", str(tmp_path / "results")]
        loaded.append(modules_after(["plan", str(file), *results], ("peft", "torch")))
    assert loaded == [[], ["peft", "torch"]]


def test_the_check_counts_what_is_trained(model: Make, tmp_path: Path) -> None:
    counted, uncounted = (
        model(**peft) | {"name": name}
        for name, peft in (
            ("vera", {"peft_type": "VERA"}),
            ("shira", {"peft_type": "SHIRA", "r": 2}),
        )
    )
    experiment = Experiment.parse(VALUES | {"models": [counted, uncounted]})
    outcomes = check_sweep(experiment, str(tmp_path), backend="inline")
    assert not [p.sentence for o in outcomes for p in o.problems if p.severity == "error"]
    memory = next(outcome for outcome in outcomes if outcome.title == "Memory")
    assert [row[0] for row in memory.rows] == ["vera"]
    assert "not known: shira" in memory.notes


def test_trials_run_and_their_models_tag_texts(
    experiment_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = yaml.safe_load(experiment_file.read_text())["models"]
    named = [
        models[0] | {"name": name, "method": "peft", "peft": peft}
        for name, peft in (
            ("vera", {"peft_type": "VERA"}),
            ("prefix", {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 3}),
        )
    ] + [models[0] | {"name": "head", "method": "head"}]
    values = ["patterns=[{ja8: {source_rows: 24}}]", "seeds=[0]", f"models={named}"]
    values += ["storage.keep_models=adapters", "training.max_length=64"]
    uri = str(tmp_path / "results")
    changes = [word for value in values for word in ("--set", value)]
    run = ["run", str(experiment_file), *changes, "--results", uri, "--backend", "inline"]
    assert main(run) == 0
    texts = tmp_path / "texts.csv"
    texts.write_text("text\ncarbon board\n")
    for name in ("vera", "prefix", "head"):
        out = tmp_path / f"{name}.csv"
        assert main(["predict", uri, str(texts), "--model", name, "--out", str(out)]) == 0
        assert len(out.read_text().splitlines()) == 2
    capsys.readouterr()


def test_an_exported_adapter_is_loaded_by_peft(
    make_spec: Callable[..., TrialSpec], tiny_dataset: Dataset, tmp_path: Path
) -> None:
    spec = make_peft_spec(make_spec, "llama", "HRA")
    trial, _ = keep(spec, tiny_dataset, tmp_path / "hra")
    folder = tmp_path / "exported"
    folder.mkdir()
    saved = save_classifier(trial, folder)
    assert (saved.form, saved.difference < 1e-6) == ("adapter and base", True)
    with pytest.raises(InputError, match="--merge: peft adds adapters of type HRA to no weights"):
        save_classifier(trial, folder, merge=True)
    spec = make_peft_spec(make_spec, "llama", "PREFIX_TUNING")
    trial, _ = keep(spec, tiny_dataset, tmp_path / "prefix")
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match="transformers loads no adapter of type PREFIX_TUNING"):
        save_classifier(trial, tmp_path / "other")


def test_the_page_of_models_lists_every_type() -> None:
    text = (ROOT / "docs" / "models.md").read_text("utf-8")
    section = text[text.index("## Any type of peft") :].partition("\n## ")[0]
    rows = re.findall(r"^\| ([A-Z0-9_, `]+) \|(.*)\|$", section, re.MULTILINE)
    named = {name: reason for names, reason in rows for name in re.findall(r"[A-Z0-9_]+", names)}
    assert set(named) == {*TYPES, *REFUSED}
    assert {name: named[name].strip() for name in REFUSED} == REFUSED
