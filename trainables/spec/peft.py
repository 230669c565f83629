"""Settings of ``method: peft``: any type of adapter of peft that can train a classifier."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pydantic

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.locations import refuse_secrets
from xlt.data.core.settings import MAX_INT, Settings

VIRTUAL_TOKENS = ("PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING")
"""Types that put trained vectors before each text, in the place of tokens."""

TYPES = (
    "ADALORA", "ADAMSS", "BEFT", "BOFT", "C3A", "DEFT", "DELORA", "FOURIERFT", "FROD", "GLORA",
    "GRALORA", "HIRA", "HRA", "IA3", "LN_TUNING", "LOHA", "LOKR", "MISS", "OFT", "OSF", "PEANUT",
    "PSOFT", "PVERA", "RANDLORA", "ROAD", "SHIRA", "SUPERTUNING", "TINYLORA", "UNILORA", "VBLORA",
    "VERA", "WAVEFT", *VIRTUAL_TOKENS,
)  # fmt: skip
"""Types of peft 0.21 that a contract test trains, keeps and restores."""

_NO_HEAD = "has no modules_to_save in peft, so the head would be neither trained nor kept"
_TASK_IDS = "needs the number of a task with each text, and a trial has one task"
REFUSED: dict[str, str] = {
    "ADAPTION_PROMPT": _NO_HEAD,
    "CARTRIDGE": "starts from the keys and values of a long text that a language model has read",
    "CPT": "is for language models only",
    "LILY": "routes by the mean of a batch, so scores would depend on the other texts of a batch",
    "LORA": "has a method of its own; set `method: lora`",
    "MULTITASK_PROMPT_TUNING": _TASK_IDS,
    "POLY": _TASK_IDS,
    "SHADOW": "computes a second model beside the layers, which classifiers cannot read",
    "TRAINABLE_TOKENS": _NO_HEAD,
    "XLORA": "mixes adapters that were trained before, and trials start from none",
}
"""Types of peft 0.21 that are refused -> the reason."""

_BY_TRIAL = "is set by the trial"
OWNED: dict[str, str] = {
    "task_type": "is SEQ_CLS in every trial",
    "inference_mode": _BY_TRIAL,
    "modules_to_save": "is the head of the base model",
    "base_model_name_or_path": _BY_TRIAL,
    "revision": _BY_TRIAL,
    "auto_mapping": _BY_TRIAL,
    "peft_version": "is the installed version",
    "total_step": "is the number of steps of the trial",
    "rank_pattern": "is found during the training",
    "fan_in_fan_out": "is derived from the base model",
    "bias": "would train biases of the base model, which belong to all trials",
    "tokenizer_name_or_path": "is the tokenizer of the base model",
}
"""Settings of peft that nobody may give -> the reason."""


class Peft(Settings):
    """Type of adapter, and settings of the type's config class in peft."""

    model_config = pydantic.ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, pydantic.JsonValue]

    peft_type: str = ""
    """Name of one of :data:`TYPES`; empty: none is given."""

    @pydantic.field_validator("peft_type")
    @classmethod
    def _known_type(cls, name: str) -> str:
        name = name.upper()
        if name in REFUSED:
            raise ValueError(f"{name} {REFUSED[name]}; give another type")
        if name and name not in TYPES:
            raise InputError(unknown("type", name, TYPES))
        return name

    @pydantic.model_validator(mode="after")
    def _allowed(self) -> Peft:
        problems = [f"{name}: {OWNED[name]}; remove it" for name in self.given if name in OWNED]
        if self.given.get("prompt_tuning_init") == "TEXT":
            problems.append("prompt_tuning_init: TEXT is not supported; give RANDOM")
        for name, setting in self.given.items():
            for value in _leaves(setting):
                if isinstance(value, str):
                    refuse_secrets(value)
                if isinstance(value, int | float) and not abs(value) <= MAX_INT:
                    problems.append(f"{name}: should be a finite number of at most 18 digits")
        if self.peft_type in VIRTUAL_TOKENS and not self.num_virtual_tokens:
            problems.append("num_virtual_tokens: is required, a number above 0")
        if problems:
            raise InputError(problems)
        return self

    @property
    def given(self) -> dict[str, Any]:
        """Settings of the config class that are given."""
        return dict(self.model_extra or {})

    @property
    def num_virtual_tokens(self) -> int:
        """Number of places before each text that are trained; 0 for most types."""
        number = self.given.get("num_virtual_tokens")
        if self.peft_type not in VIRTUAL_TOKENS or not isinstance(number, int):
            return 0
        return max(0, int(number))


def _leaves(value: Any) -> Iterator[Any]:
    """List the keys and values inside a JSON value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _leaves(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _leaves(inner)
    else:
        yield value
