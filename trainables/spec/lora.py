"""Settings of low-rank adapters."""

from __future__ import annotations

from typing import Literal

import pydantic

from xlt.data.core.settings import Settings, added_later


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
