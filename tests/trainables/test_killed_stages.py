"""A trial in two stages that is killed in any of them has the same bytes."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from killed_trials import assert_same_bytes, kill_after, located
from staged_specs import (
    KINDS,
    NUM_FIRST,
    MakeSpec,
    in_stages,
)

from xlt.data.dataset.schema import Dataset
from xlt.trainables.training.checkpoints import Checkpoints, PreemptedError
from xlt.trainables.trial import fit_stages as fit_stages_module
from xlt.trainables.trial.run_trial import run_trial
from xlt.trainables.trial.signature import read_versions

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("regime", ["sequential", "multistage"])
@pytest.mark.parametrize("kind", ["full", "lora", "averaged"])
@pytest.mark.parametrize("kills", [(2,), (NUM_FIRST,), (1, NUM_FIRST), (NUM_FIRST, 1, 1)])
def test_a_trial_killed_in_any_stage_gives_the_same_bytes(
    regime: str,
    kind: str,
    kills: tuple[Any, ...],
    make_large: MakeSpec,
    tiny_dataset: Dataset,
    tmp_path: Path,
) -> None:
    spec = in_stages(make_large, regime, **KINDS[kind])
    run = partial(run_trial, spec, tiny_dataset, keep_models="all")
    undisturbed = run()
    results, steps = located(tmp_path), []
    for kill in kills:
        num = NUM_FIRST[regime] + 1 if kill is NUM_FIRST else kill
        kill_after(num - steps[-1] if num > 1 and steps else num, results, run, spec.trial_id)
        steps.append(steps[-1] + 1 if num == 1 and steps else num)
    resumed = run(checkpoints=Checkpoints(results, spec.trial_id, 3600, read_versions()))
    assert resumed.execution["resumed_at_steps"] == steps
    assert resumed.execution["padding_share"] == undisturbed.execution["padding_share"]
    assert_same_bytes(resumed, undisturbed)


def test_a_checkpoint_of_the_second_stage_in_another_form_means_the_beginning(
    make_large: MakeSpec, tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = in_stages(make_large, "sequential")
    run = partial(run_trial, spec, tiny_dataset, keep_models="all")
    undisturbed, results = run(), located(tmp_path)
    kill_after(NUM_FIRST["sequential"] + 1, results, run, spec.trial_id)
    monkeypatch.setattr(fit_stages_module, "train_used_rows", lambda *_: None)  # as on a GPU
    resumed = run(checkpoints=Checkpoints(results, spec.trial_id, 3600, read_versions()))
    assert resumed.execution["resumed_at_steps"] == []
    assert "another form" in resumed.execution["not_resumed"]
    assert_same_bytes(resumed, undisturbed)


def test_a_lost_checkpoint_of_the_second_stage_fails_the_trial(
    make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model was not trained in the first stage, and must not be trained in the second one."""
    spec, results = in_stages(make_spec, "sequential"), located(tmp_path)
    run = partial(run_trial, spec, tiny_dataset)
    kill_after(NUM_FIRST["sequential"] + 1, results, run, spec.trial_id)
    saved = [results.read_checkpoint(spec.trial_id), None]
    monkeypatch.setattr(results, "read_checkpoint", lambda _: saved.pop(0))
    with pytest.raises(RuntimeError, match="second stage was there and is lost"):
        run(checkpoints=Checkpoints(results, spec.trial_id, 3600, read_versions()))


def test_a_preempted_trial_counts_the_steps_of_both_stages(
    make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    spec = in_stages(make_spec, "sequential")
    calls: list[int] = []

    def preempted() -> bool:
        calls.append(1)
        return len(calls) > NUM_FIRST["sequential"]

    kept = Checkpoints(located(tmp_path), spec.trial_id, 3600, read_versions(), preempted)
    with pytest.raises(PreemptedError) as error:
        run_trial(spec, tiny_dataset, checkpoints=kept)
    assert error.value.step == NUM_FIRST["sequential"] + 1
