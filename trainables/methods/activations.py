"""Gradient checkpointing: compute activations again in the backward pass, to save memory."""

from __future__ import annotations

from typing import Any

from xlt.data.core.errors import InputError


def recompute_activations(model: Any) -> None:
    """Keep only the inputs of each layer while training (Chen et al. 2016, arXiv 1604.06174).

    Gradients stay the same, because dropout draws the same units in both passes. The checkpoints
    are non-reentrant, as torch.utils.checkpoint recommends: a re-entrant one passes no gradient on
    unless its inputs need one.

    Args:
        model: Classifier of transformers, or peft's wrapper around one.

    Raises:
        InputError: transformers has no gradient checkpointing for the architecture.
    """
    try:
        model.activation_checkpointing_enable(
            activation_checkpointing_kwargs={"use_reentrant": False}
        )
    except ValueError as error:
        raise InputError(
            f"{model.config.model_type} has no gradient checkpointing in transformers; set "
            "resources.gradient_checkpointing to false, or a smaller resources.micro_batch_size"
        ) from error
