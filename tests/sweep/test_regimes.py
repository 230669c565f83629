"""Regimes in an experiment: its grid and plan, and trials that start from others' kept models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from grids import load_grid

from xlt.data.core.errors import InputError
from xlt.sweep.experiment.experiment import load_experiment
from xlt.sweep.plan_text.text import describe_plan
from xlt.sweep.planning.launch_order import find_first_stages, find_waits
from xlt.sweep.run import RunOutcome, run_sweep
from xlt.sweep.search.run import search_rates
from xlt.trainables.results.result import Results
from xlt.trainables.spec.trial_spec import TrialSpec

NUM_SHARED = 8
"""Trials that start from a kept model: sequential and multistage, ja8 and ja16, two seeds."""


@pytest.fixture(scope="module")
def file(experiment_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One base model under three names, each with its regime."""
    values: dict[str, Any] = yaml.safe_load(experiment_file.read_text())
    (bert,) = (model for model in values["models"] if model["name"] == "bert")
    regimes = ("sequential", "multistage")
    values["models"] = [bert, *(bert | {"name": f"bert-{regime}"} for regime in regimes)]
    values["overrides"] = [
        {
            "match": {"model": f"bert-{regime}"},
            "training": {"regime": regime, "target_stage": {"num_train_epochs": 2}},
        }
        for regime in regimes
    ]
    values["patterns"] = [{f"ja{num}": {"source_rows": 24}} for num in (0, 8, 16)]
    values["storage"] = {"keep_models": "all"}
    file = tmp_path_factory.mktemp("regimes") / "regimes.yaml"
    file.write_text(yaml.safe_dump(values, sort_keys=False))
    return file


