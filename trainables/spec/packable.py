"""Which trials can share forward passes; told from their specs alone."""

from __future__ import annotations

from typing import Any

from xlt.trainables.spec.trial_spec import TrialSpec

PackKey = tuple[Any, ...]


def pack_key(spec: TrialSpec) -> PackKey | None:
    """What the members of a pack have in common: whatever a shared pass looks at.

    All else is each member's own: rows, seed, schedule and rate, epochs, scaling and dropout of the
    adapters.

    Returns:
        Equal for specs that can be packed together; None for one that always trains alone: it
        trains a whole model, DoRA's norms need a product of each member's own with the base's
        weights, and who sets workers, micro_batch_size or gradient_checkpointing has no memory for
        larger passes.
    """
    lora, resources, training = spec.lora, spec.resources, spec.training
    if lora is None or lora.use_dora:
        return None
    if resources.workers > 1 or resources.micro_batch_size or resources.gradient_checkpointing:
        return None
    base = spec.base_identity, spec.base_path, spec.revision, spec.pad_token, lora.quantize_base
    # With one rank, adapters are stacked; with one batch size, no segment is mostly fillers.
    shapes = lora.r, lora.target_modules, training.batch_size, training.precision
    return (*base, *shapes, spec.data_fingerprint, repr(resources))
