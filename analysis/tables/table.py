"""Table: texts under a heading, with captions and records; every command and the page use it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from xlt.data.core.text import first_line, plain_line

PART = "  "
"""Start of a line's first text if the line belongs to the line above it."""


@dataclass(frozen=True)
class Table:
    """A table that is ready to be written in any of :data:`xlt.analysis.tables.formats.FORMATS`.

    Names and errors in its texts may hold anything; each text becomes a plain line.

    Attributes:
        name: Label in LaTeX, and name of downloads on the page.
        caption: Sentences above the table, without its number.
        heading: num_columns texts.
        lines: num_lines x num_columns texts; a line that starts with :data:`PART` belongs to the
            line above it.
        footnotes: Sentences below the table; cells refer to them by their first character.
        records: Rows for programs, with the same keys in all, numbers unrounded and None where
            there is no value.
        number: Number of the table in the paper, e.g. ``Table 3``; empty: it has none.
    """

    name: str
    caption: tuple[str, ...]
    heading: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    footnotes: tuple[str, ...] = ()
    records: tuple[Mapping[str, object], ...] = ()
    number: str = ""

    def __post_init__(self) -> None:
        """Make a plain line of every text, so that no writer has to."""
        for name in ("caption", "heading", "footnotes"):
            object.__setattr__(self, name, tuple(map(plain_line, getattr(self, name))))
        lines = tuple(tuple(map(plain_line, line)) for line in self.lines)
        object.__setattr__(self, "lines", lines)
        records = tuple(
            {k: plain_line(v) if isinstance(v, str) else v for k, v in record.items()}
            for record in self.records
        )
        object.__setattr__(self, "records", records)

    @property
    def sentences(self) -> tuple[str, ...]:
        """The caption with the number of the table in front."""
        first, *others = self.caption
        return (f"{self.number}. {first}" if self.number else first, *others)


def group_by_reason(reasons: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Group names by the reason that they share, for footnotes.

    Args:
        reasons: Name and reason; names without a reason are left out.

    Returns:
        Each reason and all of its names.
    """
    names: dict[str, dict[str, None]] = {}
    for name, why in reasons:
        if why:
            names.setdefault(first_line(why), {})[first_line(name)] = None
    return [(why, ", ".join(own)) for why, own in names.items()]
