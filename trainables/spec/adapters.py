"""Settings of adapters: LoRA, and any type of adapter of peft that can train a classifier."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

import pydantic

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.locations import refuse_secrets
from xlt.data.core.settings import MAX_INT, Settings, added_later

STARTS = ("gaussian", "orthogonal", "pissa", "pissa_niter_16", "olora")
"""Starts of adapters beside ``true``; pissa_niter_N takes any number N."""
NEEDS_MORE = {
    "loftq": "quantises the base model itself; set quantize_base: nf4 alone",
    "eva": "is computed from the activations of training texts before training",
    "corda": "is computed from the activations of training texts before training",
    "lora_ga": "is computed from gradients of training texts before training",
}
"""Starts of peft that are refused -> the reason."""

Layers = Annotated[tuple[Annotated[int, pydantic.Field(ge=0)], ...], pydantic.Field(min_length=1)]
Pattern = dict[str, Annotated[int, pydantic.Field(gt=0)]]
"""Name of a module, or a regular expression for its end -> number."""


class Lora(Settings):
    """Settings of low-rank adapters (Hu et al. 2021, arXiv 2106.09685), as in peft's LoraConfig."""

    r: int = pydantic.Field(default=8, gt=0)
    """Rank of the update."""
    lora_alpha: int = pydantic.Field(default=16, gt=0)
    """Scaling of the update: it is multiplied by lora_alpha / r."""
    lora_dropout: float = pydantic.Field(default=0.05, ge=0, lt=1, strict=True)
    """Dropout of the adapters' input."""
    target_modules: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    """Names of the modules with adapters; all-linear: all attention and MLP projections."""
    use_rslora: bool = added_later(False)
    """Whether to scale by lora_alpha / sqrt(r) instead (Kalajdzievski 2023, arXiv 2312.03732)."""
    use_dora: bool = added_later(False)
    """Whether to learn magnitudes and directions separately (DoRA, Liu et al. 2024, arXiv
    2402.09353)."""
    quantize_base: Literal["nf4"] | None = added_later(None)
    """Quantisation of the frozen base model to 4 bits (QLoRA, Dettmers et al. 2023, arXiv
    2305.14314); None: no quantisation."""
    init_lora_weights: Literal[True] | str = added_later(True)
    """Start of the adapters. true: the update is zero (Hu et al. 2021); gaussian and orthogonal: it
    is zero too; pissa (Meng et al. 2024, arXiv 2404.02948), pissa_niter_N (the same with N
    iterations of a fast decomposition) and olora (Buyukakyuz 2024, arXiv 2406.01775): a part of the
    base model's weights, which the base model then lacks."""
    rank_pattern: Pattern = added_later({})
    """Rank of some modules, instead of r."""
    alpha_pattern: Pattern = added_later({})
    """lora_alpha of some modules."""
    layers_to_transform: Layers | None = added_later(None)
    """Numbers of the layers with adapters, from 0; needs names in target_modules. None: all."""

    @pydantic.field_validator("init_lora_weights")
    @classmethod
    def _known_start(cls, start: bool | str) -> bool | str:
        if start in NEEDS_MORE:
            raise ValueError(f"{start} {NEEDS_MORE[str(start)]}; choose another start")
        if start not in (True, *STARTS) and not re.fullmatch(r"pissa_niter_\d+", str(start)):
            raise InputError(unknown("start", str(start), ["true", *STARTS]))
        return start

    @pydantic.field_validator("rank_pattern", "alpha_pattern")
    @classmethod
    def _readable(cls, pattern: Pattern) -> Pattern:
        for name in pattern:
            try:
                re.compile(name)
            except re.error as error:
                raise ValueError(f"{name!r} is no regular expression: {error}") from error
        return pattern

    @pydantic.model_validator(mode="after")
    def _fitting(self) -> Self:
        if self.takes_weights and self.quantize_base:
            raise ValueError(
                f"init_lora_weights {self.init_lora_weights} takes a part of the base model's "
                "weights, which 4 bits cannot hold; remove quantize_base"
            )
        if self.use_rslora and (self.rank_pattern or self.alpha_pattern):
            raise ValueError("use_rslora is for equal ranks; remove rank_pattern and alpha_pattern")
        if self.layers_to_transform is not None and self.target_modules == "all-linear":
            raise ValueError(
                "layers_to_transform needs names in target_modules, e.g. [q_proj, v_proj]"
            )
        if not self.target_modules:
            raise ValueError("target_modules is empty; give names, or all-linear")
        if not isinstance(self.target_modules, str):
            targets = {name.rpartition(".")[2] for name in self.target_modules}
            for setting, name in self.list_module_names():
                if name.rpartition(".")[2] not in targets:
                    raise ValueError(
                        f"{setting}: {name} gets no adapter, because target_modules are "
                        f"{', '.join(self.target_modules)}; add it there, or remove it here"
                    )
        return self

    @property
    def takes_weights(self) -> bool:
        """Whether the start moves a part of the base model's weights into the adapters."""
        return str(self.init_lora_weights).startswith(("pissa", "olora"))

    @property
    def is_plain(self) -> bool:
        """Whether all adapters have one rank and one scale, and start with an update of zero."""
        patterns = self.rank_pattern, self.alpha_pattern, self.layers_to_transform is not None
        return not any(patterns) and not self.use_dora and not self.takes_weights

    def list_module_names(self) -> Iterator[tuple[str, str]]:
        """Yield each name of modules with its setting; regular expressions are left out."""
        if not isinstance(self.target_modules, str):
            yield from (("target_modules", name) for name in self.target_modules)
        for setting in ("rank_pattern", "alpha_pattern"):
            names = getattr(self, setting)
            yield from ((setting, name) for name in names if re.fullmatch(r"[\w.]+", name))


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
    def _allowed(self) -> Self:
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
