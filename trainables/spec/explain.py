"""How texts are explained: the settings of an experiment's ``explain`` block; light to import."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import pydantic

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.settings import Settings

Replacement = Literal["auto", "mask", "unk", "pad", "space", "delete"]
"""What stands for a hidden token: the mask token, the unknown token, the pad token, the token of
one space, or nothing; auto: the mask token, and the unknown token where there is none."""


Masks = Literal["drawn", "all"]
"""Which tokens are hidden together: drawn at random, or every choice there is."""


@dataclass(frozen=True)
class Preset:
    """The numbers that an implementation of LIME uses unless told otherwise.

    Attributes:
        num_samples: Masked copies of a text, beside the text itself.
        kernel_width: In hundredths of cosine distance, see :func:`kernel`.
        alpha: Ridge penalty.
        replacement: What stands for a hidden token.
        source: Where the numbers stand.
    """

    num_samples: int
    kernel_width: float
    alpha: float
    replacement: Replacement
    source: str


PRESETS: dict[str, Preset] = {
    "lit": Preset(256, 256, 1, "auto", "LIT 1.3 user interface: lime_explainer.py, config_spec"),
    "citrus": Preset(3000, 25, 1, "unk", "LIT 1.3: citrus/lime.py, defaults of explain"),
    "lime": Preset(4999, 25, 1, "delete", "lime 0.2: lime_text.py; its 5000 count the text"),
}
"""Name -> settings. The paper names LIT and says nothing of settings (section 4.3)."""

METHOD_SETTINGS: dict[str, frozenset[str]] = {
    "lime": frozenset({"preset", "masks", "num_samples", "kernel_width", "alpha", "seed"}),
    "ig": frozenset({"num_steps"}),
    "occlusion": frozenset(),
}
"""Method -> the settings that only it and its like use, beside ``replacement`` and ``rows``."""


class Explain(Settings):
    """How each test text of a trial is explained. No part of a trial's identity."""

    method: str = "lime"
    """Name in EXPLAINERS: lime, ig (integrated gradients), occlusion (leave-one-out)."""
    rows: int | None = pydantic.Field(default=None, gt=0)
    """The first so many test rows, whose classes are balanced at every length; None: all."""
    replacement: Replacement | None = None
    """What stands for a hidden token; None: as the preset says, or auto."""
    preset: str | None = None
    """lime: whose numbers count where none are given here: lit (default), citrus, lime."""
    masks: Masks | None = None
    """lime: drawn (default), or all 2^T of texts of few tokens."""
    num_samples: int | None = pydantic.Field(default=None, gt=1)
    """lime: masked copies of each text."""
    kernel_width: float | None = pydantic.Field(default=None, gt=0)
    """lime: in hundredths of cosine distance."""
    alpha: float | None = pydantic.Field(default=None, ge=0)
    """lime: ridge penalty."""
    seed: int | None = None
    """lime: of the masks; None: 0."""
    num_steps: int | None = pydantic.Field(default=None, gt=1)
    """ig: gradients along the line; None: 16."""

    @pydantic.field_validator("method")
    @classmethod
    def _known_method(cls, method: str) -> str:
        if method not in METHOD_SETTINGS:
            raise InputError(unknown("method", method, METHOD_SETTINGS))
        return method

    @pydantic.field_validator("preset")
    @classmethod
    def _known_preset(cls, preset: str | None) -> str | None:
        if preset is not None and preset not in PRESETS:
            raise InputError(unknown("preset", preset, PRESETS))
        return preset

    @pydantic.model_validator(mode="after")
    def _nothing_unused(self) -> Self:
        """A setting of another method would be silently without effect."""
        given = {name for name, value in self if value is not None}
        unused = given - METHOD_SETTINGS[self.method] - {"method", "rows", "replacement"}
        if unused:
            owners = [name for name, own in METHOD_SETTINGS.items() if unused & own]
            raise ValueError(
                f"{', '.join(sorted(unused))} is of {', '.join(owners)}, and the method is "
                f"{self.method}; drop it or choose another method"
            )
        return self

    def resolved(self) -> dict[str, Any]:
        """Every setting that changes the numbers, presets spelt out."""
        common: dict[str, Any] = {"method": self.method, "rows": self.rows}
        if self.method == "ig":
            return common | {
                "num_steps": self.num_steps or 16,
                "replacement": self.replacement or "auto",
            }
        if self.method != "lime":
            return common | {"replacement": self.replacement or "auto"}
        numbers = asdict(PRESETS[self.preset or "lit"])
        del numbers["source"]
        own = {name: getattr(self, name) for name in numbers}
        given = {name: value for name, value in own.items() if value is not None}
        return common | numbers | given | {"masks": self.masks or "drawn", "seed": self.seed or 0}
