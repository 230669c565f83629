"""Full fine-tuning: train every weight of a copy of the base model."""

from __future__ import annotations

import copy
from typing import Any

from xlt.trainables.loading.base import Base
from xlt.trainables.methods.activations import recompute_activations
from xlt.trainables.spec.trial_spec import TrialSpec


def build(base: Base, spec: TrialSpec) -> Any:
    """Build a copy of the base model with all parameters trainable.

    Raises:
        InputError: The architecture does not support a setting of ``resources``.
    """
    model = copy.deepcopy(base.model).requires_grad_(True)
    if spec.resources.gradient_checkpointing:
        recompute_activations(model)
    return model
