"""A row of the table is the mean of the kept models of another row's seeds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers
import yaml
from killed_trials import located
from safetensors.torch import load, save_file
from searched import SEARCH

from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import Dataset
from xlt.sweep.cli.main import main
from xlt.sweep.experiment.chosen_rates import ChosenRate, ChosenRates
from xlt.sweep.experiment.experiment import load_experiment
from xlt.sweep.on_ray.tune.backend import split_single
from xlt.sweep.plan_text.text import describe_plan
from xlt.sweep.planning.grid import Grid, expand
from xlt.sweep.planning.launch_order import find_members, find_waits, sort_for_launch
from xlt.sweep.planning.prepare import prepare
from xlt.trainables.results.result import Results
from xlt.trainables.spec.cell_key import CellKey
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.trial.average_seeds import average_seeds
from xlt.trainables.trial.run_trial import prepare_trial, run_trial

MODELS = {"bert": "full", "llama": "lora"}


@pytest.fixture(scope="module")
def file(experiment_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two base models, and the mean of the seeds of each as further rows."""
    values = yaml.safe_load(experiment_file.read_text())
    models = [m for m in values["models"] if m["name"] in MODELS]
    values["models"] = models + [m | {"name": f"{m['name']}-mean"} for m in models]
    values["training"] |= {"init_seed": 3}
    values["overrides"] = [
        {"match": {"model": m["name"]}, "training": {"average_seeds": True}}
        for m in values["models"][2:]
    ]
    values["storage"] = {"keep_models": "all"}
    place = tmp_path_factory.mktemp("means") / "means.yaml"
    place.write_text(yaml.safe_dump(values, sort_keys=False))
    return place


