"""Rows of equal text, kept as arrays, because a million lists would take much memory."""

from __future__ import annotations

from collections.abc import Container

import numpy as np

from xlt.data.dataset.schema import Dataset, Row


class EqualTexts:
    """The rows of a data set by their text, as :func:`text_key` gives it.

    Rows are numbered language by language, and texts in the order of their first rows.

    Attributes:
        keys: The num_texts different text keys.
    """

    def __init__(self, dataset: Dataset) -> None:
        by_lang = dataset.by_lang
        self._rows = [row for rows in by_lang.values() for row in rows]
        self._langs = np.repeat(np.array([*by_lang], object), [*map(len, by_lang.values())])
        numbers: dict[str, int] = {}
        each = (numbers.setdefault(row.key, len(numbers)) for row in self._rows)
        self._texts = np.fromiter(each, np.int32, len(self._rows))
        self.keys = list(numbers)
        self._order = np.argsort(self._texts, kind="stable")
        self._starts = np.concatenate([[0], np.cumsum(np.bincount(self._texts))])

    def __getitem__(self, text: int) -> list[Row]:
        """List the rows of a text."""
        return [self._rows[row] for row in self._numbers(text)]

    def with_lang(self, text: int) -> list[tuple[str, Row]]:
        """List (language, row) of the rows of a text."""
        return [(self._langs[row], self._rows[row]) for row in self._numbers(text)]

    def repeated(self) -> list[int]:
        """List the texts of several rows, in the order of their second rows."""
        (texts,) = np.nonzero(np.diff(self._starts) > 1)
        second = self._order[self._starts[texts] + 1]
        repeated: list[int] = texts[np.argsort(second)].tolist()
        return repeated

    def texts_of(self, ids: Container[str]) -> list[int]:
        """List the texts of rows, each once."""
        pairs = zip(self._rows, self._texts.tolist(), strict=True)
        return list(dict.fromkeys(text for row, text in pairs if row.id in ids))

    def _numbers(self, text: int) -> list[int]:
        start, stop = self._starts[text : text + 2]
        numbers: list[int] = self._order[start:stop].tolist()
        return numbers
