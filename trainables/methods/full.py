"""Full fine-tuning: every weight of a copy of the base model is trained."""

from __future__ import annotations

import copy
from typing import Any

from trainables.loading import Base
from trainables.spec import TrialSpec


def build(base: Base, spec: TrialSpec) -> Any:
    """A copy of the base, all of it trainable."""
    del spec  # nothing to set
    model = copy.deepcopy(base.model)
    return model.requires_grad_(True)


def release(base: Base, model: Any) -> None:
    """Nothing to give back: the trial had its own copy."""
