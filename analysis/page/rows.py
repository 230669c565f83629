"""Test rows that the page shows, each once, with its text if the experiment keeps texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from xlt.data.core.text import first_line
from xlt.trainables.metrics.arrays import Labels, Scores, Values

MAX_TEXT = 400
"""Maximum number of characters of a text, enough for a headline and a paragraph."""


def shown_probabilities(y_true: Labels, scores: Scores) -> tuple[Values, Values]:
    """Choose the probability that stands for a row's scores, and its distance from right.

    Args:
        y_true: num_rows class numbers.
        scores: num_runs x num_rows, with more than two classes x num_classes.

    Returns:
        Two arrays of num_runs x num_rows: probabilities of class 1, or with more than two classes
        of the row's own class; and distances, which are 0 for a row that is certainly right.
    """
    if scores.ndim == 2:
        return scores, np.abs(y_true - scores)
    own = np.take_along_axis(scores, y_true[None, :, None].astype(np.intp), axis=2)[:, :, 0]
    return own, 1 - own


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
