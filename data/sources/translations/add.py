"""Add translations to a data set, wherever they come from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import pyarrow as pa

from xlt.data.core.errors import InputError
from xlt.data.core.text import first_few
from xlt.data.dataset.languages import parse_language
from xlt.data.dataset.schema import Dataset
from xlt.data.dataset.translations import TRANSLATION_SCHEMA, Translations


class Given(NamedTuple):
    """A translation as it was read or made."""

    id: str
    """Id of a row, which the data set need not have."""
    lang: str
    """Language of the translation."""
    text: str
    """Translation of the text."""
    text_pair: str | None
    """Translation of the second text of a pair."""
    origin: str
    """Column, SHA-256 of the file, or model that it came from."""
    row_name: str
    """Name of the row in errors."""


def add_translations(dataset: Dataset, given: Iterable[Given], where: str) -> Dataset:
    """Add translations to those of a data set.

    Left out are translations of rows that the data set does not have, e.g. because a rule dropped
    them, and "translations" into the language of the row itself.

    Args:
        dataset: The data set; it is not changed.
        given: The translations.
        where: Name of the column or file in errors.

    Raises:
        InputError: No row of the data set is translated, a language is unknown, a row is
            translated twice into a language, or one text of a pair is missing.
    """
    langs, pairs = (dataset.table[name].to_pylist() for name in ("lang", "text_pair"))
    taken = {
        (row_id, direction.target)
        for direction, by_id in dataset.translations.by_direction.items()
        for row_id in by_id
    }
    added: list[tuple[str | None, ...]] = []
    double, incomplete, wrong = list[str](), list[str](), dict[str, str]()
    for row_id, spelled, text, pair, origin, row_name in given:
        try:
            lang = parse_language(spelled)
        except InputError as error:
            wrong.setdefault(str(error), row_name)
            continue
        row = dataset.index.get(row_id)
        if row is None or langs[row] == lang:
            continue
        if (row_id, lang) in taken:
            double.append(f"{row_id!r} into {lang} ({row_name})")
        if (pair is None) != (pairs[row] is None):
            incomplete.append(f"{row_id!r} ({row_name})")
        taken.add((row_id, lang))
        added.append((row_id, langs[row], lang, text, pair, origin))
    problems = [f"{problem}: {row_name}" for problem, row_name in wrong.items()]
    if double:
        problems.append(
            f"{len(double)} rows are translated twice: {first_few(double)}; keep one translation"
        )
    if incomplete:
        problems.append(
            f"{len(incomplete)} translations have another number of texts than their row: "
            f"{first_few(incomplete)}; translate both texts of a pair, and name columns.text_pair"
        )
    if not added and not problems:
        problems.append(
            "translates nothing: no row of the data set has such an id and another language; check "
            "ids and languages"
        )
    if problems:
        raise InputError(problems, where)
    columns = [pa.array(column, pa.string()) for column in zip(*added, strict=True)]
    table = pa.table(columns, schema=TRANSLATION_SCHEMA)
    table = pa.concat_tables([dataset.translations.table, table])
    return replace(dataset, translations=Translations(table))
