"""The first of two stages is taken from the kept model of another trial."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from gloo_group import run_together
from killed_trials import assert_same_bytes, kill_after, located
from staged_specs import (
    KINDS,
    NUM_FIRST,
    MakeSpec,
    in_stages,
)

from xlt.data.dataset.schema import Dataset
from xlt.sweep.backends.artifact_policy import ArtifactPolicy
from xlt.sweep.backends.worker import run_and_save
from xlt.trainables.results.result import Results
from xlt.trainables.spec.resources import Resources
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.checkpoints import Checkpoints
from xlt.trainables.trial.first_stage_kept import KeptFirstStage
from xlt.trainables.trial.run_trial import run_trial
from xlt.trainables.trial.signature import read_versions

pytestmark = pytest.mark.usefixtures("one_thread")


def find_first(spec: TrialSpec, **changes: Any) -> TrialSpec:
    """The trial that the first stage repeats, as a grid has it: with the name of its pattern."""
    first = spec.first_stage
    assert first
    name = f"ja{first.pattern.target_rows}"
    pattern = first.pattern.model_copy(update={"name": name})
    return first.model_copy(update={"pattern": pattern, **changes})


def keep_first(spec: TrialSpec, dataset: Dataset, results: Results, **changes: Any) -> TrialSpec:
    """Train the trial that the first stage repeats, under another name, and keep its model."""
    other = find_first(spec, base_model="other-name", **changes)
    results.save(run_trial(other, dataset, keep_models="all"))
    return other


@pytest.mark.parametrize("regime", ["sequential", "multistage"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_trial_from_a_kept_model_has_the_bytes_of_one_that_trains_both(
    regime: str, kind: str, make_large: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    spec, results = in_stages(make_large, regime, **KINDS[kind]), located(tmp_path)
    other = keep_first(spec, tiny_dataset, results)
    whole = run_trial(spec, tiny_dataset, keep_models="all")
    steps: list[int] = []
    shared = run_trial(
        spec,
        tiny_dataset,
        keep_models="all",
        first_stage=KeptFirstStage(results, other.trial_id),
        report=lambda step, *_: steps.append(step),
    )
    assert_same_bytes(shared, whole)
    assert steps == [spec.num_steps]
    expected = {"taken_from": other.trial_id, "why_trained": ""}
    assert shared.execution["first_stage"] == expected
    assert whole.execution["first_stage"] == {"taken_from": "", "why_trained": ""}


@pytest.mark.parametrize("kind", ["full", "averaged"])
def test_a_trial_from_a_kept_model_resumes_without_it(
    kind: str, make_large: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    spec, results = in_stages(make_large, "sequential", **KINDS[kind]), located(tmp_path)
    kept = KeptFirstStage(results, keep_first(spec, tiny_dataset, results).trial_id)
    run = partial(run_trial, spec, tiny_dataset, keep_models="all")
    kill_after(1, results, partial(run, first_stage=kept), spec.trial_id)
    resumed = run(checkpoints=Checkpoints(results, spec.trial_id, 3600, read_versions()))
    assert resumed.execution["resumed_at_steps"] == [NUM_FIRST["sequential"] + 1]
    assert resumed.execution["first_stage"]["taken_from"] == kept.trial_id
    assert_same_bytes(resumed, run())


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ("absent", "is absent"),
        ("settings", "other settings"),
        ("no model", "kept no model"),
        ("damaged", "was changed after it was written"),
        ("threads", "num_threads 2, here 1"),
        ("passes", "micro_batch_size 4, here None"),
    ],
)
def test_another_model_is_not_taken(
    other: str, why: str, make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    spec, results = in_stages(make_spec, "sequential"), located(tmp_path)
    changes: dict[str, Any] = {
        "settings": {"learning_rate": 1e-3},
        "threads": {"resources": Resources(cpus=2)},
        "passes": {"resources": Resources(micro_batch_size=4)},
    }.get(other, {})
    trial = find_first(spec, **changes)
    if other == "no model":
        results.save(run_trial(trial, tiny_dataset))
    elif other != "absent":
        trial = keep_first(spec, tiny_dataset, results, **changes)
    if other == "damaged":
        file = tmp_path / "trials" / trial.trial_id / "model" / "model.safetensors"
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    run = partial(run_trial, spec, tiny_dataset, keep_models="all")
    result = run(first_stage=KeptFirstStage(results, trial.trial_id))
    assert why in result.execution["first_stage"]["why_trained"]
    assert not result.execution["first_stage"]["taken_from"]
    assert_same_bytes(result, run())


def train_together(rank: int, folder: str, text: str) -> None:
    """Train the whole trial in one worker, resume it in stage 2, and start from a kept model."""
    spec = TrialSpec.parse(json.loads(text))
    dataset = Dataset.from_table(pq.read_table(f"{folder}/rows.parquet"))
    results = Results(f"{folder}/results")
    run = partial(run_trial, spec, dataset, keep_models="all")
    whole = run()
    kill_after(NUM_FIRST["sequential"] + 1, results, run, spec.trial_id)
    resumed = run(checkpoints=Checkpoints(results, spec.trial_id, 3600, read_versions()))
    assert resumed.execution["resumed_at_steps"] == [NUM_FIRST["sequential"] + 1]
    first = find_first(spec)
    kept = run_trial(first, dataset, keep_models="all")
    if rank == 0:
        results.save(kept)
    torch.distributed.barrier()
    shared = run(first_stage=KeptFirstStage(results, first.trial_id))
    assert shared.execution["first_stage"]["taken_from"] == first.trial_id
    if rank == 0:
        assert_same_bytes(resumed, whole)
        assert_same_bytes(shared, whole)
        Path(folder, "compared").touch()


@pytest.mark.chaos
@pytest.mark.parametrize("sharding", ["ddp", "fsdp"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_two_processes_train_both_stages(
    sharding: str, method: str, make_large: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    resources = Resources(workers=2, sharding=sharding)
    spec = in_stages(make_large, "sequential", method=method, resources=resources.model_dump())
    located(tmp_path / "results")
    pq.write_table(tiny_dataset.table, tmp_path / "rows.parquet")
    run_together(train_together, (str(tmp_path), spec.model_dump_json()), resources.workers)
    assert (tmp_path / "compared").exists()


def test_a_worker_takes_the_model_of_the_policy(
    make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    spec, results = in_stages(make_spec, "sequential"), located(tmp_path)
    other = keep_first(spec, tiny_dataset, results)
    policy = ArtifactPolicy(first_stages={spec.trial_id: other.trial_id})
    run_and_save(spec, tiny_dataset, results, policy, lambda *_: None)
    record = results.state(spec.trial_id).record
    assert record and record["execution"]["first_stage"]["taken_from"] == other.trial_id
