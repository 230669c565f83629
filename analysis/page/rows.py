"""Test rows that the page shows, each once, with its text if the experiment keeps texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xlt.data.core.text import first_line

MAX_TEXT = 400
"""Maximum number of characters of a text, enough for a headline and a paragraph."""


class RowPool:
    """Test rows, in the order in which they were added.

    Args:
        texts: Row id -> columns of ``texts.SCHEMA``; empty if no texts are kept.
    """

    def __init__(self, texts: Mapping[str, Mapping[str, Any]]) -> None:
        self._texts = texts
        self._places: dict[tuple[str, int], int] = {}

    def place(self, row_id: str, label: int) -> int:
        """Index of a row in :meth:`rows`; a new row is added."""
        return self._places.setdefault((row_id, label), len(self._places))

    def rows(self) -> list[list[Any]]:
        """All rows: [id, label], and text, second text, language and date if it has a text."""
        return [[row_id, label, *self._text(row_id)] for row_id, label in self._places]

    def _text(self, row_id: str) -> list[str]:
        columns = self._texts.get(row_id)
        if columns is None:
            return []
        texts = [_short(columns["text"]), _short(columns["text_pair"] or "")]
        return [*texts, first_line(columns["lang"]), str(columns["published"] or "")]


def _short(text: str) -> str:
    """A text on one line, cut if it is long."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= MAX_TEXT else f"{line[:MAX_TEXT]}…"
