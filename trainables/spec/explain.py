"""Settings of explanations: the ``explain`` block of an experiment. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, Self

import pydantic

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.registries import list_plugins
from xlt.data.core.settings import Settings, added_later
from xlt.data.dataset.languages import Language

Replacement = Literal["auto", "mask", "unk", "pad", "space", "delete"]
"""Replacement of a hidden token: the mask token, the unknown token, the pad token, a space, or
nothing (delete). auto: the mask token, or the unknown token if the tokenizer has no mask token."""


Masks = Literal["drawn", "all"]
"""Sets of tokens that are hidden together: drawn at random, or all possible sets."""


@dataclass(frozen=True)
class Preset:
    """Default settings of an implementation of LIME.

    Attributes:
        num_samples: Number of masked copies of a text, in addition to the text itself.
        kernel_width: Kernel width in hundredths of the cosine distance, see :func:`kernel`.
        alpha: Ridge penalty.
        replacement: Replacement of a hidden token.
        source: Source of these numbers.
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
"""Preset name -> settings. The paper used LIT and does not report its settings (section 4.3)."""

METHOD_SETTINGS: dict[str, frozenset[str]] = {
    "lime": frozenset({"preset", "masks", "num_samples", "kernel_width", "alpha", "seed"}),
    "ig": frozenset({"num_steps"}),
    "occlusion": frozenset(),
}
"""Method -> settings that it uses in addition to ``replacement`` and ``rows``."""


EXPLAINER_GROUP = "xlt.explainers"
"""Group of the entry points of plug-ins, whose methods have no settings of their own."""


def list_explainers() -> tuple[str, ...]:
    """List the methods of :data:`METHOD_SETTINGS` and of plug-ins."""
    return (*METHOD_SETTINGS, *(plugin.name for plugin in list_plugins(EXPLAINER_GROUP)))


CLASS_OF_TEXT = ("predicted", "true")
"""Names that stand for a class that each text has: the most probable one, or its label."""


class Explain(Settings):
    """Settings of the explanations of a trial's test texts. They do not change the trial id."""

    model_config = pydantic.ConfigDict(serialize_by_alias=True)

    method: str = "lime"
    """Name of an explainer: lime, ig (integrated gradients), occlusion (leave-one-out), or a
    plug-in's."""
    rows: int | None = pydantic.Field(default=None, gt=0)
    """Number of test rows to explain in each language: the first ones, whose classes are balanced.
    None: all."""
    langs: Annotated[tuple[Language, ...], pydantic.Field(min_length=1)] | None = added_later(None)
    """Test languages whose rows are explained. None: the target language."""
    replacement: Replacement | None = None
    """Replacement of a hidden token. None: that of the preset, or auto."""
    explained_class: str | None = pydantic.Field(default=None, alias="class")
    """Class whose probability is explained, for more than two classes: its name, or a name in
    :data:`CLASS_OF_TEXT`. None: predicted, as in LIME and LIT."""
    preset: str | None = None
    """lime: defaults of the settings that are not given here: lit (default), citrus or lime."""
    masks: Masks | None = None
    """lime: drawn (default), or all 2^T masks of a text with T tokens, for short texts."""
    num_samples: int | None = pydantic.Field(default=None, gt=1)
    """lime: number of masked copies of each text."""
    kernel_width: float | None = pydantic.Field(default=None, gt=0)
    """lime: kernel width in hundredths of the cosine distance."""
    alpha: float | None = pydantic.Field(default=None, ge=0)
    """lime: ridge penalty."""
    seed: int | None = None
    """lime: seed of the masks; None: 0."""
    num_steps: int | None = pydantic.Field(default=None, gt=1)
    """ig: number of gradients along the line; None: 16."""

    @pydantic.field_validator("method")
    @classmethod
    def _known_method(cls, method: str) -> str:
        if method not in METHOD_SETTINGS and method not in list_explainers():
            raise InputError(unknown("method", method, list_explainers()))
        return method

    @pydantic.field_validator("preset")
    @classmethod
    def _known_preset(cls, preset: str | None) -> str | None:
        if preset is not None and preset not in PRESETS:
            raise InputError(unknown("preset", preset, PRESETS))
        return preset

    @pydantic.model_validator(mode="after")
    def _nothing_unused(self) -> Self:
        """Refuse a setting of another method, which would have no effect."""
        given = {name for name, value in self if value is not None}
        common = {"method", "rows", "langs", "replacement", "explained_class"}
        unused = given - METHOD_SETTINGS.get(self.method, frozenset()) - common
        if unused:
            owners = [name for name, own in METHOD_SETTINGS.items() if unused & own]
            raise ValueError(
                f"method {self.method} does not use {', '.join(sorted(unused))}, which "
                f"{', '.join(owners)} uses; remove it or choose another method"
            )
        return self

    def check_class(self, classes: Sequence[str]) -> None:
        """Raise InputError if the explained class is none of a data set's classes."""
        name = self.explained_class
        if name is not None and len(classes) == 2:
            raise InputError(
                "class: with two classes a token adds to one what it takes from the other, so "
                f"{classes[1]} is explained; remove class, and set --target of `xlt explanations`"
            )
        if name is not None and name not in (*classes, *CLASS_OF_TEXT):
            raise InputError(f"class: {unknown('class', name, [*classes, *CLASS_OF_TEXT])}")

    def resolved(self) -> dict[str, Any]:
        """All settings that change the numbers, with the values of the preset filled in."""
        common: dict[str, Any] = {"method": self.method, "rows": self.rows}
        if self.langs is not None:
            common["langs"] = list(self.langs)
        if self.explained_class is not None:
            common["class"] = self.explained_class
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
