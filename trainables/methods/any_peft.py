"""Adapters of any type of peft on a frozen base model."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pydantic
import torch
from transformers.pytorch_utils import Conv1D

from xlt.data.core.errors import InputError, unknown
from xlt.trainables.loading.base import Base, digest_weights, forget_bases
from xlt.trainables.loading.batch_effects import depends_on_batch
from xlt.trainables.methods.adapted import add_adapters, find_outermost_modules, find_routers
from xlt.trainables.models.architectures import ARCHITECTURES, describe_virtual_tokens
from xlt.trainables.models.weights_folder import describe_too_long
from xlt.trainables.spec.adapters import OWNED, Peft
from xlt.trainables.spec.trial_spec import TrialSpec

if TYPE_CHECKING:
    from peft import PeftConfig

OWN_TARGETS = ("BEFT", "IA3", "LN_TUNING")
"""Types that adapt some modules of each layer, which peft chooses by the architecture. The others
adapt all linear modules, as LoRA does here."""


def find_problems(spec: TrialSpec) -> list[str]:
    """List the settings that the config class of peft does not take; imports torch and peft.

    Args:
        spec: Trial with ``method: peft``.
    """
    settings = _settings(spec)
    if settings.peft_type == "ADALORA" and spec.training.has_stages:
        return [
            "peft: ADALORA takes ranks away over the steps of one training; set training.regime to "
            "joint, or give another type"
        ]
    config_class, fields = _find_config_class(settings)
    known = sorted(fields - {*OWNED, "peft_type"})
    strange = [name for name in settings.given if name not in known]
    if strange:
        named = f"setting of {settings.peft_type}"
        return [f"peft: {unknown(named, name, known)}" for name in strange]
    values = settings.given | _find_fixed_values(spec, fields)
    try:
        config = pydantic.TypeAdapter(config_class).validate_json(json.dumps(values), strict=True)
    except pydantic.ValidationError as error:
        sentences = [
            ".".join(["peft", *(str(part) for part in item["loc"][:1])]) + f": {_describe(item)}"
            for item in error.errors(include_url=False)
        ]
        return list(dict.fromkeys(sentences))
    except (TypeError, ValueError) as error:
        return [f"peft: {error}"]
    if settings.peft_type == "ADALORA" and config.target_r > config.init_r:
        return [
            f"peft.target_r: {config.target_r} is more than init_r {config.init_r}, and training "
            "only takes ranks away; lower it"
        ]
    return []


def build(base: Base, spec: TrialSpec, *, is_kept: bool = False) -> Any:
    """Build a classifier with new adapters, see :func:`add_adapters`.

    Args:
        base: Base model.
        spec: Spec of the trial.
        is_kept: Whether trained weights will be loaded. Of virtual tokens only the vectors are
            kept, and not the network that computed them in training.

    Raises:
        InputError: peft does not take the settings, cannot adapt the architecture, or would change
            the base model; the texts and virtual tokens are longer than its positions; or scores
            would depend on the batch.
    """
    if problems := find_problems(spec):
        raise InputError(problems)
    settings, model_type = _settings(spec), base.model.config.model_type
    is_real = base.model.device.type != "meta"
    before = digest_weights(base) if is_real else ""
    num_virtual = settings.num_virtual_tokens
    if num_virtual:
        _refuse_unfit_tokens(base, spec)
    model = add_adapters(
        base, spec, lambda shell: _make_config(shell, base.head_modules, spec, is_kept)
    )
    borrowed = {id(parameter) for parameter in base.model.parameters()}
    is_shared = any(p.requires_grad and id(p) in borrowed for p in model.parameters())
    if is_shared or (is_real and digest_weights(base) != before):
        forget_bases()
        raise InputError(
            f"peft changes the weights of {model_type} itself with these settings of "
            f"{settings.peft_type}, and other trials need them; give other settings"
        )
    if num_virtual and base.tokenizer is not None:
        positions = base.max_positions and base.max_positions - num_virtual
        is_low = base.model.dtype == torch.bfloat16
        with torch.autocast(model.device.type, torch.bfloat16, enabled=is_low):
            if depends_on_batch(model.eval(), base.tokenizer, positions):
                raise InputError(describe_virtual_tokens(model_type, settings.peft_type))
    return model


def _settings(spec: TrialSpec) -> Peft:
    assert spec.peft is not None  # the spec has settings of its method
    return spec.peft


def _find_config_class(settings: Peft) -> tuple[type[PeftConfig], set[str]]:
    """Find the config class of a type, and the names of its settings."""
    from peft import PeftType
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    config_class: Any = PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(settings.peft_type)]
    return config_class, {field.name for field in dataclasses.fields(config_class) if field.init}


def _find_fixed_values(spec: TrialSpec, fields: set[str]) -> dict[str, Any]:
    """Values that the trial gives, where the type has such a setting."""
    values: dict[str, Any] = {"task_type": "SEQ_CLS", "total_step": spec.num_steps}
    if _settings(spec).peft_type not in OWN_TARGETS:
        values["target_modules"] = "all-linear"
    given = _settings(spec).given
    return {name: value for name, value in values.items() if name in fields and name not in given}


def _make_config(model: Any, head: Sequence[str], spec: TrialSpec, is_kept: bool) -> PeftConfig:
    settings = _settings(spec)
    config_class, fields = _find_config_class(settings)
    derived = {
        "inference_mode": is_kept and settings.num_virtual_tokens > 0,
        "modules_to_save": find_outermost_modules(model, head),
        "exclude_modules": find_routers(model) or None,
        "progressbar": False,
        # GPT-2 stores its matrices transposed.
        "fan_in_fan_out": any(isinstance(module, Conv1D) for module in model.modules()),
    }
    values = _find_fixed_values(spec, fields) | settings.given
    return config_class(**{n: v for n, v in derived.items() if n in fields and n not in values},
                        **values)  # fmt: skip


def _refuse_unfit_tokens(base: Base, spec: TrialSpec) -> None:
    """Refuse virtual tokens that the base model cannot read."""
    settings, config = _settings(spec), base.model.config
    listed = ARCHITECTURES.get(config.model_type)
    if settings.peft_type != "PREFIX_TUNING" and listed and listed.kind == "decoder":
        raise InputError(describe_virtual_tokens(config.model_type, settings.peft_type))
    max_length, positions = spec.training.max_length, base.max_positions
    if positions and max_length + settings.num_virtual_tokens > positions:
        raise InputError(describe_too_long(max_length, positions, settings.num_virtual_tokens))
    if settings.peft_type == "PREFIX_TUNING" and spec.resources.gradient_checkpointing:
        raise InputError(
            "PREFIX_TUNING gives keys and values to each layer, and gradient checkpointing drops "
            "them; set resources.gradient_checkpointing to false"
        )


def _describe(item: Any) -> str:
    """Describe a problem of a setting in peft's words, or pydantic's about its type."""
    message = str(item["msg"]).removeprefix("Value error, ").replace("Input should", "should", 1)
    if item["type"] in ("value_error", "assertion_error"):
        return message
    return f"{message} (got {item['input']!r})"
