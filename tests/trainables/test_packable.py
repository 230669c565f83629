"""Which trials share passes, and that the others are run one after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from packed_trials import SHORT, assert_as_alone, packed

from xlt.data.dataset.schema import Dataset
from xlt.trainables.spec.packable import compute_pack_key
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.trial.run_trial import run_trial

MakeSpec = Callable[..., TrialSpec]


@pytest.mark.parametrize(
    ("architecture", "changes"),
    [
        ("bert", {"method": "full"}),
        ("bert", {"method": "lora"}),  # drops units itself
        ("llama", {"lora": {"use_dora": True}}),
    ],
)
def test_what_cannot_share_passes_is_run_one_after_another(
    architecture: str, changes: dict[str, Any], make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    specs = [make_spec(architecture, training=SHORT, seed=s, **changes) for s in range(2)]
    for spec, result in zip(specs, packed(specs, tiny_dataset), strict=True):
        assert result.execution["packed"] == 1
        assert result.history.equals(run_trial(spec, tiny_dataset).history)


@pytest.mark.parametrize(
    "resources", [{"micro_batch_size": 4}, {"gradient_checkpointing": True}, {"workers": 2}]
)
def test_memory_that_is_short_is_not_shared(resources: dict[str, Any], make_spec: MakeSpec) -> None:
    assert compute_pack_key(make_spec()) == compute_pack_key(make_spec(seed=7)) is not None
    assert compute_pack_key(make_spec(resources=resources)) is None


def test_members_of_other_bases_are_run_one_after_another(
    make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    results = packed([make_spec(name) for name in ("llama", "gpt_neox")], tiny_dataset)
    assert [result.execution["packed"] for result in results] == [1, 1]


@pytest.mark.usefixtures("unpacked_four_bits")
def test_a_base_in_four_bits_is_shared_too(make_spec: MakeSpec, tiny_dataset: Dataset) -> None:
    specs = [
        make_spec(seed=seed, learning_rate=2e-2, lora={"quantize_base": "nf4"}, training=SHORT)
        for seed in range(2)
    ]
    assert_as_alone(specs, tiny_dataset)


def test_bf16_is_shared_too(make_spec: MakeSpec, tiny_dataset: Dataset) -> None:
    """Rounding is coarse: losses of the first steps only, before it has added up."""
    specs = [make_spec(seed=s, training=SHORT | {"precision": "bf16"}) for s in range(2)]
    for spec, result in zip(specs, packed(specs, tiny_dataset), strict=True):
        losses = [r.history["loss"].to_numpy() for r in (result, run_trial(spec, tiny_dataset))]
        np.testing.assert_allclose(*losses, atol=2e-2)
        assert result.signature["precision"] == "bf16"
        assert result.execution["padding_share"] == 0
