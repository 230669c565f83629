"""Of a cell's trials only the best keeps its model, and all stay done."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from result_folders import save_done

from xlt.data.dataset.schema import Dataset
from xlt.sweep.backends.artifact_policy import ArtifactPolicy
from xlt.sweep.backends.events import Finished
from xlt.sweep.backends.worker import run_and_save
from xlt.trainables.results.best_model import HOW_CHOSEN, drop_worse_models
from xlt.trainables.results.find_trial import find_trial
from xlt.trainables.results.plan import Plan, PlannedCell, PlannedTrial
from xlt.trainables.results.result import Results
from xlt.trainables.spec.trial_spec import TrialSpec

SEEDS = (0, 1, 2)


def make_plan_of(specs: list[TrialSpec]) -> Plan:
    trials = tuple(PlannedTrial(trial_id=spec.trial_id, seed=spec.seed) for spec in specs)
    first = specs[0]
    cell = PlannedCell(base_model=first.base_model, pattern=first.pattern.name, trials=trials)
    return Plan(experiment="test", cells=(cell,))


def models(results: Results) -> set[str]:
    folder = Path(results.path("trials"))
    return {file.parent.parent.name for file in folder.glob("*/model/*.safetensors")}


@pytest.mark.parametrize("architecture", ["llama", "bert"])
def test_the_best_trial_keeps_its_model(
    architecture: str, make_spec: Callable[..., TrialSpec], tiny_dataset: Dataset, tmp_path: Path
) -> None:
    results = Results(str(tmp_path / "results"))
    results.prepare()
    specs = [make_spec(architecture, seed=seed) for seed in SEEDS]
    ids = tuple(spec.trial_id for spec in specs)
    policy = ArtifactPolicy(models="best", cells=dict.fromkeys(ids, ids))
    losses: dict[str, float] = {}
    for spec in specs:  # never more than two models on the disk
        outcome = run_and_save(spec, tiny_dataset, results, policy, lambda *_: None)
        assert isinstance(outcome, Finished)
        losses[spec.trial_id] = outcome.convergence["final_loss"]
        assert models(results) == {min(losses, key=lambda i: losses[i])}
    assert len(set(losses.values())) > 1
    assert all(state.state == "done" for state in results.states(ids).values())
    assert drop_worse_models(results, ids) in models(results)  # once more changes nothing
    results.save_experiment(make_plan_of(specs), "name: test\n")
    found = find_trial(results.uri, model=spec.base_model)  # the seed is not needed
    assert {found.trial_id} == models(results)
    assert found.chosen == HOW_CHOSEN


def test_neither_test_scores_nor_diverged_trials_choose(tmp_path: Path) -> None:
    results = Results(str(tmp_path / "results"))
    results.prepare()
    values = ((0, 0.9, 0.3), (1, 0.7, 0.1), (2, 0.95, math.nan))
    ids = [
        save_done(results, "elyza", "ja16", seed, {"auroc": a}, convergence={"final_loss": loss})
        for seed, a, loss in values
    ]
    assert drop_worse_models(results, ids) == ids[1]


def test_what_another_experiment_kept_stays(
    make_spec: Callable[..., TrialSpec], tiny_dataset: Dataset, tmp_path: Path
) -> None:
    results = Results(str(tmp_path / "results"))
    results.prepare()
    specs = [make_spec("llama", seed=seed) for seed in SEEDS]
    ids = [spec.trial_id for spec in specs]
    policies: tuple[Any, ...] = ("best", "all", "best")
    for spec, models_kept in zip(specs, policies, strict=True):
        policy = ArtifactPolicy(models=models_kept)
        run_and_save(spec, tiny_dataset, results, policy, lambda *_: None)
    assert models(results) == set(ids)
    best = drop_worse_models(results, ids)
    assert models(results) == {ids[1], best}


def test_other_cells_and_trials_that_are_not_done_are_left_alone(
    make_spec: Callable[..., TrialSpec], tiny_dataset: Dataset, tmp_path: Path
) -> None:
    results = Results(str(tmp_path / "results"))
    results.prepare()
    mine, other, missing = (make_spec("llama", seed=seed) for seed in SEEDS)
    for spec in (mine, other):
        run_and_save(spec, tiny_dataset, results, ArtifactPolicy(models="all"), lambda *_: None)
    assert drop_worse_models(results, [mine.trial_id, missing.trial_id]) == mine.trial_id
    assert models(results) == {mine.trial_id, other.trial_id}
    assert drop_worse_models(results, [missing.trial_id]) is None
