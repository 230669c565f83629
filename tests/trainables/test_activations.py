"""Gradient checkpointing: the same gradients from activations that are computed twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tiny_checkpoints import save_checkpoint
from torch import nn

from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import Dataset
from xlt.trainables.loading.base import load_base
from xlt.trainables.methods.registry import METHODS
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.trial.run_trial import run_trial

CPU = torch.device("cpu")
MakeSpec = Callable[..., TrialSpec]


def gradients(spec: TrialSpec) -> tuple[dict[str, torch.Tensor], int]:
    """Gradients of one batch with dropout, and how often a matrix of the first layer was used."""
    base = load_base(spec, CPU, torch.float32)
    torch.manual_seed(1)
    model: Any = METHODS[spec.method](base, spec)
    calls: list[int] = []
    # Hooks of the layer itself stay outside: look at what is inside.
    layer = next(m for n, m in model.named_modules() if ".0." in n and isinstance(m, nn.Linear))
    layer.register_forward_pre_hook(lambda *_: calls.append(1))
    if spec.resources.gradient_checkpointing:
        options = [vars(m).get("_gradient_checkpointing_func") for m in model.modules()]
        assert {func.keywords["use_reentrant"] for func in options if func} == {False}
    model.train()
    torch.manual_seed(2)
    ids = torch.arange(5, 53).reshape(4, 12)
    loss = model(input_ids=ids, labels=torch.tensor([0, 1, 1, 0])).loss
    torch.autograd.backward(loss)
    grads = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return grads, len(calls)


@pytest.mark.parametrize("architecture", ["llama", "bert", "gpt_neox"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_gradients_are_the_same(architecture: str, method: str, make_spec: MakeSpec) -> None:
    changes: dict[str, Any] = {"lora": {"lora_dropout": 0.2}} if method == "lora" else {}
    spec = make_spec(architecture, method=method, **changes)
    recomputing = make_spec(
        architecture, method=method, resources={"gradient_checkpointing": True}, **changes
    )
    assert recomputing.trial_id == spec.trial_id
    expected, once = gradients(spec)
    recomputed, twice = gradients(recomputing)
    assert (once, twice) == (1, 2)
    assert list(recomputed) == list(expected)
    assert any(gradient.abs().max() > 1e-6 for gradient in expected.values())
    for name, gradient in expected.items():
        torch.testing.assert_close(recomputed[name], gradient, atol=1e-7, rtol=1e-5)


def test_the_base_computes_as_before_afterwards(make_spec: MakeSpec, tiny_dataset: Dataset) -> None:
    spec = make_spec("llama", resources={"gradient_checkpointing": True})
    run_trial(spec, tiny_dataset)
    base = load_base(spec, CPU, torch.float32)
    assert not base.model.is_activation_checkpointing
    assert not any(module._forward_hooks for module in base.model.modules())


def test_an_architecture_without_checkpointing_raises(
    make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Any
) -> None:
    save_checkpoint("albert", tiny_dataset.table["text"].to_pylist(), tmp_path)
    spec = make_spec(
        "bert", base_path=str(tmp_path), base_identity="test:albert-recomputing",
        resources={"gradient_checkpointing": True},
    )  # fmt: skip
    with pytest.raises(InputError, match="albert has no gradient checkpointing"):
        run_trial(spec, tiny_dataset)
