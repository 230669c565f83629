"""Settings with which each type of peft fits the tiny checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xlt.trainables.spec.trial_spec import TrialSpec

SETTINGS: dict[str, dict[str, Any]] = {
    "ADALORA": {"tinit": 1, "tfinal": 2, "deltaT": 1, "init_r": 4, "target_r": 2},
    "C3A": {"block_size": 16},
    "FOURIERFT": {"n_frequency": 50},
    "MISS": {"r": 4},
    "OFT": {"oft_block_size": 4},
    "PREFIX_TUNING": {"num_virtual_tokens": 4},
    "PROMPT_TUNING": {"num_virtual_tokens": 4},
    "P_TUNING": {"num_virtual_tokens": 4, "encoder_hidden_size": 16},
    "ROAD": {"group_size": 8},
    "SHIRA": {"r": 2},
    "VBLORA": {"vector_length": 16, "num_vectors": 8, "topk": 2},
    "WAVEFT": {"n_frequency": 50},
}
"""Type -> settings beside its defaults."""
NORMS = {"bert": "LayerNorm", "llama": "input_layernorm"}


def make_peft_spec(
    make_spec: Callable[..., TrialSpec], architecture: str, peft_type: str, **changes: Any
) -> TrialSpec:
    settings = SETTINGS.get(peft_type, {})
    if peft_type == "LN_TUNING":
        settings = {"target_modules": [NORMS[architecture]]}
    training = {"num_train_epochs": 2, "batch_size": 8, "max_length": 64}
    fields: dict[str, Any] = {"learning_rate": 1e-2, "training": training}
    peft = {"peft_type": peft_type, **settings} | changes.pop("peft", {})
    return make_spec(architecture, method="peft", peft=peft, **(fields | changes))
