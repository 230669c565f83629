"""A warm process gives back what a trial took."""

from __future__ import annotations

import gc
from collections.abc import Callable

import psutil
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor

from xlt.data.dataset.schema import Dataset
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.trial.run_pack import run_pack
from xlt.trainables.trial.run_trial import run_trial

NUM_TRIALS = 20


def tensor_bytes() -> int:
    """Bytes of all tensors that Python holds, counting each storage once.

    Fake tensors of a dry run, which torch may hold a while, have no content.
    """
    gc.collect()
    storages = {
        tracked.untyped_storage().data_ptr(): tracked.untyped_storage().nbytes()
        for tracked in gc.get_objects()
        # isinstance would wake deprecated objects of torch
        if issubclass(type(tracked), torch.Tensor) and not issubclass(type(tracked), FakeTensor)
    }
    return sum(storages.values())


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "method"), [("llama", "lora"), ("bert", "full")])
def test_twenty_trials_leave_no_tensor_behind(
    architecture: str, method: str, make_spec: Callable[..., TrialSpec], tiny_dataset: Dataset
) -> None:
    def train(seed: int) -> None:
        run_trial(
            make_spec(architecture, method=method, seed=seed), tiny_dataset, keep_models="all"
        )

    for seed in range(3):  # loads the base and fills allocators
        train(seed)
    before, process = tensor_bytes(), psutil.Process()
    resident = process.memory_info().rss
    for seed in range(NUM_TRIALS):
        train(seed)
    assert tensor_bytes() == before
    # Files, tables and compiled code come and go: 1.5 MB a trial would be a leak of some of these.
    assert process.memory_info().rss - resident < NUM_TRIALS * 1.5e6


def test_packs_leave_no_tensor_behind(
    make_spec: Callable[..., TrialSpec], tiny_dataset: Dataset
) -> None:
    specs = [make_spec(seed=seed, learning_rate=rate) for seed, rate in enumerate((1e-3, 1e30))]
    held = []
    for _ in range(3):
        ended = [type(outcome).__name__ for _, outcome in run_pack(specs, tiny_dataset)]
        assert sorted(ended) == ["DivergedError", "TrialResult"]
        held.append(tensor_bytes())
    assert held[1] == held[2]
