"""Settings in a file of claims."""

from __future__ import annotations

from importlib import resources
from typing import Any, Literal, Self

import pydantic
import yaml

from xlt.data.core.errors import InputError, find_doubles, unknown
from xlt.data.core.settings import Settings
from xlt.trainables.spec.cell_key import CellKey

PAPER = "paper"
"""Name of the shipped file with the paper's claims."""
MINUS = " - "
"""Separates the two cells of a difference in a file of claims."""
Direction = Literal["greater", "less", "equal"]


def signed_cells(first: str, second: str) -> list[tuple[int, str]]:
    """Signs and names of the cells in first minus second; a side may be a difference ``a - b``."""
    sides = (first.split(MINUS), (1, -1)), (second.split(MINUS), (-1, 1))
    return [term for names, signs in sides for term in zip(signs, names, strict=False)]


class ClaimPart(Settings):
    """One comparison of two cells: first minus second is greater, less, or about equal.

    Either side may also be a difference of two cells, e.g. ``elyza/ja16 - opencalm/ja16``.
    """

    metric: str
    """Name of a metric, e.g. f1."""
    first: str
    """Cell as base model/pattern, e.g. elyza/ja0; a miniature stands in for its model."""
    direction: Direction
    """greater: difference > margin; less: difference < -margin; equal: |difference| < margin."""
    second: str
    """Cell that is subtracted."""
    margin: float = pydantic.Field(default=0.0, allow_inf_nan=False)
    """Margin as a fraction of 1. A negative margin of greater or less allows a small difference in
    the opposite direction."""

    @pydantic.field_validator("first", "second")
    @classmethod
    def _names_a_cell(cls, value: str) -> str:
        names = value.split(MINUS)
        if len(names) > 2:
            raise ValueError(f"{value!r} has {len(names)} cells; one, or a difference of two")
        return MINUS.join(CellKey.parse(name).path for name in names)

    @pydantic.model_validator(mode="after")
    def _fits(self) -> Self:
        if self.direction == "equal" and self.margin <= 0:
            raise ValueError(
                "equal needs a margin above 0, the largest difference that does not matter"
            )
        if twice := find_doubles(self.cells):
            raise ValueError(f"{', '.join(twice)} is compared with itself")
        return self

    @property
    def cells(self) -> list[str]:
        """Names of all cells that it compares."""
        return [name for _, name in signed_cells(self.first, self.second)]

    @property
    def text(self) -> str:
        """The comparison as a line of a table."""
        bound = {
            "greater": f"> {self.margin:g}",
            "less": f"< {0 - self.margin:g}",
            "equal": f"within {self.margin:g}",
        }[self.direction]
        sides = (f"({side})" if MINUS in side else side for side in (self.first, self.second))
        return f"{self.metric} {MINUS.join(sides)} {bound}"


class Claim(Settings):
    """A sentence and the comparisons that must all hold for it."""

    id: str
    """Name in tables."""
    says: str
    """The claim in words."""
    source: str = ""
    """Source of the claim, e.g. a section of a paper."""
    parts: tuple[ClaimPart, ...] = ()
    """Comparisons, all of which must be supported."""
    outside: str = ""
    """Why metrics of cells cannot decide the claim; instead of parts."""

    @pydantic.model_validator(mode="after")
    def _decidable_or_not(self) -> Self:
        if bool(self.parts) == bool(self.outside):
            raise ValueError("give either parts or, if cells cannot decide the claim, outside")
        return self


class Claims(Settings):
    """Claims of a file, whose p values are corrected together."""

    title: str
    """Heading of the table."""
    alpha: float = pydantic.Field(default=0.05, gt=0, lt=0.5)
    """Level of the verdicts, corrected for the number of claims in the file."""
    claims: tuple[Claim, ...] = pydantic.Field(min_length=1)
    """Claims in the order of the table."""

    @pydantic.model_validator(mode="after")
    def _ids_differ(self) -> Self:
        if twice := find_doubles(claim.id for claim in self.claims):
            raise ValueError(f"claims with the same id: {', '.join(twice)}; rename all but one")
        return self


def parse_claims(values: dict[str, Any], where: str = "") -> Claims:
    """Parse claims from the content of a file.

    Args:
        values: Content of the file.
        where: Name of the file for messages.

    Raises:
        InputError: The content is invalid; the error lists all problems.
    """
    return Claims.parse(values, where)


def shipped_claims(name: str) -> Claims:
    """The claims in a file of the package.

    Raises:
        InputError: The package has no file of that name.
    """
    folder = resources.files("xlt.analysis.claims")
    files = [file for file in folder.iterdir() if file.name.endswith(".yaml")]
    texts = {file.name.removesuffix(".yaml"): file for file in files}
    if name not in texts:
        raise InputError(unknown("file of claims", name, texts))
    return parse_claims(yaml.safe_load(texts[name].read_text("utf-8")), f"claims {name}")
