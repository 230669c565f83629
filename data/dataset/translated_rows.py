"""Rows that a pattern reads in translation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from xlt.data.core.text import first_few
from xlt.data.dataset.patterns import Pattern
from xlt.data.dataset.schema import Dataset, Row
from xlt.data.dataset.source_langs import SourceLang
from xlt.data.dataset.translations import Direction


def find_keys(dataset: Dataset, directions: Iterable[Direction]) -> Callable[[Row], set[str]]:
    """Give the function that lists the text keys of a row and of its translations.

    Args:
        dataset: All labelled rows.
        directions: Directions whose translations count.
    """
    translated = [dataset.translated_keys.get(direction, {}) for direction in directions]
    return lambda row: {row.key, *(keys[row.id] for keys in translated if row.id in keys)}


def untranslated(
    dataset: Dataset, source_lang: SourceLang, pattern: Pattern, drawn: Iterable[Sequence[Row]]
) -> list[str]:
    """Write a sentence for each direction of the pattern without translations of drawn rows.

    Args:
        dataset: All labelled rows.
        source_lang: Language of the source rows, or several.
        pattern: The pattern that draws.
        drawn: Source rows, target rows, and test or dev rows.
    """
    problems, ids = list[str](), [row.id for rows in drawn for row in rows]
    for direction in pattern.directions(source_lang):
        candidates = {row.id for row in dataset.by_lang[direction.source]}
        needed = [row_id for row_id in ids if row_id in candidates]
        by_id = dataset.translations.find(direction)
        missing = [row_id for row_id in needed if row_id not in by_id]
        if missing:
            problems.append(
                f"{pattern.name}: {len(missing)} of {len(needed)} drawn {direction.source} rows "
                f"have no translation into {direction.target}: {first_few(missing)}; add them to "
                "the file of data.translations, or make them with `translate` in `xlt data prepare`"
            )
    return problems


def read_translated(dataset: Dataset, rows: pa.Table, *directions: Direction) -> pa.Table:
    """Replace rows in the source languages of directions by their translations.

    Args:
        dataset: The data set with the translations.
        rows: num_rows x the columns of the data set.
        *directions: The languages; each row in the first one has a translation.

    Returns:
        num_rows rows in the same order, with ``text``, ``text_pair`` and ``lang`` of the
        translations, and a column ``translated`` that marks them.
    """
    tables, order = [rows], np.arange(len(rows))
    for direction in directions:
        (places,) = np.nonzero(pc.equal(rows["lang"], direction.source).to_numpy())
        order[places] = sum(map(len, tables)) + np.arange(len(places))
        tables.append(dataset.translations.read(rows.take(places), direction))
    read = pa.concat_tables(tables).take(order)
    return read.append_column("translated", pa.array(order >= len(rows)))
