"""Trials on a CUDA device, for what a CPU cannot show. `make gpu`; skipped without a device."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from xlt.data.dataset.schema import Dataset
from xlt.trainables.results.trial_result import TrialResult
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.trial.run_pack import run_pack
from xlt.trainables.trial.run_trial import run_trial

MakeSpec = Callable[..., TrialSpec]
NUM_TRIALS = 20
CASES = (("llama", "lora"), ("gpt_neox", "lora"), ("bert", "full"))

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.fixture
def little_memory() -> Iterator[Callable[[int], None]]:
    """A function that leaves this process so many bytes of the device."""
    total = torch.cuda.get_device_properties(0).total_memory

    def limit(num_bytes: int) -> None:
        torch.cuda.empty_cache()
        held = torch.cuda.memory_reserved()
        torch.cuda.set_per_process_memory_fraction((held + num_bytes) / total)

    yield limit
    torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.parametrize(("architecture", "method"), CASES)
def test_a_trial_in_bf16_scores_about_as_in_fp32(
    architecture: str, method: str, make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    results = {}
    for precision in ("auto", "fp32"):
        training = {"num_train_epochs": 2, "batch_size": 8, "precision": precision}
        spec = make_spec(architecture, method=method, training=training, learning_rate=1e-3)
        results[precision] = run_trial(spec, tiny_dataset)
    assert results["auto"].signature["precision"] == "bf16"
    assert results["auto"].signature["device"].startswith("cuda:")
    assert results["auto"].execution["peak_memory_bytes"] > 0
    scores = [result.predictions["y_score"].to_numpy() for result in results.values()]
    np.testing.assert_allclose(scores[0], scores[1], atol=0.05)


@pytest.mark.parametrize(("architecture", "method"), CASES)
def test_twenty_trials_give_all_memory_back(
    architecture: str, method: str, make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    held = []
    for seed in range(NUM_TRIALS):
        run_trial(make_spec(architecture, method=method, seed=seed), tiny_dataset)
        held.append(torch.cuda.memory_allocated())
    assert len(set(held)) == 1


def test_where_memory_runs_out_the_step_is_taken_again(
    make_spec: MakeSpec, tiny_dataset: Dataset, little_memory: Callable[[int], None]
) -> None:
    """Long rows of a large batch against 32 MiB; what was recorded gives the same when asked."""
    training = {"num_train_epochs": 2, "batch_size": 32}
    spec = make_spec("llama", training=training)
    run_trial(spec, tiny_dataset)  # loads the base and the libraries' workspaces
    little_memory(32 * 2**20)
    ballast = torch.empty(30 * 2**20, dtype=torch.uint8, device="cuda")
    result = run_trial(spec, tiny_dataset)
    del ballast
    size = result.execution["micro_batch_size"]
    assert result.execution["times_out_of_memory"] > 0 and size < 32
    torch.cuda.set_per_process_memory_fraction(1.0)
    asked = make_spec("llama", training=training, resources={"micro_batch_size": size})
    expected = run_trial(asked, tiny_dataset).predictions["y_score"].to_numpy()
    np.testing.assert_allclose(result.predictions["y_score"].to_numpy(), expected, atol=1e-3)


def test_a_base_in_four_bits_trains(make_spec: MakeSpec, tiny_dataset: Dataset) -> None:
    pytest.importorskip("bitsandbytes")
    result = run_trial(make_spec("llama", lora={"quantize_base": "nf4"}), tiny_dataset)
    assert np.isfinite(result.predictions["y_score"].to_numpy()).all()


def test_members_of_a_pack_learn_about_what_they_learn_alone(
    make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    """Without dropout, whose units a pack draws otherwise."""
    training = {"num_train_epochs": 2, "batch_size": 8, "precision": "fp32"}
    specs = [
        make_spec(seed=seed, training=training, learning_rate=1e-3, lora={"lora_dropout": 0.0})
        for seed in range(3)
    ]
    for spec, result in run_pack(specs, tiny_dataset):
        assert isinstance(result, TrialResult)
        assert result.execution["packed"] == 3
        scores = [
            r.predictions["y_score"].to_numpy() for r in (result, run_trial(spec, tiny_dataset))
        ]
        np.testing.assert_allclose(*scores, atol=1e-3)


def test_dropout_of_a_member_is_its_own_whoever_is_beside_it(
    make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    training = {"num_train_epochs": 2, "batch_size": 8, "precision": "fp32"}
    specs = [make_spec(seed=seed, training=training, learning_rate=1e-3) for seed in range(3)]
    scores = []
    for pack in (specs[:2], [specs[0], specs[2]]):
        outcomes = {spec.seed: result for spec, result in run_pack(pack, tiny_dataset)}
        result = outcomes[0]
        assert isinstance(result, TrialResult)
        scores.append(result.predictions["y_score"].to_numpy())
    np.testing.assert_allclose(*scores, atol=1e-3)
