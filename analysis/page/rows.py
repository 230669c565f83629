"""Test rows that the page shows: each once, with its text where texts were kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xlt.data.core.text import first_line

MAX_TEXT = 400
"""Characters of a text that are shown: a headline and a paragraph."""


class RowPool:
    """Test rows in the order in which they were first asked for.

    Args:
        texts: Row id -> columns of ``texts.SCHEMA``; empty where none were kept.
    """

    def __init__(self, texts: Mapping[str, Mapping[str, Any]]) -> None:
        self._texts = texts
        self._places: dict[tuple[str, int], int] = {}

    def place(self, row_id: str, label: int) -> int:
        """Where a row stands in :meth:`rows`."""
        return self._places.setdefault((row_id, label), len(self._places))

    def rows(self) -> list[list[Any]]:
        """[id, label] each, and of those with a text: text, second text, language, date."""
        return [[row_id, label, *self._text(row_id)] for row_id, label in self._places]

    def _text(self, row_id: str) -> list[str]:
        found = self._texts.get(row_id)
        if found is None:
            return []
        texts = [_short(found["text"]), _short(found["text_pair"] or "")]
        return [*texts, first_line(found["lang"]), str(found["published"] or "")]


def _short(text: str) -> str:
    """A text on one line, cut where it is long."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= MAX_TEXT else f"{line[:MAX_TEXT]}…"
