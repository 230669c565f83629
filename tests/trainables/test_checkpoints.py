"""A killed trial resumes from its checkpoint and gives the bytes of an undisturbed one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save

from xlt.data.dataset.schema import Dataset
from xlt.sweep.backends.worker import ArtifactPolicy, run_and_save
from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import TrialResult
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training import checkpoints
from xlt.trainables.training.checkpoints import Checkpoints
from xlt.trainables.trial.run_trial import run_trial
from xlt.trainables.trial.signature import read_versions

MakeSpec = Callable[..., TrialSpec]
CASES = (("llama", "lora"), ("gpt_neox", "lora"), ("bert", "full"), ("bert", "lora"))


class Killed(BaseException):
    """Ends a trial as SIGKILL does: nothing of ours runs afterwards."""


def located(folder: Path) -> Results:
    results = Results(str(folder))
    results.prepare()
    return results


def killed_after(
    step: int, spec: TrialSpec, dataset: Dataset, kept: Checkpoints, monkeypatch: Any
) -> None:
    """Train until a step, with a checkpoint after each."""
    save = Checkpoints.save

    def saved(self: Checkpoints, model: Any, optimizer: Any, at: int, *rest: Any) -> None:
        save(self, model, optimizer, at, *rest)
        if at == step:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoints, "save", saved)
        with pytest.raises(Killed):
            run_trial(spec, dataset, checkpoints=kept)


def same(first: TrialResult, second: TrialResult) -> bool:
    tables = ("predictions", "history", "train_rows")
    shares = {result.execution["padding_share"] for result in (first, second)}
    return (
        first.model == second.model
        and len(shares) == 1
        and all(getattr(first, name).equals(getattr(second, name)) for name in tables)
    )


@pytest.mark.parametrize(("architecture", "method"), CASES)
@pytest.mark.parametrize("steps", [(3,), (1, 6)])  # of 8; the second kill after going on
def test_a_resumed_trial_gives_the_same_bytes(
    architecture: str,
    method: str,
    steps: tuple[int, ...],
    make_spec: MakeSpec,
    tiny_dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = make_spec(architecture, method=method)
    undisturbed = run_trial(spec, tiny_dataset, keep_models="all")
    results = located(tmp_path / "results")
    for step in steps:
        fresh = Checkpoints(results, spec.trial_id, 0, read_versions())
        killed_after(step, spec, tiny_dataset, fresh, monkeypatch)
        torch.manual_seed(12345)  # another process has other generators
    kept = Checkpoints(results, spec.trial_id, 0, read_versions())
    resumed = run_trial(spec, tiny_dataset, keep_models="all", checkpoints=kept)
    assert resumed.execution["resumed_at_steps"] == list(steps)
    assert same(resumed, undisturbed)


def test_dropout_goes_on_where_it_was(
    make_spec: MakeSpec,
    tiny_dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the generators' state the resumed trial differs: the test above can fail."""
    spec = make_spec("llama", lora={"lora_dropout": 0.5})
    undisturbed = run_trial(spec, tiny_dataset)
    results = located(tmp_path / "results")
    killed_after(
        3, spec, tiny_dataset, Checkpoints(results, spec.trial_id, 0, read_versions()), monkeypatch
    )
    monkeypatch.setattr(checkpoints, "set_random_state", lambda states: None)
    kept = Checkpoints(results, spec.trial_id, 0, read_versions())
    assert not same(run_trial(spec, tiny_dataset, checkpoints=kept), undisturbed)


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "versions", "form"])
def test_an_unusable_checkpoint_means_the_beginning(
    damage: str,
    make_spec: MakeSpec,
    tiny_dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = make_spec("llama")
    undisturbed = run_trial(spec, tiny_dataset)
    results = located(tmp_path / "results")
    mine = read_versions() | ({"torch": "0.1"} if damage == "versions" else {})
    killed_after(3, spec, tiny_dataset, Checkpoints(results, spec.trial_id, 0, mine), monkeypatch)
    (file,) = (tmp_path / "results" / "checkpoints").iterdir()
    tensors = load_file(file)
    del tensors["parts.places"]  # as if an earlier form did not have it
    with safe_open(file, "pt") as opened:
        notes = opened.metadata()
    content = {
        "cut": file.read_bytes()[:-100], "empty": b"", "text": b"not a checkpoint at all",
        "form": save(tensors, notes),
    }  # fmt: skip
    if damage in content:
        file.write_bytes(content[damage])
    kept = Checkpoints(results, spec.trial_id, 3600, read_versions())
    resumed = run_trial(spec, tiny_dataset, checkpoints=kept)
    assert resumed.execution["resumed_at_steps"] == []
    assert same(resumed, undisturbed)


def test_the_checkpoint_goes_when_the_trial_is_done_or_failed(
    make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = located(tmp_path / "results")
    seen: list[int] = []
    save = Checkpoints.save

    def watched(self: Checkpoints, *rest: Any) -> None:
        save(self, *rest)
        seen.append(len(list((tmp_path / "results" / "checkpoints").iterdir())))

    monkeypatch.setattr(Checkpoints, "save", watched)
    policy = ArtifactPolicy(checkpoint_minutes=0)
    for spec in (make_spec("llama"), make_spec("llama", learning_rate=1e30)):
        run_and_save(spec, tiny_dataset, results, policy, lambda *_: None)
    assert seen and set(seen) == {1}
    assert list((tmp_path / "results" / "checkpoints").iterdir()) == []


def test_a_full_disk_costs_the_checkpoint_and_not_the_trial(
    make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec("llama")
    results = located(tmp_path / "results")
    kept = Checkpoints(results, spec.trial_id, 0, read_versions())

    def full(path: str, content: bytes) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(results, "write", full)
    result = run_trial(spec, tiny_dataset, checkpoints=kept)
    assert "no space left" in result.execution["checkpoint_error"]
    assert same(result, run_trial(spec, tiny_dataset))


def test_checkpoints_are_as_far_apart_as_asked(
    make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    spec = make_spec("llama")
    results = located(tmp_path / "results")
    run_trial(
        spec, tiny_dataset, checkpoints=Checkpoints(results, spec.trial_id, 3600, read_versions())
    )
    assert not (tmp_path / "results" / "checkpoints").exists()
    kept = Checkpoints(results, spec.trial_id, 0, read_versions())
    run_trial(spec, tiny_dataset, checkpoints=kept)
    assert results.exists("checkpoints", f"{spec.trial_id}.safetensors")


def test_checkpoints_hold_what_is_trained_and_no_more(
    make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    """A frozen 7B base is not written every ten minutes."""
    from safetensors.torch import load

    spec = make_spec("llama")
    results = located(tmp_path / "results")
    kept = Checkpoints(results, spec.trial_id, 0, read_versions())
    run_trial(spec, tiny_dataset, checkpoints=kept)
    tensors = load(results.read("checkpoints", f"{spec.trial_id}.safetensors"))
    weights = [name for name in tensors if name.startswith("model.")]
    assert weights and all("lora_" in name or "score" in name for name in weights)
