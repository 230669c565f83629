"""Decide from specs alone which trials can share forward passes (a pack)."""

from __future__ import annotations

from typing import Any

from xlt.trainables.spec.trial_spec import TrialSpec

PackKey = tuple[Any, ...]


def compute_pack_key(spec: TrialSpec) -> PackKey | None:
    """Key of the trials that can be packed together: all settings that a shared pass depends on.

    The members of a pack may differ in everything else: rows, seed, learning rate and schedule,
    epochs, scaling and dropout of the adapters.

    Returns:
        Equal keys for specs that can be packed together. None for a spec that must train alone:
        other methods have no adapters to stack; the norms of DoRA need a product of each member's
        adapters with the base weights; adapters with :attr:`Lora.is_plain` false cannot be stacked;
        the second of two stages has few rows; and workers, micro_batch_size or
        gradient_checkpointing are set when memory is too small for larger passes.
    """
    lora, resources, training = spec.lora, spec.resources, spec.training
    if spec.mean_of or lora is None or not lora.is_plain or training.has_stages:
        return None
    if resources.workers > 1 or resources.micro_batch_size or resources.gradient_checkpointing:
        return None
    base = spec.base_identity, spec.base_path, spec.revision, spec.pad_token, lora.quantize_base
    # Adapters of equal rank can be stacked, and equal batch sizes need little padding.
    shapes = lora.r, lora.target_modules, training.batch_size, training.precision
    return (*base, *shapes, spec.data_fingerprint, repr(resources))
