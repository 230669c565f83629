"""Wrap a base model in adapters of peft, without changing it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from xlt.data.core.errors import InputError
from xlt.trainables.loading.base import Base
from xlt.trainables.methods.activations import recompute_activations
from xlt.trainables.methods.shell import make_shell
from xlt.trainables.spec.trial_spec import TrialSpec

if TYPE_CHECKING:
    from peft import PeftConfig

ADAPTER = "default"
"""Name that peft gives to the only adapter."""
HEAD_COPY = f".modules_to_save.{ADAPTER}."
"""Part of the names of the head's parameters, which are copies of the base's."""


def add_adapters(
    base: Base,
    spec: TrialSpec,
    make_config: Callable[[Any], PeftConfig],
    own: Collection[str] = (),
) -> Any:
    """Build a classifier with new adapters and the base's frozen weights.

    Adapters and head are trainable and in fp32. peft draws adapters from torch's global generator.
    It changes the modules that it receives, and removing adapters (``unload``) leaves the trained
    head behind. So it receives new modules around the tensors of the base model.

    Args:
        base: Base model.
        spec: Spec of the trial.
        make_config: Function that makes peft's config for the modules.
        own: Names of the base's parameters that peft changes.

    Raises:
        InputError: peft cannot adapt this architecture with these settings, or the architecture
            does not support a setting of ``resources``.
    """
    from peft import get_peft_model  # imports bitsandbytes and torch's compiler

    shell = make_shell(base.model, own)
    with warnings.catch_warnings():  # peft 0.21 reads an attribute that transformers 5 renamed
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        # peft looks for the fused experts among the modules only; it adapts them all the same.
        warnings.filterwarnings("ignore", "The following (rank|alpha)_pattern keys", RuntimeWarning)
        try:
            model = get_peft_model(shell, make_config(shell))
        except InputError:
            raise
        except (ValueError, TypeError, ArithmeticError, LookupError) as error:
            raise InputError(_describe_refusal(shell.config.model_type, spec, error)) from error
        except RuntimeError as error:  # on the meta device, code may need content that is not there
            if base.model.device.type == "meta" or isinstance(error, torch.OutOfMemoryError):
                raise
            raise InputError(_describe_refusal(shell.config.model_type, spec, error)) from error
    for name, parameter in model.named_parameters():
        # A bf16 head would round AdamW's small steps away.
        if parameter.requires_grad or name.startswith("prompt_encoder.") or HEAD_COPY in name:
            parameter.data = parameter.data.float()
    if spec.resources.gradient_checkpointing:
        recompute_activations(model)
    return model


def is_adapted(model: Any) -> bool:
    """Return whether a classifier has adapters; it does not import peft."""
    return hasattr(model, "get_base_model")


def is_lora(model: Any) -> bool:
    """Return whether a classifier has LoRA's adapters, which can be added to the weights."""
    return is_adapted(model) and model.peft_config[ADAPTER].peft_type == "LORA"


def has_virtual_tokens(model: Any) -> bool:
    """Return whether a classifier puts trained vectors before each text."""
    return is_adapted(model) and model.peft_config[ADAPTER].is_prompt_learning


def find_routers(model: Any) -> list[str]:
    """Find linear modules that choose experts; they return tuples, to which no adapter can add."""
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and type(module).__name__.endswith("Router")
    ]


def find_outermost_modules(model: Any, head: Sequence[str]) -> list[str]:
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


def _describe_refusal(model_type: str, spec: TrialSpec, error: Exception) -> str:
    """Message for an architecture whose modules peft cannot adapt."""
    if "ParamWrapper" in str(error):  # peft's adapter of experts that share one tensor
        return (
            f"peft has no dropout for the fused experts of {model_type}; set lora.lora_dropout to "
            "0, or lora.target_modules to its attention, such as [q_proj, v_proj]"
        )
    first_sentence = str(error).partition(". ")[0].removesuffix(".")
    other = "lora.target_modules" if spec.lora else "settings of peft"
    return (
        f"peft cannot add adapters to {model_type}: {first_sentence}; set `method: full`, or other "
        f"{other}"
    )
