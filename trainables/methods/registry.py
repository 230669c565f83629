"""METHODS: fine-tuning methods by name.

Methods differ in how they build the classifier from a base model. Training is the same for all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xlt.trainables.loading.base import Base
from xlt.trainables.methods import full, lora
from xlt.trainables.spec.trial_spec import TrialSpec

METHODS: dict[str, Callable[[Base, TrialSpec], Any]] = {"full": full.build, "lora": lora.build}
"""Name -> (base, spec) -> classifier whose ``requires_grad`` parameters are trained.

The classifier belongs to the trial. Whatever happens to it, and wherever the trial stops, the base
model keeps its weights, flags, config and modules. Both may share weights that are not trained.
"""
