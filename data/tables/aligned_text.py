"""Rows as lines of text with aligned columns, for terminals and mail."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence

from xlt.data.core.text import plain_line

GAP = "  "
"""Text between two columns."""


def align(rows: Sequence[Sequence[str]], numbers: Collection[int] = ()) -> list[str]:
    """Write rows as lines whose columns are aligned by display width.

    Args:
        rows: num_rows x num_columns texts, the heading first; each becomes a plain line.
        numbers: Columns that are aligned to the right.

    Returns:
        num_rows lines. None is folded, so that grep finds a row by any of its texts.
    """
    columns = [
        _pad([plain_line(text) for text in column], number in numbers)
        for number, column in enumerate(zip(*rows, strict=True))
    ]
    return [GAP.join(row).rstrip() for row in zip(*columns, strict=True)]


def width(text: str) -> int:
    """Count terminal columns: two for a wide character, none for a combining one."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF")
        for c in text
    )


def _pad(column: Sequence[str], is_number: bool) -> list[str]:
    """Make the texts of a column equally wide."""
    widths = list(map(width, column))
    spaces = [" " * (max(widths) - num) for num in widths]
    pairs = zip(spaces, column, strict=True) if is_number else zip(column, spaces, strict=True)
    return list(map("".join, pairs))