def read(outcome: RunOutcome, spec: TrialSpec) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The files of a trial whose bytes are compared, and its record."""
    files = {
        name: outcome.results.read("trials", spec.trial_id, name)
        for name in outcome.results.sizes(f"trials/{spec.trial_id}")
        if not name.endswith("trial.json")
    }
    record = outcome.results.state(spec.trial_id).record
    assert record is not None
    return files, dict(record)


def test_a_cell_without_both_kinds_of_rows_has_the_plain_ids(file: Path) -> None:
    plain = load_grid(file, "overrides=[]")
    grid = load_grid(file)
    for cell, plain_cell in zip(grid.cells, plain.cells, strict=True):
        same = [spec.trial_id for spec in cell.specs] == [s.trial_id for s in plain_cell.specs]
        is_staged = cell.model.name != "bert" and cell.pattern.name != "ja0"
        assert same is not is_staged
        assert cell.specs[0].training.has_stages is is_staged
    joint = load_grid(file, "overrides=[]", "training.regime=joint", "training.target_stage={}")
    assert [s.trial_id for s in joint.specs] == [s.trial_id for s in plain.specs]


def test_a_baseline_ignores_a_regime(file: Path) -> None:
    settings = "overrides=[]", "models=[{name: grams, method: ngram}]"
    plain, staged = (
        load_grid(file, *settings, *more) for more in ((), ("training.regime=sequential",))
    )
    assert [s.trial_id for s in plain.specs] == [s.trial_id for s in staged.specs]
    assert not any(cell.without_effect for cell in staged.cells)


def test_trials_of_another_name_give_the_first_stage(file: Path) -> None:
    grid = load_grid(file)
    by_id = {spec.trial_id: spec for spec in grid.specs}
    shared = find_first_stages(grid.specs)
    assert len(shared) == NUM_SHARED
    for later, earlier in shared.items():
        spec, first = by_id[later], by_id[earlier]
        is_sequential = spec.training.regime == "sequential"
        pattern = "ja0" if is_sequential else spec.pattern.name
        assert (first.base_model, first.pattern.name, first.seed) == ("bert", pattern, spec.seed)
    assert {i: {first} for i, first in shared.items()} == find_waits(grid.specs, shared, "all")
    for keep_models in ("none", "adapters", "best"):
        assert not find_waits(grid.specs, shared, keep_models)
    left = [spec for spec in grid.specs if spec.training.has_stages]
    assert not find_waits(left, shared, "all")  # the others are done
    assert not find_first_stages(load_grid(file, "overrides=[]").specs)


def test_one_trial_without_target_rows_serves_all_target_languages(file: Path) -> None:
    """With several test languages ja0 and en0 are one training, whatever its target language is."""
    spec = next(s for s in load_grid(file).specs if s.training.regime == "sequential")
    first = spec.first_stage
    assert first
    other = first.model_copy(
        update={"pattern": first.pattern.model_copy(update={"target_lang": "de"})}
    )
    assert first.training_identity() != other.training_identity()
    sampling = first.sampling.model_copy(update={"test_langs": ("ja", "de")})
    first, other = (s.model_copy(update={"sampling": sampling}) for s in (first, other))
    assert first.training_identity() == other.training_identity()


def test_the_plan_counts_steps_and_those_that_kept_models_save(file: Path, tmp_path: Path) -> None:
    results = Results(str(tmp_path))
    text = describe_plan(load_grid(file), results)
    reason = "there are no source rows or no target rows, so that cells train as joint"
    cells = "bert-sequential x ja0, bert-multistage x ja0"
    assert f"training.regime has no effect where {reason}: {cells}" in text
    assert "sequential: 3 steps on source rows, then 2 on target rows" in text
    assert "multistage: 5 steps on all rows, then 4 on target rows" in text
    # 3 source batches; 4 or 5 of all rows; one or two target batches, twice; two seeds.
    assert "8 trials train in two stages: 30 steps in the first one and 24 in the second" in text
    assert "8 of 18 trials start from kept models of ja0, ja16, ja8, and 30 steps are saved" in text
    text = describe_plan(load_grid(file, "storage.keep_models=best"), results)
    assert "Set storage.keep_models: all; then 8 of 18 trials start from kept models" in text
    text = describe_plan(load_grid(file, "overrides=[]"), results)
    assert "stages" not in text and "train as joint" not in text
    settings = "overrides=[]", "training.regime=sequential", "patterns=[ja0]"
    text = describe_plan(load_grid(file, *settings, "patterns=[{ja0: {source_rows: 24}}]"), results)
    assert f"training.regime has no effect where {reason}: bert x ja0" in text


def test_a_target_stage_without_a_regime_is_refused(file: Path) -> None:
    stage = "training.target_stage={learning_rate: 0.001}"
    with pytest.raises(InputError, match=r"training.target_stage: changes nothing.*set training"):
        load_experiment(file, ["overrides=[]", stage])
    load_experiment(file, ["overrides=[]", stage, "training.regime=sequential"])
    load_experiment(file, [stage])
    override = "overrides=[{match: {model: bert}, training: {target_stage: {num_train_epochs: 2}}}]"
    with pytest.raises(InputError, match=r"overrides.0.training.target_stage: changes nothing"):
        load_experiment(file, [override])
    with pytest.raises(InputError, match="regime"):
        load_experiment(file, ["training.regime=mixed"])


def test_early_stopping_is_for_the_second_stage(file: Path, tmp_path: Path) -> None:
    early = "training.early_stopping={dev_rows: 8}"
    grid = load_grid(file, early)
    shared = find_first_stages(grid.specs)
    by_id = {spec.trial_id: spec for spec in grid.specs}
    # A joint trial of this experiment stops early, and a first stage does not.
    assert not shared
    for spec in grid.specs:
        staged = spec.training.has_stages
        assert spec.num_scored_rows == 8 * (2 if staged else 1)
        first, last = spec.stages[0], spec.stages[-1]
        assert (first.training.early_stopping is None, first.dev) == (staged, None)
        assert last.training.early_stopping == spec.training.early_stopping
    text = describe_plan(grid, Results(str(tmp_path)))
    assert "sequential: 3 steps on source rows, then at most 2 on target rows" in text
    assert "30 steps in the first one and at most 24 in the second one" in text
    assert "Early stopping on source rows in the second stage: training ends after 2" in text
    assert "Early stopping on source rows: training ends after 2" in text
    stages = yaml.safe_load(file.read_text())["overrides"]
    plain = [{"match": {"model": "bert"}, "training": {"early_stopping": None}}]
    overrides = yaml.safe_dump([*stages, *plain], default_flow_style=True).strip()
    grid = load_grid(file, early, f"overrides={overrides}")
    by_id = {spec.trial_id: spec for spec in grid.specs}
    shared = find_first_stages(grid.specs)
    assert {by_id[later].training.regime for later in shared} == {"sequential", "multistage"}
    assert len(shared) == NUM_SHARED


def test_a_first_stage_leaves_out_the_target_rows_of_early_stopping(file: Path) -> None:
    early = "training.early_stopping={dev: target, num_folds: 2}"
    only = "{match: {model: bert-multistage}, training: {regime: multistage}}"
    settings = early, f"overrides=[{only}]", "patterns=[{ja8: {source_rows: 24}}]"
    grid = load_grid(file, *settings)
    assert not find_first_stages(grid.specs)
    (spec, *_) = (s for s in grid.specs if s.training.has_stages)
    assert [stage.num_target_rows for stage in spec.stages] == [4, 4]
    assert [stage.num_steps for stage in spec.stages] == [4, 1]  # 24 + 4 rows in batches of 8


def count_taken(outcome: RunOutcome) -> int:
    """Count the trials that start from a kept model; all trials must be done."""
    assert len(outcome.ledger.done) == len(outcome.grid.specs)
    num_taken = 0
    for spec in outcome.grid.specs:
        execution = read(outcome, spec)[1]["execution"]
        assert ("first_stage" in execution) is spec.training.has_stages
        num_taken += bool(execution.get("first_stage", {}).get("taken_from"))
    return num_taken


def test_trials_start_from_kept_models_and_give_the_bytes_of_new_ones(
    file: Path, outcome: RunOutcome, tmp_path: Path
) -> None:
    assert count_taken(outcome) == NUM_SHARED
    only = "model=bert-sequential,pattern=ja8"
    alone = run_sweep(load_experiment(file), str(tmp_path), backend="inline", only=only)
    for spec in alone.grid.selected(load_experiment(file).select(only))[0].specs:
        files, record = read(alone, spec)
        assert "is absent" in record["execution"]["first_stage"]["why_trained"]
        assert files == read(outcome, spec)[0]
    assert alone.num_run == 2


@pytest.mark.ray
def test_two_workers_wait_for_the_trials_that_give_first_stages(
    file: Path, outcome: RunOutcome, ray_address: str, tmp_path: Path
) -> None:
    experiment = load_experiment(file)
    on_ray = run_sweep(experiment, str(tmp_path), backend="ray", address=ray_address)
    assert count_taken(on_ray) == NUM_SHARED
    for spec in on_ray.grid.specs:
        assert read(on_ray, spec)[0] == read(outcome, spec)[0]


@pytest.mark.chaos
@pytest.mark.ray
def test_trials_run_if_those_that_they_wait_for_failed(
    file: Path, ray_address: str, tmp_path: Path
) -> None:
    """At such a learning rate both fail; the later ones are not held back for ever."""
    diverging = yaml.safe_dump(
        [
            {"match": {"model": "bert"}, "learning_rate": 1e30},
            {
                "match": {"model": "bert-sequential"}, "learning_rate": 1e30,
                "training": {"regime": "sequential"},
            },
        ],
        default_flow_style=True,
    ).strip()  # fmt: skip
    settings = [f"overrides={diverging}", "seeds=[0]"]
    experiment = load_experiment(file, settings)
    failed = run_sweep(experiment, str(tmp_path), backend="ray", address=ray_address)
    assert find_first_stages(failed.grid.specs)
    states = {s.cell: failed.ledger.states[s.trial_id].state for s in failed.grid.specs}
    assert not failed.interrupted
    assert {states[cell] for cell in states if cell.base_model == "bert"} == {"failed"}
    assert {states[cell] for cell in states if cell.base_model == "bert-sequential"} == {"failed"}
    assert {states[c] for c in states if c.base_model == "bert-multistage"} == {"done"}


@pytest.mark.chaos
@pytest.mark.ray
def test_a_search_trains_both_stages_of_a_cell(
    file: Path, ray_address: str, tmp_path: Path
) -> None:
    """Dev rows are a fold of the target rows, so the second stage has fewer."""
    only = "model=bert-sequential,pattern=ja8"
    search = "{learning_rate: [0.003, 0.01], dev: target, num_folds: 2, min_dev_rows: 4}"
    experiment = load_experiment(file, ["seeds=[0]", f"search={search}"])
    outcome = search_rates(experiment, str(tmp_path), address=ray_address, only=only)
    (rate,) = outcome.chosen.cells
    assert rate.learning_rate in (0.003, 0.01)
    results = outcome.results
    for trial_id in results.trial_ids():
        spec = results.read_spec(trial_id)
        assert spec.training.regime == "sequential" and spec.num_target_rows == 4
        assert results.read_table(trial_id, "history").num_rows == spec.num_steps
