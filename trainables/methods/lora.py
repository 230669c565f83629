"""LoRA (Hu et al. 2021, arXiv 2106.09685) with peft: train adapters and head on a frozen base."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from torch import nn
from transformers.pytorch_utils import Conv1D

from xlt.data.core.errors import InputError, unknown
from xlt.trainables.loading.base import Base
from xlt.trainables.methods.adapted import add_adapters, find_outermost_modules, find_routers
from xlt.trainables.methods.lora_starts import remember_start
from xlt.trainables.spec.adapters import Lora
from xlt.trainables.spec.trial_spec import TrialSpec

if TYPE_CHECKING:
    from peft import LoraConfig


def build(base: Base, spec: TrialSpec) -> Any:
    """Build a classifier with new adapters, see :func:`add_adapters`.

    Raises:
        InputError: ``target_modules`` or a pattern names no module of this architecture, or the
            architecture does not support a setting of ``resources`` or dropout of adapters.
    """
    settings = spec.lora or Lora()
    linear = _find_linear(base.model, base.head_modules)
    own = [f"{name}.weight" for name in linear] if settings.takes_weights else []
    model = add_adapters(
        base, spec, lambda shell: _make_config(shell, base.head_modules, settings), own
    )
    if settings.takes_weights:
        remember_start(model)
    return model


def _make_config(model: Any, head: Sequence[str], settings: Lora) -> LoraConfig:
    from peft import LoraConfig, TaskType

    linear = _find_linear(model, head)
    targets = settings.target_modules
    named: dict[str, Iterable[str]] = {
        "target_modules": () if isinstance(targets, str) else targets,
        "rank_pattern": settings.rank_pattern,
        "alpha_pattern": settings.alpha_pattern,
    }
    known = {name.rpartition(".")[2] for name in linear}
    if problems := [
        f"lora.{setting}: {unknown('module', name, known)}"
        for setting, names in named.items()
        for name in names
        if not _matches(name, linear, is_pattern=setting != "target_modules")
    ]:
        raise InputError(problems)
    return LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=settings.r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        use_rslora=settings.use_rslora,
        use_dora=settings.use_dora,
        target_modules=targets if isinstance(targets, str) else list(targets),
        exclude_modules=find_routers(model) or None,
        modules_to_save=find_outermost_modules(model, head),
        fan_in_fan_out=any(linear.values()),  # GPT-2 stores its matrices transposed
        init_lora_weights=settings.init_lora_weights,
        rank_pattern=dict(settings.rank_pattern),
        alpha_pattern=dict(settings.alpha_pattern),
        layers_to_transform=settings.layers_to_transform and list(settings.layers_to_transform),
    )


def _find_linear(model: Any, head: Sequence[str]) -> dict[str, bool]:
    """Find the linear modules outside of the head: name -> whether it is GPT-2's Conv1D."""
    return {
        name: isinstance(module, Conv1D)
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, Conv1D)) and name not in head
    }


def _matches(name: str, modules: Iterable[str], *, is_pattern: bool) -> bool:
    """Return whether a name is the end of a module's name, as peft compares them."""
    pattern = name if is_pattern else re.escape(name)
    return any(re.match(rf"(.*\.)?({pattern})$", module) for module in modules)
