"""What a file of claims may hold."""

from __future__ import annotations

from importlib import resources
from typing import Any, Literal, Self

import pydantic
import yaml

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.settings import Settings
from xlt.trainables.spec.cell_key import CellKey

PAPER = "paper"
"""Name of the shipped file with the paper's claims."""
Direction = Literal["greater", "less", "equal"]


class ClaimPart(Settings):
    """One comparison of two cells: first - second is greater, less, or about equal."""

    metric: str
    """Name of a metric, e.g. f1."""
    first: str
    """A cell as base model/pattern, e.g. elyza/ja0; a miniature stands in for its model."""
    direction: Direction
    """greater: difference > margin; less: difference < -margin; equal: between -margin and it."""
    second: str
    """The cell that is subtracted."""
    margin: float = pydantic.Field(default=0.0, allow_inf_nan=False)
    """A fraction of 1; with greater and less a negative one allows so much the other way."""

    @pydantic.field_validator("first", "second")
    @classmethod
    def _names_a_cell(cls, value: str) -> str:
        return CellKey.parse(value).path

    @pydantic.model_validator(mode="after")
    def _fits(self) -> Self:
        if self.direction == "equal" and self.margin <= 0:
            raise ValueError("equal needs a margin above 0: within it a difference does not matter")
        if self.first == self.second:
            raise ValueError(f"{self.first} is compared with itself")
        return self

    @property
    def text(self) -> str:
        """The comparison as a line of a table."""
        bound = {
            "greater": f"> {self.margin:g}",
            "less": f"< {0 - self.margin:g}",
            "equal": f"within {self.margin:g}",
        }[self.direction]
        return f"{self.metric} {self.first} - {self.second} {bound}"


class Claim(Settings):
    """A sentence and the comparisons that must all hold for it."""

    id: str
    """What tables call it."""
    says: str
    """The claim in words."""
    source: str = ""
    """Where it is made."""
    parts: tuple[ClaimPart, ...] = ()
    """The claim is supported only if every one is."""
    outside: str = ""
    """Why metrics of cells cannot decide it, instead of parts."""

    @pydantic.model_validator(mode="after")
    def _decidable_or_not(self) -> Self:
        if bool(self.parts) == bool(self.outside):
            raise ValueError("give either parts or, for what cells cannot decide, outside")
        return self


class Claims(Settings):
    """A file of claims; they are one family for the correction of p values."""

    title: str
    """What the table is headed with."""
    alpha: float = pydantic.Field(default=0.05, gt=0, lt=0.5)
    """Level of each verdict over the whole file."""
    claims: tuple[Claim, ...] = pydantic.Field(min_length=1)
    """The claims, in the order of the table."""

    @pydantic.model_validator(mode="after")
    def _ids_differ(self) -> Self:
        ids = [claim.id for claim in self.claims]
        if twice := sorted({name for name in ids if ids.count(name) > 1}):
            raise ValueError(f"claims with the same id: {', '.join(twice)}; rename all but one")
        return self


def parse_claims(values: dict[str, Any], where: str = "") -> Claims:
    """Claims from a file's mapping.

    Raises:
        InputError: Every problem of the file.
    """
    return Claims.parse(values, where)


def shipped_claims(name: str) -> Claims:
    """The claims of a file that comes with the package.

    Raises:
        InputError: There is none of that name.
    """
    folder = resources.files("xlt.analysis.claims")
    files = [file for file in folder.iterdir() if file.name.endswith(".yaml")]
    texts = {file.name.removesuffix(".yaml"): file for file in files}
    if name not in texts:
        raise InputError(unknown("file of claims", name, texts))
    return parse_claims(yaml.safe_load(texts[name].read_text("utf-8")), f"claims {name}")
