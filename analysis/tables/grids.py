"""A grid of texts under a heading line, for tables whose columns are not patterns."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from xlt.data.core.errors import InputError, unknown


@dataclass(frozen=True)
class Grid:
    """A table ready to be written.

    Attributes:
        caption: Sentences above it.
        heading: num_columns texts.
        lines: num_lines x num_columns texts.
        footnotes: Sentences below it.
        records: The same content for programs: one mapping a row, the same keys in all, numbers
            unrounded and None where there is none.
    """

    caption: tuple[str, ...]
    heading: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    footnotes: tuple[str, ...] = ()
    records: tuple[Mapping[str, object], ...] = ()


def to_text(grid: Grid) -> str:
    """Columns aligned by display width, for terminals and mail."""
    rows = [grid.heading, *grid.lines]
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    head, *body = (
        "  ".join(
            text + " " * (width - _width(text)) for text, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    )
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    parts = [*grid.caption, "", head, rule, *body]
    return "\n".join([*parts, *(["", *grid.footnotes] if grid.footnotes else [])])


def to_markdown(grid: Grid) -> str:
    """GitHub's pipe table."""
    rows = [
        _pipes(grid.heading),
        "|" + "---|" * len(grid.heading),
        *(_pipes([text.strip() for text in line]) for line in grid.lines),
    ]
    first, *others = (sentence.translate(_MARKDOWN) for sentence in grid.caption)
    parts = [" ".join([f"**{first}**", *others]), "\n".join(rows)]
    # A line that starts with "-" would become a list item.
    notes = [note.translate(_MARKDOWN) for note in grid.footnotes]
    parts += [f"\\{note}" if note.startswith("-") else note for note in notes]
    return "\n\n".join(parts)


def write_grids(grids: Sequence[Grid], format: str = "text") -> str:
    """Grids one below the other in one of :data:`GRID_FORMATS`.

    Raises:
        InputError: Another format.
    """
    if format not in GRID_FORMATS:
        raise InputError(unknown("format", format, GRID_FORMATS))
    return GRID_FORMATS[format](grids)


def _csv(grids: Sequence[Grid]) -> str:
    """All records under one heading, without captions and footnotes."""
    records = [record for grid in grids for record in grid.records]
    sink = io.StringIO()
    writer = csv.DictWriter(sink, list(records[0]) if records else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return sink.getvalue().removesuffix("\n")


GRID_FORMATS: dict[str, Callable[[Sequence[Grid]], str]] = {
    "text": lambda grids: "\n\n\n".join(map(to_text, grids)),
    "md": lambda grids: "\n\n".join(map(to_markdown, grids)),
    "csv": _csv,
}
"""Name -> function of grids; the texts do not end with a line break."""

_MARKDOWN = str.maketrans({c: f"\\{c}" for c in "\\`*_|~"} | {"<": "&lt;", ">": "&gt;"})


def _width(text: str) -> int:
    """Terminal columns: two for wide characters, none for combining ones."""
    return sum(
        0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF")
        for c in text
    )


def _pipes(texts: Sequence[str]) -> str:
    return "| " + " | ".join(text.translate(_MARKDOWN) for text in texts) + " |"
