"""UNITS: splits of texts into sub-words or words, whose contributions are added."""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable, Sequence

from xlt.data.core.errors import InputError

Split = Callable[[str, Sequence[str], Sequence[int], Sequence[int]], list["Unit"]]
"""Function from a text, its pieces and their starts and ends to the unit of each piece."""


class Unit(str):
    """Name of a unit in tables. All pieces of one occurrence share one object."""


def _subwords(lang: str) -> Split:
    """Each piece of the tokenizer is a unit, as in the paper."""
    del lang  # the tokenizer has split the text

    def split(
        text: str, pieces: Sequence[str], starts: Sequence[int], ends: Sequence[int]
    ) -> list[Unit]:
        return [Unit(piece) for piece in pieces]

    return split


def _words(lang: str) -> Split:
    """Units are words between white space, in Japanese words found by MeCab."""
    spans = _japanese() if lang.partition("-")[0] == "ja" else _between_spaces

    def split(
        text: str, pieces: Sequence[str], starts: Sequence[int], ends: Sequence[int]
    ) -> list[Unit]:
        inside = [(s + 1, e) for s, e in zip(starts, ends, strict=True) if e - s > 1]
        words = [(s, Unit(text[s:e])) for s, e in _joined(spans(text), inside)]
        begins = [start for start, _ in words]
        units = []
        for piece, start, end in zip(pieces, starts, ends, strict=True):
            while start < end - 1 and text[start].isspace():  # byte-level pieces begin with a space
                start += 1
            number = bisect.bisect_right(begins, start) - 1
            units.append(words[number][1] if number >= 0 else Unit(piece))
        return units

    return split


UNITS: dict[str, Callable[[str], Split]] = {"subword": _subwords, "word": _words}
"""Name -> function of the language of the texts that returns a split."""


def name_segments(units: Sequence[Unit], segments: Sequence[int]) -> list[Unit]:
    """Name the text of a pair before each unit, ``1: 炭`` or ``2: 炭``.

    Args:
        units: The unit of each piece.
        segments: The text of each piece, 0 or 1.
    """
    named: list[Unit] = []
    for number, (unit, segment) in enumerate(zip(units, segments, strict=True)):
        same = number > 0 and unit is units[number - 1]  # another piece of one occurrence
        named.append(named[-1] if same else Unit(f"{segment + 1}: {unit}"))
    return named


def _joined(
    spans: Sequence[tuple[int, int]], inside: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Join neighbouring words that share a piece, whose contribution cannot be divided.

    Args:
        spans: Start and end of each word.
        inside: Start and end of each range of characters at which a word would split a piece.
    """
    cut = {place for start, end in inside for place in range(start, end)}
    joined: list[tuple[int, int]] = []
    for start, end in spans:
        if joined and start in cut and start == joined[-1][1]:
            joined[-1] = joined[-1][0], end
        else:
            joined.append((start, end))
    return joined


def _between_spaces(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in re.finditer(r"\S+", text)]


def _japanese() -> Callable[[str], list[tuple[int, int]]]:
    try:
        from fugashi import Tagger

        tagger = Tagger()
    except (ImportError, RuntimeError) as error:
        raise InputError(
            "Japanese words need MeCab: pip install 'xlt-sweep[words]', or choose --unit subword"
        ) from error

    def spans(text: str) -> list[tuple[int, int]]:
        words, at = [], 0
        for word in tagger(text):
            start = text.index(word.surface, at)
            at = start + len(word.surface)
            words.append((start, at))
        return words

    return spans
