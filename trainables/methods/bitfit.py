"""Train a part of the base model's weights: its biases and the head, or the head alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xlt.data.core.errors import InputError
from xlt.trainables.loading.base import Base
from xlt.trainables.methods.activations import recompute_activations
from xlt.trainables.methods.shell import make_shell
from xlt.trainables.models.architectures import describe_without_biases
from xlt.trainables.spec.trial_spec import TrialSpec


def build_bitfit(base: Base, spec: TrialSpec) -> Any:
    """Build a classifier whose biases and head are trained.

    Biases are those of linear modules and of norms (Ben Zaken et al. 2022, arXiv 2106.10199).

    Raises:
        InputError: The architecture has no biases, or does not support a setting of ``resources``.
    """
    biases = {name for name, p in base.model.named_parameters() if _is_bias(name, p.ndim)}
    if not any(not is_in_head(name, base) for name in biases):
        raise InputError(describe_without_biases(base.model.config.model_type))
    return _build(base, spec, lambda name: name in biases or is_in_head(name, base))


def build_head(base: Base, spec: TrialSpec) -> Any:
    """Build a classifier whose head alone is trained, on the frozen base model.

    Raises:
        InputError: The architecture does not support a setting of ``resources``.
    """
    return _build(base, spec, lambda name: is_in_head(name, base))


def is_in_head(name: str, base: Base) -> bool:
    """Return whether a parameter belongs to the modules that each trial initialises."""
    return name.rpartition(".")[0] in base.head_modules


def _is_bias(name: str, num_dimensions: int) -> bool:
    return name.endswith("bias") and num_dimensions == 1


def _build(base: Base, spec: TrialSpec, is_trained: Callable[[str], bool]) -> Any:
    """Copy the trained parameters, in fp32, and share all others with the base model."""
    trained = {name for name, _ in base.model.named_parameters() if is_trained(name)}
    model = make_shell(base.model, trained)
    for name, parameter in model.named_parameters():
        if name in trained:
            parameter.requires_grad_(True)
            parameter.data = parameter.data.float()
    if spec.resources.gradient_checkpointing:
        recompute_activations(model)
    return model
