"""METHODS: what a trial builds from a base model and trains; nothing else differs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xlt.trainables.loading.base import Base
from xlt.trainables.methods import full, lora
from xlt.trainables.spec.trial_spec import TrialSpec

METHODS: dict[str, Callable[[Base, TrialSpec], Any]] = {"full": full.build, "lora": lora.build}
"""Name -> (base, spec) -> classifier whose ``requires_grad`` parameters are trained.

The classifier is the trial's own: whatever happens to it, and wherever the trial stops, the base
keeps its weights, flags, config and modules. Weights that are not trained may be shared with it.
"""
