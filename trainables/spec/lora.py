"""Settings of low-rank adapters."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

import pydantic

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.settings import Settings, added_later

STARTS = ("gaussian", "orthogonal", "pissa", "pissa_niter_16", "olora")
"""Starts of adapters beside ``true``; pissa_niter_N takes any number N."""
NEEDS_MORE = {
    "loftq": "quantises the base model itself; set quantize_base: nf4 alone",
    "eva": "is computed from the activations of training texts before training",
    "corda": "is computed from the activations of training texts before training",
    "lora_ga": "is computed from gradients of training texts before training",
}
"""Starts of peft that are refused -> the reason."""

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
    layers_to_transform: tuple[int, ...] | None = added_later(None)
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
