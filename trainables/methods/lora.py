"""LoRA (Hu et al. 2021, arXiv 2106.09685) through peft: adapters and head on a frozen base."""

from __future__ import annotations

import copy
import itertools
import warnings
from collections.abc import Sequence
from typing import Any

from peft import LoraConfig, TaskType, get_peft_model
from torch import nn
from transformers.pytorch_utils import Conv1D

from xlt.data.core.errors import InputError, unknown
from xlt.trainables.loading.base import Base
from xlt.trainables.methods.activations import recompute_activations
from xlt.trainables.spec.trial_spec import Lora, TrialSpec


def build(base: Base, spec: TrialSpec) -> Any:
    """The base's frozen weights with fresh adapters; adapters and head are trainable, in fp32.

    peft draws the adapter matrices A from torch's global generator, B is zero. It changes the
    modules that it is given, and taking adapters off again (``unload``) leaves the trained head
    behind, so it gets modules of its own around the base's tensors: 7B weights are not copied.

    Raises:
        InputError: ``target_modules`` names no module of this architecture, or it cannot do what
            ``resources`` ask for.
    """
    settings = spec.lora or Lora()
    tensors = itertools.chain(base.model.parameters(), base.model.buffers())
    shell = copy.deepcopy(base.model, {id(tensor): tensor for tensor in tensors})
    config = _make_config(shell, base.head_modules, settings)
    with warnings.catch_warnings():  # peft 0.21 reads an attribute that transformers 5 renames
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        model = get_peft_model(shell, config)
    for parameter in model.parameters():
        if parameter.requires_grad:  # AdamW's small steps vanish in a bf16 head
            parameter.data = parameter.data.float()
    if spec.resources.gradient_checkpointing:
        recompute_activations(model)
    return model


def _make_config(model: Any, head: Sequence[str], settings: Lora) -> LoraConfig:
    linear = {
        name: isinstance(module, Conv1D)
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, Conv1D)) and name not in head
    }
    targets = settings.target_modules
    if not isinstance(targets, str):
        known = {name.rpartition(".")[2] for name in linear}
        strange = [t for t in targets if not any(f".{name}".endswith(f".{t}") for name in linear)]
        if strange:
            raise InputError(
                [f"lora.target_modules: {unknown('module', name, known)}" for name in strange]
            )
    return LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=settings.r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        use_rslora=settings.use_rslora,
        use_dora=settings.use_dora,
        target_modules=targets if isinstance(targets, str) else list(targets),
        modules_to_save=_find_outermost_modules(model, head),
        fan_in_fan_out=any(linear.values()),  # GPT-2 stores its matrices transposed
    )


def _find_outermost_modules(model: Any, head: Sequence[str]) -> list[str]:
    """The largest modules that hold nothing but the head.

    peft adds ``classifier`` to what it is told to save, and cannot load what it saved where a
    module and one inside it are both named.
    """
    found: list[str] = []
    for name, module in model.named_modules():
        inside = {n for n, m in module.named_modules(prefix=name) if m._parameters}
        if inside and inside <= {*head} and not name.startswith(tuple(f"{f}." for f in found)):
            found.append(name)
    return found
