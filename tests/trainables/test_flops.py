"""Counted operations against PyTorch's counts while a real model computes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from dry_run_specs import HEADS, make_prompt_spec, make_spec
from tiny_checkpoints import make_classifier, make_measured_config
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from xlt.trainables.baselines.prompt_scores import compute_beginning, compute_last_logits
from xlt.trainables.estimates.dry_run import dry_run
from xlt.trainables.estimates.flops import Matrices, count_prediction_flops, count_training_flops
from xlt.trainables.estimates.throughput import measure_throughput
from xlt.trainables.loading.base import Base
from xlt.trainables.methods.registry import METHODS

ROWS, LENGTH = 4, 48
LAYERS = 10


def batch() -> dict[str, torch.Tensor]:
    ids = torch.full((ROWS, LENGTH), 5)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def built(architecture: str, method: str, checkpointing: bool) -> tuple[Any, Matrices]:
    """A real classifier, and what the dry run says of it."""
    # FlopCounterMode knows no fused attention of the CPU.
    config = make_measured_config(
        architecture, "middle", num_hidden_layers=LAYERS, attn_implementation="eager"
    )
    spec = make_spec(method, gradient_checkpointing=checkpointing)
    base = Base(tokenizer=None, model=make_classifier(config), head_modules=HEADS[architecture])
    model: Any = METHODS[method](base, spec)
    if checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    counts = dry_run(spec, config, device="cpu", rows=ROWS, length=LENGTH)
    return model, counts.matrices


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("architecture", ["llama", "gpt_neox", "bert"])
def test_operations_are_those_that_torch_counts(
    architecture: str, method: str, checkpointing: bool
) -> None:
    model, matrices = built(architecture, method, checkpointing)
    lengths = [LENGTH] * ROWS
    with FlopCounterMode(display=False) as predicting, torch.no_grad():
        model.eval()(**batch())
    # The difference is the head and BERT's pooler.
    assert count_prediction_flops(matrices, lengths) == pytest.approx(
        predicting.get_total_flops(), rel=0.01
    )
    with FlopCounterMode(display=False) as training:
        model.train()(**batch()).logits.sum().backward()
    counted = count_training_flops(matrices, lengths, gradient_checkpointing=checkpointing)
    # The first of the frozen layers needs no gradient of its input. With checkpointing torch does
    # not compute the last product of a layer again, because nothing behind it needs that.
    tolerance = 0.1 if checkpointing else 0.03
    assert counted == pytest.approx(training.get_total_flops(), rel=tolerance)
    assert counted >= 0.99 * training.get_total_flops()


def test_attention_grows_with_the_square_of_the_length() -> None:
    matrices = Matrices(num_frozen=0, num_trained=0, num_layers=2, attention_width=8)
    assert count_prediction_flops(matrices, [10]) == 4 * 2 * 8 * 100
    assert count_prediction_flops(matrices, [20]) == 4 * count_prediction_flops(matrices, [10])
    assert count_prediction_flops(matrices, [10, 10]) == 2 * count_prediction_flops(matrices, [10])


def test_frozen_matrices_need_no_gradient_of_their_own() -> None:
    frozen = Matrices(num_frozen=100, num_trained=0, num_layers=0, attention_width=0)
    trained = Matrices(num_frozen=0, num_trained=100, num_layers=0, attention_width=0)
    assert count_training_flops(frozen, [7]) == 4 * 100 * 7
    assert count_training_flops(trained, [7]) == 6 * 100 * 7


class CountedCalls(TorchDispatchMode):
    """Count the operations that torch runs on real tensors."""

    num_calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.num_calls += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("architecture", ["llama", "gpt_neox", "bert"])
def test_calls_are_those_of_a_real_step(architecture: str, method: str) -> None:
    config, spec = make_measured_config(architecture, "tiny"), make_spec(method)
    base = Base(tokenizer=None, model=make_classifier(config), head_modules=HEADS[architecture])
    model: Any = METHODS[method](base, spec).train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, fused=True)
    with CountedCalls() as counted:
        logits = model(**batch()).logits
        torch.nn.functional.cross_entropy(logits, torch.zeros(ROWS, dtype=torch.long)).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
    run = dry_run(spec, config, device="cpu", rows=ROWS, length=LENGTH)
    assert run.num_calls == pytest.approx(counted.num_calls, rel=0.1)


def test_speed_is_measured() -> None:
    speed = measure_throughput("cpu", tokens=256, width=128)
    assert 1e8 < speed.flops < 1e14
    assert 1e-7 < speed.call_seconds < 1e-2


@pytest.mark.parametrize("num_before", [0, 40])
@pytest.mark.parametrize("architecture", ["llama", "gpt_neox"])
def test_operations_of_prompts_are_those_that_torch_counts(
    architecture: str, num_before: int
) -> None:
    config = make_measured_config(
        architecture, "middle", num_hidden_layers=LAYERS, attn_implementation="eager"
    )
    spec = make_prompt_spec()
    counts = dry_run(spec, config, device="cpu", rows=ROWS, length=LENGTH, num_before=num_before)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    places = torch.full((ROWS,), LENGTH - 1)
    with FlopCounterMode(display=False) as predicting, torch.no_grad():
        beginning = compute_beginning(model, torch.full((1, num_before), 5))
        compute_last_logits(model, torch.full((ROWS, LENGTH), 5), places, beginning)
    counted = count_prediction_flops(counts.matrices, [num_before])
    counted += count_prediction_flops(counts.matrices, [LENGTH] * ROWS, num_before)
    # The difference is the output layer, which reads one token of a row.
    assert counted == pytest.approx(predicting.get_total_flops(), rel=0.02)
