"""LoRA (Hu et al. 2021, arXiv 2106.09685) with peft: train adapters and head on a frozen base."""

from __future__ import annotations

import copy
import itertools
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import nn
from transformers.pytorch_utils import Conv1D

from xlt.data.core.errors import InputError, unknown
from xlt.trainables.loading.base import Base
from xlt.trainables.methods.activations import recompute_activations
from xlt.trainables.spec.lora import Lora
from xlt.trainables.spec.trial_spec import TrialSpec

if TYPE_CHECKING:
    from peft import LoraConfig


def build(base: Base, spec: TrialSpec) -> Any:
    """Build a classifier with new adapters and the base's frozen weights.

    Adapters and head are trainable and in fp32. peft draws the adapter matrices A from torch's
    global generator and sets B to zero. It changes the modules that it receives, and removing
    adapters (``unload``) leaves the trained head behind. So it receives new modules around the
    tensors of the base model; 7B weights are not copied.

    Raises:
        InputError: ``target_modules`` names no module of this architecture, or the architecture
            does not support a setting of ``resources`` or dropout of adapters.
    """
    from peft import get_peft_model  # imports bitsandbytes and torch's compiler

    settings = spec.lora or Lora()
    tensors = itertools.chain(base.model.parameters(), base.model.buffers())
    shell = copy.deepcopy(base.model, {id(tensor): tensor for tensor in tensors})
    config = _make_config(shell, base.head_modules, settings)
    with warnings.catch_warnings():  # peft 0.21 reads an attribute that transformers 5 renamed
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        # peft looks for the fused experts among the modules only; it adapts them all the same.
        warnings.filterwarnings("ignore", "The following (rank|alpha)_pattern keys", RuntimeWarning)
        try:
            model = get_peft_model(shell, config)
        except ValueError as error:
            raise InputError(_describe_refusal(shell.config.model_type, error)) from error
    for parameter in model.parameters():
        if parameter.requires_grad:  # a bf16 head would round AdamW's small steps away
            parameter.data = parameter.data.float()
    if spec.resources.gradient_checkpointing:
        recompute_activations(model)
    return model


def is_adapted(model: Any) -> bool:
    """Return whether a classifier has adapters; it does not import peft."""
    return hasattr(model, "merge_and_unload")


def _describe_refusal(model_type: str, error: ValueError) -> str:
    """Message for an architecture whose modules peft cannot adapt."""
    if "ParamWrapper" in str(error):  # peft's adapter of experts that share one tensor
        return (
            f"peft has no dropout for the fused experts of {model_type}; set lora.lora_dropout to "
            "0, or lora.target_modules to its attention, such as [q_proj, v_proj]"
        )
    first_sentence = str(error).partition(". ")[0]
    return (
        f"peft cannot add adapters to {model_type}: {first_sentence}; set `method: full`, or other "
        "lora.target_modules"
    )


def _make_config(model: Any, head: Sequence[str], settings: Lora) -> LoraConfig:
    from peft import LoraConfig, TaskType

    is_conv1d = {
        name: isinstance(module, Conv1D)
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, Conv1D)) and name not in head
    }
    targets = settings.target_modules
    if not isinstance(targets, str):
        known = {name.rpartition(".")[2] for name in is_conv1d}
        unknown_targets = [
            target
            for target in targets
            if not any(f".{name}".endswith(f".{target}") for name in is_conv1d)
        ]
        if unknown_targets:
            raise InputError(
                [
                    f"lora.target_modules: {unknown('module', name, known)}"
                    for name in unknown_targets
                ]
            )
    return LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=settings.r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        use_rslora=settings.use_rslora,
        use_dora=settings.use_dora,
        target_modules=targets if isinstance(targets, str) else list(targets),
        exclude_modules=_find_routers(model) or None,
        modules_to_save=_find_outermost_modules(model, head),
        fan_in_fan_out=any(is_conv1d.values()),  # GPT-2 stores its matrices transposed
    )


def _find_routers(model: Any) -> list[str]:
    """Find linear modules that choose experts; they return tuples, to which no adapter can add."""
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and type(module).__name__.endswith("Router")
    ]


def _find_outermost_modules(model: Any, head: Sequence[str]) -> list[str]:
    """Find the largest modules that contain nothing but the head.

    peft adds ``classifier`` to the modules to save, and it cannot load its files if the names
    include both a module and a module inside it.
    """
    outermost: list[str] = []
    for name, module in model.named_modules():
        with_parameters = {n for n, m in module.named_modules(prefix=name) if m._parameters}
        inside_another = name.startswith(tuple(f"{outer}." for outer in outermost))
        if with_parameters and with_parameters <= {*head} and not inside_another:
            outermost.append(name)
    return outermost
