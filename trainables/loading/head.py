"""The head of a classifier, which every trial initialises from its own seed."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import torch
from torch import nn

from xlt.data.core.errors import InputError

PRE_TRAINED = (
    "ForCausalLM", "LMHeadModel", "ForMaskedLM", "ForPreTraining", "ForConditionalGeneration",
    "Model",
)  # fmt: skip
"""Suffixes of the classes that pre-training saves; any other class was fine-tuned on labels."""


def is_fine_tuned(class_names: Iterable[str]) -> bool:
    """Return whether a checkpoint's classes, ``architectures`` of config.json, have labels."""
    return any(not str(name).endswith(PRE_TRAINED) for name in class_names)


def find_head_modules(
    model: Any, missing: Collection[str], mismatched: Iterable[Any], is_tuned: bool
) -> tuple[str, ...]:
    """Find the modules that every trial initialises, whatever the checkpoint has for them.

    A head that was trained on labels is not knowledge of a language, so it is dropped even if its
    shape fits. A module between backbone and output layer is kept if pre-training trained it
    (``head.dense`` of ModernBERT). In the backbone only a pooler may be missing: BERT has it inside
    the backbone, but only its sentence objective trains it.

    Args:
        model: Classifier.
        missing: Names of the weights that the checkpoint lacks.
        mismatched: Tuples (name, ...) of the weights that have another shape.
        is_tuned: Whether the checkpoint was fine-tuned on labels, see :func:`is_fine_tuned`.

    Returns:
        Names of modules, sorted.

    Raises:
        InputError: The checkpoint lacks weights of the backbone.
    """
    backbone = f"{model.base_model_prefix}."
    lacking_keys = [*missing, *(key for key, *_ in mismatched)]
    in_backbone = [k for k in lacking_keys if k.startswith(backbone) and ".pooler." not in k]
    if in_backbone:
        raise InputError(
            f"the checkpoint lacks {len(in_backbone)} weights of the backbone or has them in "
            f"another shape, e.g. {min(in_backbone)}; with random weights in their place it would "
            "not be a base model; give a complete checkpoint of this architecture"
        )
    outside = [key for key, _ in model.named_parameters() if not key.startswith(backbone)]
    has_head = not {*outside} & {*missing}
    if is_tuned or has_head:
        lacking_keys += outside
    return tuple(sorted({key.rpartition(".")[0] for key in lacking_keys}))


def init_head(model: Any, head_modules: tuple[str, ...], seed: int) -> None:
    """Initialise the head from a seed, independent of its current values.

    The rule is that of ``PreTrainedModel._init_weights`` in transformers (modeling_utils.py):
    matrices are drawn from N(0, initializer_range), biases are zero, other modules call their own
    ``reset_parameters``, and modules without it are left to the model's rule.

    Args:
        model: Classifier.
        head_modules: Names of the modules to initialise.
        seed: Seed of the random values.
    """
    config: Any = model.config
    std = getattr(config, "initializer_range", None) or 0.02
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name in head_modules:
            module = model.get_submodule(name)
            if isinstance(module, nn.Linear):
                weight = torch.empty(module.weight.shape).normal_(0.0, std, generator=generator)
                module.weight.copy_(weight)
                if module.bias is not None:
                    module.bias.zero_()
            elif callable(reset := getattr(module, "reset_parameters", None)):
                reset()
            else:  # e.g. a norm of the architecture's own
                for parameter in module.parameters(recurse=False):
                    parameter._is_hf_initialized = False  # transformers skips loaded weights
                model._init_weights(module)
