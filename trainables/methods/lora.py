"""LoRA (Hu et al. 2021, arXiv 2106.09685) through peft: adapters and head on a frozen base."""

from __future__ import annotations

import warnings
from typing import Any

from peft import LoraConfig, TaskType, get_peft_model

from trainables.loading import Base
from trainables.spec import Lora, TrialSpec


def build(base: Base, spec: TrialSpec) -> Any:
    """The base with fresh adapters; adapters and head are trainable.

    peft draws the adapter matrices A from torch's global generator, B is zero.
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
    with warnings.catch_warnings():  # peft 0.21 reads an attribute that transformers 5 renames
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        return get_peft_model(base.model, config)


def release(base: Base, model: Any) -> None:
    """Take the adapters off again."""
    base.model = model.unload()