@pytest.fixture(scope="module")
def results(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Results of that experiment."""
    folder = tmp_path_factory.mktemp("results") / "r"
    assert main(["run", str(file), "--results", str(folder), "--backend", "inline"]) == 0
    return Results(str(folder))


def load_grid(file: Path, *settings: str) -> Grid:
    return expand(prepare(load_experiment(file, settings)))


def find_mean(grid: Grid, name: str, pattern: str = "ja8") -> TrialSpec:
    (spec,) = (s for s in grid.specs if s.cell == (f"{name}-mean", pattern))
    return spec


def test_a_cell_has_one_trial_which_waits_for_those_that_it_averages(file: Path) -> None:
    grid = load_grid(file)
    assert len(grid.specs) == 2 * 2 * 2 + 2 * 2
    mean = find_mean(grid, "bert")
    members = [s for s in grid.specs if s.cell == ("bert", "ja8")]
    assert find_members(grid.specs)[mean.trial_id] == tuple(s.trial_id for s in members)
    assert (mean.num_steps, mean.mean_of) == (0, ((0, 0), (0, 1)))
    assert "-mean2-" in mean.trial_id
    waits = find_waits(grid.specs, {}, "all", find_members(grid.specs))
    assert waits[mean.trial_id] == {s.trial_id for s in members}
    order = sort_for_launch(grid.specs, lambda spec: 1.0, waits)
    assert order.index(mean) > max(order.index(member) for member in members)
    text = describe_plan(grid, Results("/nowhere/results"))
    assert "8 trials = 4 cells x 2 seeds [0, 1]; 4 means of kept models" in text
    assert "mean of the weights of 2 trials; trains nothing" in text


@pytest.mark.parametrize("name", MODELS)
def test_the_mean_is_that_of_plain_transformers_and_peft(
    name: str, file: Path, results: Results, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    """Golden: states of the members in plain models, averaged by hand, one text at a time."""
    grid = load_grid(file)
    mean = find_mean(grid, name)
    ids = find_members(grid.specs)[mean.trial_id]
    folders = [Path(results.uri, "trials", trial_id, "model") for trial_id in ids]
    (weights_name,) = (f.name for f in folders[0].iterdir() if f.suffix == ".safetensors")
    states = [load((folder / weights_name).read_bytes()) for folder in folders]
    averaged = {key: (states[0][key] + states[1][key]) / 2 for key in states[0]}
    assert any(not torch.equal(states[0][key], states[1][key]) for key in averaged)
    for content in folders[0].iterdir():
        (tmp_path / content.name).write_bytes(content.read_bytes())
    save_file(averaged, tmp_path / weights_name, {"format": "pt"})
    auto = transformers.AutoModelForSequenceClassification
    if name == "bert":
        model: Any = auto.from_pretrained(tmp_path)
    else:
        tokenizer_pad = yaml.safe_load((tmp_path / "classifier_config.json").read_text())
        model = auto.from_pretrained(
            mean.base_path, num_labels=2, pad_token_id=tokenizer_pad["pad_token_id"]
        )
        model = peft.PeftModel.from_pretrained(model, tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(mean.base_path)
    model.eval()
    predictions = results.read_table(mean.trial_id, "predictions")
    scores = []
    with torch.inference_mode():
        for text in tiny_dataset.rows(predictions["id"].to_pylist())["text"].to_pylist():
            logits = model(**tokenizer(text, return_tensors="pt")).logits
            scores.append(logits.double().softmax(-1)[0, 1].item())
    np.testing.assert_allclose(predictions["y_score"].to_numpy(), scores, atol=1e-6)
    members = [results.read_table(trial_id, "predictions") for trial_id in ids]
    assert all(member["id"].equals(predictions["id"]) for member in members)
    kept = load(Path(results.uri, "trials", mean.trial_id, "model", weights_name).read_bytes())
    assert all(torch.equal(kept[key], averaged[key]) for key in averaged)
    record = results.state(mean.trial_id).record or {}
    assert record["execution"]["mean_of"] == list(ids)
    assert (
        record["convergence"] == {} and results.read_table(mean.trial_id, "history").num_rows == 0
    )


def test_reports_have_a_row_of_one_run(
    file: Path, results: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    own = {"check": [str(file), "--results", results.uri]}
    for command in ("report", "compare", "status", "boundary", "check"):
        assert main([command, *own.get(command, [results.uri])]) == 0, command
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        if command == "report":
            assert "bert-mean" in said.out
            assert "mean of the weights of 2 trials" in said.out
    assert main(["run", str(file), "--results", results.uri, "--backend", "inline"]) == 0
    assert "All 12 trials were done already" in capsys.readouterr().out
    (texts := Path(results.uri).parent / "texts.csv").write_text("text\ncarbon waste\n")
    words = [results.uri, str(texts), "--out", str(texts.with_suffix(".jsonl"))]
    assert main(["predict", *words, "--model", "bert-mean", "--pattern", "ja8"]) == 0


def test_heads_and_adapters_start_from_the_same_values(
    make_spec: Any, tiny_dataset: Dataset
) -> None:
    def start(seed: int, **training: Any) -> dict[str, torch.Tensor]:
        spec = make_spec("llama", seed=seed, training={"batch_size": 8} | training)
        model = prepare_trial(spec, tiny_dataset).model
        return {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}

    one, two, other = start(0, init_seed=5), start(1, init_seed=5), start(1)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)
    own = start(5)  # the seed of a trial is the default
    assert all(torch.equal(one[name], own[name]) for name in one)


def test_weights_that_cannot_be_averaged_are_refused(
    make_spec: Any, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    results = located(tmp_path / "r")
    few = {"num_train_epochs": 1, "batch_size": 8, "init_seed": 0}
    small, large, unkept = (
        make_spec("llama", seed=seed, training=few, lora={"r": r})
        for seed, r in ((0, 4), (1, 8), (2, 4))
    )
    for spec in (small, large, unkept):
        models = "none" if spec == unkept else "all"
        results.save(run_trial(spec, tiny_dataset, keep_models=models))
    mean = small.model_copy(update={"mean_of": ((0, 0), (0, 1))})
    with pytest.raises(InputError, match="is a mean of trials, which average_seeds computes"):
        run_trial(mean, tiny_dataset)
    with pytest.raises(InputError, match="average_seeds is a setting of cells"):
        make_spec("llama", training={"average_seeds": True})
    for ids, sentence in (
        ([small.trial_id, large.trial_id], "have other names or shapes, so they have no mean"),
        ([small.trial_id, unkept.trial_id], f"trial {unkept.trial_id}: the trial kept no model"),
        ([small.trial_id, "absent"], "trial absent: the trial is absent"),
    ):
        with pytest.raises(InputError, match=sentence):
            average_seeds(mean, tiny_dataset, results, ids)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            ["training.init_seed=null"],
            "training of llama-mean x ja0: average_seeds needs init_seed",
        ),
        (["seeds=[0]"], "average_seeds has one trial to average; give several seeds"),
        (
            ["storage.keep_models=none"],
            "storage.keep_models: is none, and llama-mean x ja0 averages",
        ),
        (["storage.keep_models=best"], "storage.keep_models: is best, and"),
    ],
)
def test_means_that_cannot_be_are_refused(settings: list[str], sentence: str, file: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_grid(file, *settings)
    assert sentence in str(caught.value)


def test_a_mean_of_trials_that_are_not_in_the_grid_is_no_cell(file: Path) -> None:
    other = (
        "overrides=[{match: {model: bert-mean}, "
        "training: {average_seeds: true, warmup_ratio: 0.1}}]"
    )
    grid = load_grid(file, other)
    skipped = {cell.key: cell.skipped for cell in grid.cells if not cell.specs}
    assert set(skipped) == {("bert-mean", "ja0"), ("bert-mean", "ja8")}
    assert "averages trials that are not in the grid" in skipped["bert-mean", "ja0"]


def make_rates(grid: Grid, rates: dict[CellKey, float], **more: Any) -> ChosenRates:
    """Rates as a search of the grid's cells chooses them."""
    identities = {cell.key: cell.resolved.identity for cell in grid.cells}
    cells = [
        ChosenRate(
            model=key.base_model, pattern=key.pattern, base_identity=identities[key],
            learning_rate=rate, dev=("source",), dev_score=0.9, num_replicates=2, **more,
        )
        for key, rate in rates.items()
    ]  # fmt: skip
    return ChosenRates(
        search_id="abc", experiment="tiny", metric="auroc", seeds=(7,), cells=tuple(cells),
        data_fingerprint=grid.dataset.fingerprint,
    )  # fmt: skip


BERT_RATES = {CellKey("bert", "ja0"): 0.02, CellKey("bert", "ja8"): 0.03}


def test_a_mean_has_the_rate_that_a_search_chose_for_the_averaged_trials(file: Path) -> None:
    prepared = prepare(load_experiment(file))
    before = expand(prepared)
    rates = make_rates(before, BERT_RATES, training={"warmup_ratio": 0.2})
    grid = expand(prepared.with_rates(rates))
    members = find_members(grid.specs)
    for pattern, rate in (("ja0", 0.02), ("ja8", 0.03)):
        mean = find_mean(grid, "bert", pattern)
        assert (mean.learning_rate, mean.training.warmup_ratio) == (rate, 0.2)
        averaged = [s.trial_id for s in grid.specs if s.cell == ("bert", pattern)]
        assert members[mean.trial_id] == tuple(averaged)
    assert find_mean(grid, "llama") == find_mean(before, "llama")  # its cell was not searched
    text = describe_plan(grid, Results("/nowhere/results"))
    (line,) = (li for li in text.splitlines() if li.startswith("bert-mean") and "ja8" in li)
    assert "learning rate 0.03, warmup_ratio 0.2 chosen on source dev rows" in line


def test_a_rate_by_hand_holds_for_averaged_trials_and_their_mean(file: Path) -> None:
    """An override without a model covers both, and beats the search."""
    by_hand = "{match: {pattern: ja8}, learning_rate: 0.005}"
    means = "{match: {model: bert-mean}, training: {average_seeds: true}}"
    prepared = prepare(load_experiment(file, [f"overrides=[{by_hand}, {means}]"]))
    grid = expand(prepared.with_rates(make_rates(expand(prepared), BERT_RATES)))
    rates = {p: find_mean(grid, "bert", p).learning_rate for p in ("ja0", "ja8")}
    assert rates == {"ja0": 0.02, "ja8": 0.005}


def test_a_mean_runs_again_with_the_stuck_trials_that_it_averages(file: Path) -> None:
    prepared = prepare(load_experiment(file))
    before = expand(prepared)
    stuck = find_mean(before, "bert")
    rates = make_rates(before, {CellKey("bert", "ja8"): 0.03}, instead_of=stuck.learning_rate)
    grid = expand(prepared, rates)
    mean = find_mean(grid, "bert")
    assert mean.learning_rate == 0.03
    averaged = [s.trial_id for s in grid.specs if s.cell == ("bert", "ja8")]
    assert find_members(grid.specs)[mean.trial_id] == tuple(averaged)
    (cell,) = (cell for cell in grid.cells if cell.key == mean.cell)
    assert cell.replaced == (stuck,)


def test_means_come_after_groups_of_processes_that_train_what_they_average(file: Path) -> None:
    alone = load_grid(file)
    waits = find_waits(alone.specs, {}, "all", find_members(alone.specs))
    assert split_single(alone.specs, waits) == (alone.specs, [])
    several = load_grid(file, "resources={workers: 2}")
    waits = find_waits(several.specs, {}, "all", find_members(several.specs))
    means = [spec for spec in several.specs if spec.mean_of]
    assert means and split_single(several.specs, waits) == ([], means)


@pytest.mark.chaos
def test_a_sweep_averages_trials_of_two_processes(
    file: Path, ray_address: str, tmp_path: Path
) -> None:
    words = ["run", str(file), "--results", str(tmp_path / "r"), "--address", ray_address]
    words += ["--set", "resources={workers: 2}"]
    assert main([*words, "--only", "model=bert,model=bert-mean,pattern=ja8"]) == 0


@pytest.mark.chaos
def test_a_sweep_searches_rates_and_averages(file: Path, ray_address: str, tmp_path: Path) -> None:
    settings = [f"search={json.dumps(SEARCH)}", "learning_rate=auto"]
    words = ["run", str(file), "--results", str(tmp_path / "r")]
    words += [word for setting in settings for word in ("--set", setting)]
    assert main([*words, "--only", "model=bert,model=bert-mean,pattern=ja8"]) == 0
    results = Results(str(tmp_path / "r"))
    (cell,) = (c for c in results.read_plan("tiny").cells if c.key == ("bert-mean", "ja8"))
    record = results.state(cell.trials[0].trial_id).record or {}
    assert record["spec"]["learning_rate"] in SEARCH["learning_rate"]
    assert len(record["execution"]["mean_of"]) == 2


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_ray_averages_after_training(file: Path, ray_address: str, tmp_path: Path) -> None:
    words = ["run", str(file), "--results", str(tmp_path / "r"), "--address", ray_address]
    assert main([*words, "--only", "pattern=ja8"]) == 0
    grid, results = load_grid(file), Results(str(tmp_path / "r"))
    for name in MODELS:
        mean = find_mean(grid, name)
        record = results.state(mean.trial_id).record or {}
        assert record["execution"]["mean_of"] == list(find_members(grid.specs)[mean.trial_id])
