"""LoRA (Hu et al. 2021, arXiv 2106.09685) through peft: adapters and head on a frozen base."""

from __future__ import annotations

import copy
import itertools
import warnings
from typing import Any

from peft import LoraConfig, TaskType, get_peft_model

from data.errors import InputError
from trainables.loading import Base
from trainables.spec import Lora, TrialSpec


def build(base: Base, spec: TrialSpec) -> Any:
    """The base's frozen weights with fresh adapters; adapters and head are trainable, in fp32.

    peft draws the adapter matrices A from torch's global generator, B is zero. It changes the
    modules that it is given, and taking adapters off again (``unload``) leaves the trained head
    behind, so it gets modules of its own around the base's tensors: 7B weights are not copied.

    Raises:
        InputError: ``target_modules`` names no module of this architecture.
    """
    settings = spec.lora or Lora()
    targets = settings.target_modules
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=settings.r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        modules_to_save=list(base.head_modules),
    )
    tensors = itertools.chain(base.model.parameters(), base.model.buffers())
    shell = copy.deepcopy(base.model, {id(tensor): tensor for tensor in tensors})
    with warnings.catch_warnings():  # peft 0.21 reads an attribute that transformers 5 renames
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        try:
            model = get_peft_model(shell, config)
        except ValueError as error:
            raise InputError(
                f"no adapters for {spec.base_model!r} with target_modules {targets!r}: {error}"
            ) from error
    for parameter in model.parameters():
        if parameter.requires_grad:  # AdamW's small steps vanish in a bf16 head
            parameter.data = parameter.data.float()
    return model
