"""Rows that a pattern reads in translation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from xlt.data.core.text import first_few
from xlt.data.dataset.patterns import Pattern
from xlt.data.dataset.schema import Dataset, Row
from xlt.data.dataset.translations import Direction


def find_keys(
    dataset: Dataset, directions: Iterable[Direction | None]
) -> Callable[[Row], set[str]]:
    """Give the function that lists the text keys of a row and of its translations.

    Args:
        dataset: All labelled rows.
        directions: Directions whose translations count; None is skipped.
    """
    translated = [
        dataset.translated_keys.get(direction, {}) for direction in directions if direction
    ]
    return lambda row: {row.key, *(keys[row.id] for keys in translated if row.id in keys)}


def untranslated(
    dataset: Dataset, source_lang: str, pattern: Pattern, drawn: Iterable[Sequence[Row]]
) -> list[str]:
    """Write a sentence if drawn rows have no translation that the pattern reads.

    Args:
        dataset: All labelled rows.
        source_lang: Language of the source rows.
        pattern: The pattern that draws.
        drawn: Source rows, target rows, and test or dev rows.
    """
    direction = pattern.direction(source_lang)
    if direction is None:
        return []
    candidates = {row.id for row in dataset.by_lang[direction.source]}
    needed = [row.id for rows in drawn for row in rows if row.id in candidates]
    by_id = dataset.translations.find(direction)
    missing = [row_id for row_id in needed if row_id not in by_id]
    if not missing:
        return []
    return [
        f"{pattern.name}: {len(missing)} of {len(needed)} drawn {direction.source} rows have no "
        f"translation into {direction.target}: {first_few(missing)}; add them to the file of "
        "data.translations, or make them with `translate` in `xlt data prepare`"
    ]


def read_translated(dataset: Dataset, rows: pa.Table, direction: Direction) -> pa.Table:
    """Replace rows in the source language of a direction by their translations.

    Args:
        dataset: The data set with the translations.
        rows: num_rows x the columns of the data set.
        direction: The languages; each row in the first one has a translation.

    Returns:
        num_rows rows in the same order, with ``text``, ``text_pair`` and ``lang`` of the
        translations, and a column ``translated`` that marks them.
    """
    marks = pc.equal(rows["lang"], direction.source)
    (places,) = np.nonzero(marks.to_numpy())
    translated = dataset.translations.read(rows.take(places), direction)
    order = np.arange(len(rows))
    order[places] = len(rows) + np.arange(len(places))
    read = pa.concat_tables([rows, translated]).take(order)
    return read.append_column("translated", marks)
