"""Baselines in an experiment: rows of the same tables, from the plan to the page."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from grids import load_grid
from result_folders import trial_files

from xlt.analysis.search.oracle_rates import find_oracle_rates
from xlt.analysis.trials.collect import collect
from xlt.data.core.errors import InputError
from xlt.sweep.check.registry import check_sweep
from xlt.sweep.cli.main import main
from xlt.sweep.cluster.settings import list_requests
from xlt.sweep.experiment.experiment import Experiment, load_experiment
from xlt.sweep.explain import explain_trials
from xlt.sweep.run import RunOutcome, run_sweep
from xlt.sweep.search.cells import make_search_cells, select_search_rows
from xlt.trainables.results.find_trial import find_trial
from xlt.trainables.spec.cell_key import CellKey
from xlt.trainables.spec.selection import EVERY_CELL, parse_selection

NGRAM = {"name": "ngram", "method": "ngram"}
NGRAM_JA = {"name": "ngram-ja", "method": "ngram", "languages": ["ja"]}


@pytest.fixture(scope="module")
def file(experiment_file: Path, tiny_base: Callable[[str], Path], tmp_path_factory: Any) -> Path:
    """The tiny experiment with one fine-tuned base model and three baselines."""
    values = yaml.safe_load(experiment_file.read_text())
    embed = {"name": "bert-embed", "path": str(tiny_base("bert")), "method": "embed"}
    values["models"] = [values["models"][2], embed, NGRAM, NGRAM_JA]
    values["storage"] = {"keep_models": "all"}
    path: Path = tmp_path_factory.mktemp("baselines") / "baselines.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def change_models(file: Path, *models: dict[str, Any], **others: Any) -> Experiment:
    values = yaml.safe_load(file.read_text()) | {"models": list(models)} | others
    return Experiment.parse(values)


def test_each_baseline_has_trials_of_its_own(outcome: RunOutcome) -> None:
    specs = {(s.base_model, s.pattern.name, s.seed): s for s in outcome.grid.specs}
    assert len(outcome.ledger.done) == len(specs) == 14
    ngram, ngram_ja = specs["ngram", "ja8", 0], specs["ngram-ja", "ja8", 0]
    assert (ngram.pattern.source_rows, ngram.pattern.target_rows) == (24, 8)
    assert (ngram_ja.pattern.source_rows, ngram_ja.pattern.target_rows) == (0, 8)
    assert ("ngram-ja", "ja0", 0) not in specs
    skipped = {cell.key: cell.skipped for cell in outcome.grid.cells if cell.skipped}
    assert skipped == {
        CellKey("ngram-ja", "ja0"): (
            "ngram-ja does not train on en and ja0 has no ja rows to train on"
        )
    }
    assert specs["bert-embed", "ja0", 0].base_identity == specs["bert", "ja0", 0].base_identity
    assert (ngram.base_identity, ngram.base_path) == ("none", "")


def test_the_plan_shows_no_learning_rate(
    outcome: RunOutcome, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", str(file), "--results", outcome.results.root]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {tuple(line.split()[:2]): line.split() for line in lines if line.strip()}
    assert rows["ngram", "ja8"][2:7] == ["ngram", "24+8", "-", "2", "2"]
    assert rows["bert-embed", "ja0"][2:7] == ["embed", "24+0", "-", "2", "2"]
    assert not any(line.startswith("ngram ") and "encoder" in line for line in lines)


def test_settings_of_the_training_that_a_baseline_does_not_use_change_no_id(file: Path) -> None:
    few = load_grid(file)
    many = load_grid(file, "training.num_train_epochs=3", "training.max_length=64")
    changed = {
        a.base_model for a, b in zip(few.specs, many.specs, strict=True) if a.trial_id != b.trial_id
    }
    assert changed == {"bert", "bert-embed"}
    epochs = load_grid(file, "training.num_train_epochs=3")
    assert {
        a.base_model
        for a, b in zip(few.specs, epochs.specs, strict=True)
        if a.trial_id != b.trial_id
    } == {"bert"}


def test_a_baseline_is_one_process_and_ngrams_need_no_gpu(file: Path) -> None:
    grid = load_grid(file, "resources={workers: 2, gpus: 1, cpus: 2, accelerator_type: H100}")
    resources = {s.base_model: s.resources for s in grid.specs}
    assert (resources["bert"].workers, resources["bert"].gpus) == (2, 1)
    assert (resources["bert-embed"].workers, resources["bert-embed"].gpus) == (1, 1)
    assert resources["bert-embed"].accelerator_type == "H100"
    ngram = resources["ngram"]
    assert (ngram.workers, ngram.gpus, ngram.accelerator_type, ngram.cpus) == (1, 0, None, 2)
    assert list_requests(grid.experiment) == resources


def test_overrides_of_learning_rates_leave_baselines_alone(file: Path) -> None:
    rate = "overrides=[{match: {pattern: ja8}, learning_rate: 0.1, why: better}]"
    cells = {cell.key: cell for cell in load_grid(file, rate).cells}
    assert cells[CellKey("bert", "ja8")].note == "better"
    assert cells[CellKey("ngram", "ja8")].note == cells[CellKey("bert-embed", "ja8")].note == ""
    long = "overrides=[{match: {pattern: ja8}, training: {max_length: 32}, why: short}]"
    cells = {cell.key: cell for cell in load_grid(file, long).cells}
    assert cells[CellKey("bert-embed", "ja8")].specs[0].training.max_length == 32
    assert cells[CellKey("bert-embed", "ja8")].note == "short"
    assert cells[CellKey("ngram", "ja8")].note == ""


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        ({"name": "n", "method": "ngram", "path": "a/b"}, "method ngram reads no base model"),
        ({"name": "e", "method": "embed"}, "path: is required; give a hub id or a folder"),
        ({"name": "n", "method": "ngram", "learning_rate": 0.1}, "has no learning_rate; remove it"),
        ({"path": "a/b", "method": "full", "embed": {"prefix": "x"}}, "without method: embed"),
        ({"name": "n", "method": "ngram", "ngram": {"min_n": 5}}, "min_n 5 is more than max_n 4"),
        ({"name": "n", "method": "ngram", "pad_token": "x"}, "pad_token: method ngram reads no"),
        ({"name": "n", "method": "ngram", "kind": "encoder"}, "kind: method ngram reads no base"),
        ({"name": "mini-mbert", "revision": "main"}, "revision: miniatures are made on this"),
        ({"name": "n", "method": "ngrams"}, "unknown method 'ngrams'. Did you mean 'ngram'?"),
    ],
)
def test_wrong_settings_of_a_baseline_are_refused(
    model: dict[str, Any], problem: str, file: Path
) -> None:
    with pytest.raises(InputError) as caught:
        change_models(file, model)
    assert problem in str(caught.value)


def test_a_known_base_model_becomes_a_baseline_without_its_learning_rate(file: Path) -> None:
    (model,) = change_models(file, {"name": "mini-mbert", "method": "embed"}).models
    assert (model.path, model.learning_rate) == ("miniature:mini-mbert", None)


def test_an_override_that_changes_nothing_of_a_baseline_is_refused(file: Path) -> None:
    override = {"match": {"model": "ngram"}, "training": {"num_train_epochs": 3}}
    with pytest.raises(InputError, match=r"overrides\.0: changes nothing, because ngram has"):
        change_models(file, NGRAM, overrides=[override])


def test_the_search_of_learning_rates_leaves_baselines_out(file: Path) -> None:
    grid = load_grid(file, "search.dev_rows=8")
    rows = select_search_rows(grid)
    cells = make_search_cells(grid, rows, EVERY_CELL)
    assert {cell.cell.model.name for cell in cells} == {"bert"}
    models = [model.name for model in grid.experiment.models]
    selection = parse_selection("model=ngram,model=bert-embed", models, [])
    with pytest.raises(InputError, match="every selected cell is a baseline"):
        make_search_cells(grid, rows, selection)


def test_baselines_alone_need_no_search(file: Path, tmp_path: Path) -> None:
    experiment = change_models(file, NGRAM, learning_rate="auto", seeds=[0])
    outcome = run_sweep(experiment, str(tmp_path), backend="inline")
    assert len(outcome.ledger.done) == 2


def test_checks_say_that_ngrams_need_no_base_model(
    outcome: RunOutcome, file: Path, tmp_path: Path
) -> None:
    for results in (str(tmp_path / "new"), outcome.results.root):
        outcomes = check_sweep(load_experiment(file), results, backend="inline")
        rows = {o.title: {row[0]: row for row in o.rows} for o in outcomes}
        assert not [problem for o in outcomes for problem in o.problems]
        assert rows["Base models"]["ngram"][-1] == "needs no base model"
        assert set(rows["Memory"]) == {"bert", "bert-embed"}
        embed = dict(zip(("gradients", "AdamW"), rows["Memory"]["bert-embed"][5:7], strict=True))
        assert embed == {"gradients": "0", "AdamW": "0"}
        assert {"bert", "bert-embed", "ngram", "ngram-ja"} == set(rows["Time"])
        source = "all are done" if results == outcome.results.root else "length of texts"
        assert rows["Time"]["ngram"][4] == source


@pytest.mark.parametrize(
    "command",
    [["report"], ["compare"], ["curves"], ["boundary"], ["status"], ["report", "--format", "csv"]],
    ids=" ".join,
)
def test_every_command_on_results_shows_baselines(
    command: list[str], outcome: RunOutcome, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command[0], outcome.results.root, *command[1:]]) == 0
    shown = capsys.readouterr().out
    for name in ("bert-embed", "ngram", "ngram-ja"):
        assert name in shown


def test_rows_of_baselines_name_their_method(outcome: RunOutcome) -> None:
    collected = collect(outcome.results)
    rows = {row.cell.base_model: row for row in collected.rows}
    assert (rows["ngram"].method, rows["ngram"].learning_rate) == ("ngram", None)
    assert (rows["bert-embed"].method, rows["bert-embed"].training) == ("embed", "trained")
    assert collected.signature["precision"] == "fp32"
    assert {rate.base_model for rate in find_oracle_rates(collected)} == {"bert"}
    assert collected.to_pandas()["learning_rate"].isna().sum() == 10


def test_the_page_shows_baselines_without_training_curves(
    outcome: RunOutcome, tmp_path: Path
) -> None:
    from xlt.analysis.page.details import arrange_trials
    from xlt.analysis.page.rows import RowPool

    collected = collect(outcome.results)
    arranged = arrange_trials(collected, RowPool({}))
    trials = arranged["trials"]
    assert not any(trials["absent"])
    methods = [row.method for row in collected.rows]
    assert [loss is None for loss in trials["loss"]] == [m != "full" for m in methods]
    settings = [
        {arranged["texts"][text].split("\t")[0] for text in arranged["lists"][place]}
        for place in trials["spec"]
    ]
    number = methods.index("ngram")
    assert "training.num_train_epochs" not in settings[number]
    assert {"ngram.max_n", "method"} <= settings[number]
    assert "training.num_train_epochs" in settings[methods.index("full")]
    page = ["--format", "html", "--out", str(tmp_path / "page.html")]
    assert main(["report", outcome.results.root, *page]) == 0


def test_kept_models_are_not_those_of_baselines(outcome: RunOutcome) -> None:
    with pytest.raises(InputError, match="method ngram keeps no model; choose a trial of a fine"):
        find_trial(outcome.results.root, model="ngram", pattern="ja8", seed=0)
    assert find_trial(outcome.results.root, model="bert", pattern="ja8", seed=0).files


def test_explain_leaves_baselines_out(outcome: RunOutcome, tmp_path: Path) -> None:
    said: list[str] = []
    root = str(shutil.copytree(outcome.results.root, tmp_path / "copy"))
    settings = {"method": "occlusion", "rows": 1}
    explained = explain_trials(
        root, only="pattern=ja8", settings=settings, backend="inline", say=said.append
    )
    assert (explained.num_explained, explained.failed) == (2, {})
    assert said[0].startswith("bert-embed, ngram, ngram-ja: a baseline keeps no model")
    with pytest.raises(InputError, match="a baseline keeps no model, so its trials cannot"):
        explain_trials(root, only="model=ngram", settings=settings, backend="inline")


@pytest.mark.ray
@pytest.mark.filterwarnings("default")
def test_tune_gives_the_bytes_of_inline(
    outcome: RunOutcome, file: Path, tmp_path: Path, ray_address: str
) -> None:
    on_ray = run_sweep(load_experiment(file), str(tmp_path))
    assert trial_files(on_ray.results) == trial_files(outcome.results)
