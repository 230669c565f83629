"""Full fine-tuning: every weight of a copy of the base model is trained."""

from __future__ import annotations

import copy
from typing import Any

from trainables.loading import Base
from trainables.spec import TrialSpec


def build(base: Base, spec: TrialSpec) -> Any:
    """A copy of the base, all of it trainable."""
    del spec  # nothing to set
    return copy.deepcopy(base.model).requires_grad_(True)
