"""METHODS: fine-tuning methods by name.

Methods differ in how they build the classifier from a base model. Training is the same for all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.registries import Registry
from xlt.trainables.loading.base import Base
from xlt.trainables.methods import any_peft, bitfit, full, lora
from xlt.trainables.methods.lora_starts import as_kept
from xlt.trainables.spec.methods import METHOD_GROUP
from xlt.trainables.spec.trial_spec import TrialSpec

Build = Callable[[Base, TrialSpec], Any]
_OWN: dict[str, Build] = {
    "full": full.build,
    "lora": lora.build,
    "peft": any_peft.build,
    "bitfit": bitfit.build_bitfit,
    "head": bitfit.build_head,
}


def _check_method(name: str, build: Any) -> str:
    return "" if callable(build) else "it is no function of a base model and a spec"


METHODS = Registry[Build](METHOD_GROUP, _OWN, _check_method)
"""Name -> (base, spec) -> classifier whose ``requires_grad`` parameters are trained.

The classifier belongs to the trial. Whatever happens to it, and wherever the trial stops, the base
model keeps its weights, flags, config and modules. Both may share weights that are not trained.
"""


def build_classifier(base: Base, spec: TrialSpec) -> Any:
    """Build the classifier that a trial trains.

    Raises:
        InputError: The method is a plug-in's that is not installed here, or does not work; or the
            architecture does not support the method or a setting of it.
    """
    if spec.method not in METHODS:
        raise InputError(
            f"{unknown('method', spec.method, METHODS)} Install the plug-in that has it on every "
            "machine."
        )
    return METHODS[spec.method](base, spec)


def rebuild_classifier(base: Base, spec: TrialSpec) -> Any:
    """Build the classifier of a finished trial, into which its kept weights are loaded.

    Raises:
        InputError: The same reasons as for :func:`build_classifier`.
    """
    if spec.peft:
        return any_peft.build(base, spec, is_kept=True)
    return build_classifier(base, as_kept(spec))
