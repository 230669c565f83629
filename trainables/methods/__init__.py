"""METHODS: what a trial builds from a base model and trains; nothing else differs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trainables.loading import Base
from trainables.methods import full, lora
from trainables.spec import TrialSpec


@dataclass(frozen=True)
class Method:
    """A way of fine-tuning.

    Attributes:
        build: (base, spec) -> classifier whose ``requires_grad`` parameters are trained.
        release: (base, classifier) -> None; gives the base back as it was.
    """

    build: Callable[[Base, TrialSpec], Any]
    release: Callable[[Base, Any], None]


METHODS: dict[str, Method] = {
    "full": Method(full.build, full.release),
    "lora": Method(lora.build, lora.release),
}
