"""Full fine-tuning: every weight of a copy of the base model is trained."""

from __future__ import annotations

import copy
from typing import Any

from xlt.trainables.loading.base import Base
from xlt.trainables.methods.activations import recompute_activations
from xlt.trainables.spec.trial_spec import TrialSpec


def build(base: Base, spec: TrialSpec) -> Any:
    """A copy of the base, all of it trainable.

    Raises:
        InputError: The architecture cannot do what ``resources`` ask for.
    """
    model = copy.deepcopy(base.model).requires_grad_(True)
    if spec.resources.gradient_checkpointing:
        recompute_activations(model)
    return model
