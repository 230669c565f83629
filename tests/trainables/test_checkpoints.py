"""A killed trial resumes from its checkpoint and gives the bytes of an undisturbed one."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from killed_trials import have_same_bytes, killed_after, located
from safetensors import safe_open
from safetensors.torch import load_file, save

from xlt.data.dataset.schema import Dataset
from xlt.sweep.backends.artifact_policy import ArtifactPolicy
from xlt.sweep.backends.worker import run_and_save
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training import checkpoints
from xlt.trainables.training.checkpoint_file import hash_state
from xlt.trainables.training.checkpoints import Checkpoints, LoopState
from xlt.trainables.training.workers import Workers
from xlt.trainables.trial.run_trial import run_trial
from xlt.trainables.trial.signature import read_versions

MakeSpec = Callable[..., TrialSpec]
CASES = (("llama", "lora"), ("gpt_neox", "lora"), ("bert", "full"), ("bert", "lora"))


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
    assert have_same_bytes(resumed, undisturbed)


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
    assert not have_same_bytes(run_trial(spec, tiny_dataset, checkpoints=kept), undisturbed)


@pytest.mark.parametrize("damage", ["cut", "bit", "versions", "form", "no hash"])
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
    tensors, content = load_file(file), file.read_bytes()
    with safe_open(file, "pt") as opened:
        notes = opened.metadata()
    del notes["sha256"]
    fewer = {k: v for k, v in tensors.items() if k != "parts.places"}  # of an earlier form
    changed = {
        "cut": content[:-100], "bit": flip(content, 8 * len(content) - 3),
        "form": save(fewer, notes | {"sha256": hash_state(notes, fewer)}),
        "no hash": save(tensors, notes),
    }  # fmt: skip
    if damage in changed:
        file.write_bytes(changed[damage])
    kept = Checkpoints(results, spec.trial_id, 3600, read_versions())
    resumed = run_trial(spec, tiny_dataset, checkpoints=kept)
    assert resumed.execution["resumed_at_steps"] == []
    reason = {"versions": "other versions", "form": "another form"}.get(damage, "damaged")
    assert reason in resumed.execution["not_resumed"]
    assert have_same_bytes(resumed, undisturbed)


def flip(content: bytes, number: int) -> bytes:
    """Flip one bit."""
    changed = bytearray(content)
    changed[number // 8] ^= 1 << number % 8
    return bytes(changed)


def test_any_flipped_bit_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bits are those of header, metadata, weights, moments and random states."""
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    state = LoopState(same={"order": torch.arange(3)}, parts={"loss": torch.tensor(1.0)})
    results = located(tmp_path / "results")
    Checkpoints(results, "t", 0, {"torch": "1"}).save(model, optimizer, 5, state, Workers())
    content = results.read("checkpoints", "t.safetensors")
    header = 8 + int.from_bytes(content[:8], "little")
    rng = random.Random(0)
    parts = (0, 8 * header), (8 * header, 8 * len(content))
    flipped = [rng.randrange(*part) for part in parts for _ in range(300)]
    for changed, is_whole in [(content, True), *((flip(content, bit), False) for bit in flipped)]:
        monkeypatch.setattr(results, "read_checkpoint", lambda _, read=changed: read)
        kept = Checkpoints(results, "t", 0, {"torch": "1"})
        assert kept.restore(model, optimizer, state, Workers()) == (5 if is_whole else 0)
        assert bool(kept.not_resumed) is not is_whole


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
    assert have_same_bytes(result, run_trial(spec, tiny_dataset))


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
