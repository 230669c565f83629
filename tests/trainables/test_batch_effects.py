"""Unlisted architectures: scores must not depend on the batch, and faults are early errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_checkpoints import save_checkpoint, save_unlisted_checkpoint

from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import Dataset
from xlt.trainables.loading import batch_effects
from xlt.trainables.loading.base import load_base
from xlt.trainables.loading.batching import collate, collate_for
from xlt.trainables.methods.registry import METHODS
from xlt.trainables.models.architectures import ARCHITECTURES
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.trial.run_trial import run_trial

CPU = torch.device("cpu")
MakeSpec = Callable[..., TrialSpec]


@pytest.fixture
def make_spec_of(make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path) -> MakeSpec:
    def spec(model_type: str, **changes: Any) -> TrialSpec:
        save = save_checkpoint if model_type in ARCHITECTURES else save_unlisted_checkpoint
        save(model_type, tiny_dataset.table["text"].to_pylist(), tmp_path)
        values = {"base_model": "tiny", "base_path": str(tmp_path)}
        return make_spec("llama", base_identity=f"test:{tmp_path}", **values | changes)

    return spec


def test_collate_pads_on_the_left() -> None:
    batch = collate([[5, 6, 3], [7]], 0, CPU, separator_id=3, padding_side="left")
    assert batch["input_ids"].tolist() == [[5, 6, 3], [0, 0, 7]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 1]]
    assert batch["token_type_ids"].tolist() == [[0, 0, 0], [0, 0, 0]]


def test_xlnet_is_padded_on_the_left_and_scores_do_not_depend_on_the_batch(
    make_spec_of: MakeSpec, tiny_dataset: Dataset
) -> None:
    spec = make_spec_of("xlnet")
    base = load_base(spec, CPU, torch.float32)
    assert base.model.config.padding_side == "left"
    rows = [list(range(5, 5 + length)) for length in (3, 9, 27)]

    def logits(part: list[list[int]]) -> Any:
        with torch.inference_mode():
            return base.model(**collate_for(base.model, part)).logits.numpy()

    alone = np.concatenate([logits([ids]) for ids in rows])
    assert np.ptp(alone, axis=0).min() > 1e-3
    np.testing.assert_allclose(logits(rows), alone, atol=1e-5, rtol=0)
    base.model.config.padding_side = "right"
    assert np.abs(logits(rows) - alone).max() > 1e-3
    base.model.config.padding_side = "left"
    assert len(run_trial(spec, tiny_dataset).predictions) == 20


def test_an_architecture_that_reads_padding_is_refused(
    make_spec_of: MakeSpec, tiny_dataset: Dataset
) -> None:
    with pytest.raises(InputError) as caught:
        run_trial(make_spec_of("yoso"), tiny_dataset)
    message = str(caught.value)
    assert message.startswith(
        "base model 'tiny': yoso scores a text differently alone and in a batch: logits differ by "
    )
    assert "where rounding explains at most 0.01%" in message
    assert message.endswith("give a base model of a listed architecture (docs/models.md)")


def test_an_architecture_that_cannot_compute_a_batch_is_refused(
    make_spec_of: MakeSpec, tiny_dataset: Dataset
) -> None:
    with pytest.raises(InputError) as caught:
        run_trial(make_spec_of("helium"), tiny_dataset)
    assert str(caught.value).startswith(
        "base model 'tiny': transformers cannot compute a batch of 'helium': mat1 and mat2 shapes "
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("model_type", ["llama", "bert", "modernbert", "modernbert-decoder"])
def test_rounding_is_far_below_the_tolerance(
    model_type: str, dtype: torch.dtype, make_spec_of: MakeSpec
) -> None:
    base = load_base(make_spec_of(model_type), CPU, dtype)
    rows = base.tokenizer([*batch_effects.SHORT_TEXTS, batch_effects.LONG_TEXT])["input_ids"]
    difference = batch_effects._measure_difference(base.model, rows)
    low = dtype == torch.bfloat16
    assert difference < (batch_effects.LOW_TOLERANCE if low else batch_effects.TOLERANCE) / 4
    assert not hasattr(base.model.config, "padding_side")


def test_an_architecture_without_a_matrix_of_embeddings_is_refused(make_spec_of: MakeSpec) -> None:
    with pytest.raises(InputError, match="tiny': canine has no embedding matrix of tokens; give"):
        load_base(make_spec_of("canine"), CPU, torch.float32)


def test_modules_that_peft_cannot_adapt_are_described(
    make_spec_of: MakeSpec, tiny_dataset: Dataset
) -> None:
    with pytest.raises(InputError) as caught:
        run_trial(make_spec_of("ibert"), tiny_dataset)
    assert str(caught.value) == (
        "peft cannot add adapters to ibert: No modules were targeted for adaptation; set `method: "
        "full`, or other lora.target_modules"
    )


def test_routers_of_experts_have_no_adapters(make_spec_of: MakeSpec, tiny_dataset: Dataset) -> None:
    """The router of Phi-3.5-MoE is a linear module that returns a tuple."""
    spec = make_spec_of("phimoe", lora={"lora_dropout": 0.0})
    base = load_base(spec, CPU, torch.float32)
    adapted = {name for name, _ in METHODS["lora"](base, spec).named_modules() if "lora_A" in name}
    assert adapted and not any("router" in name for name in adapted)
    assert len(run_trial(spec, tiny_dataset).predictions) == 20


def test_modernbert_decoder_trains(make_spec_of: MakeSpec, tiny_dataset: Dataset) -> None:
    """The config of this architecture allows no ``sep_token_id`` of None."""
    assert len(run_trial(make_spec_of("modernbert-decoder"), tiny_dataset).predictions) == 20


def test_adapters_of_fused_experts_have_no_dropout(
    make_spec_of: MakeSpec, tiny_dataset: Dataset
) -> None:
    spec = make_spec_of("mixtral")
    with pytest.raises(InputError) as caught:
        run_trial(spec, tiny_dataset)
    assert str(caught.value) == (
        "peft has no dropout for the fused experts of mixtral; set lora.lora_dropout to 0, or "
        "lora.target_modules to its attention, such as [q_proj, v_proj]"
    )
    for lora in ({"lora_dropout": 0.0}, {"target_modules": ["q_proj", "v_proj"]}):
        result = run_trial(make_spec_of("mixtral", lora=lora), tiny_dataset)
        assert len(result.predictions) == 20
