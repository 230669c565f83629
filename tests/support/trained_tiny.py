"""Tiny classifiers as a trial builds them, away from their start so that scores differ."""

from __future__ import annotations

from typing import Any

import torch

from xlt.trainables.loading.base import Base, load_base
from xlt.trainables.methods.registry import METHODS
from xlt.trainables.spec.trial_spec import TrialSpec


def make_trained(spec: TrialSpec, num_classes: int = 2) -> tuple[Base, Any]:
    """Base model and classifier; what training would move was moved at random."""
    base = load_base(spec, torch.device("cpu"), torch.float32, num_classes)
    torch.manual_seed(1)
    model = METHODS[spec.method](base, spec)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return base, model.eval()
