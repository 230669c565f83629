"""The schema of labelled headlines, and a validated table of them."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from dataclasses import field as defined_as
from datetime import date
from functools import cached_property
from json.encoder import encode_basestring_ascii
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from xlt.data.core.errors import InputError
from xlt.data.core.memory import paused_collector
from xlt.data.core.seeds import rank_by
from xlt.data.dataset.languages import parse_languages
from xlt.data.dataset.patterns import Window
from xlt.data.dataset.row_problems import row_problems
from xlt.data.dataset.translations import Direction, Translations, no_translations

HEADLINE_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("text_pair", pa.string()),  # the second text of tasks on pairs, e.g. a hypothesis
        pa.field("lang", pa.string(), nullable=False),  # BCP-47, e.g. "en", "ja"
        pa.field("label", pa.int8(), nullable=False),  # index in Dataset.classes
        pa.field("published", pa.date32()),
        pa.field("story", pa.string()),  # rows of one story are never split between train and test
        pa.field("source", pa.string(), nullable=False),
    ]
)
LATER_COLUMNS = ("text_pair", "story")
"""Columns that were added later. Empty ones are left out of the fingerprint, so that older data
sets keep their fingerprints."""
BINARY = ("negative", "positive")
"""Class names of a binary task, in the order of their labels."""
BATCH = 10_000
"""Rows that are Python objects at the same time; they take ten times the memory of the table."""


class Row(NamedTuple):
    """The parts of a headline that a draw needs."""

    id: str
    key: str
    """:func:`text_key` of the text, and of the second text of a pair."""
    label: int
    published: date | None
    story: str | None


@dataclass(frozen=True)
class Dataset:
    """A validated table of headlines.

    Create it with :meth:`from_table`, which checks the table.

    Attributes:
        table: num_rows x the columns of :data:`HEADLINE_SCHEMA`.
        classes: Class names; the label of a row is the index of its class.
        wrong_labels: Ids of rows of two classes whose label is known to be wrong; empty if nothing
            is known about wrong labels. They change nothing but the ceiling that reports print.
        translations: Translations of rows; they do not enter the fingerprint.
    """

    table: pa.Table
    classes: tuple[str, ...] = BINARY
    wrong_labels: frozenset[str] = frozenset()
    translations: Translations = defined_as(default_factory=no_translations)

    @classmethod
    def from_table(
        cls,
        table: pa.Table,
        where: str = "data",
        row_name: Callable[[int], str] | None = None,
        classes: Sequence[str] = BINARY,
    ) -> Dataset:
        """Check a table and make a data set of it.

        Args:
            table: A table with the columns of :data:`HEADLINE_SCHEMA` in any order, of types that
                can be cast safely. Nullable columns may be absent; other columns are dropped.
                Languages may have any spelling that :func:`parse_language` knows.
            where: Name of the table in errors.
            row_name: Function from a row's index to its name in errors; None: its id, or its number
                if it has no id.
            classes: Class names in the order of their labels.

        Raises:
            InputError: The table has no rows, missing columns, nulls, empty texts or ids, repeated
                ids, unknown languages, labels without a class, or pairs with one
                text. The error has every kind of problem with its first rows.
        """
        absent = [field for field in HEADLINE_SCHEMA if field.name not in table.column_names]
        missing = [field.name for field in absent if not field.nullable]
        if missing:
            raise InputError(f"missing columns {missing}; got {table.column_names}", where)
        for field in absent:
            table = table.append_column(field, pa.nulls(len(table), field.type))
        columns, problems = [], []
        for field in HEADLINE_SCHEMA:
            try:
                column = table[field.name].cast(field.type)
                columns.append(parse_languages(column) if field.name == "lang" else column)
            except pa.ArrowException as error:
                problems.append(f"column {field.name!r} is not {field.type}: {error}")
        if problems:
            raise InputError(problems, where)
        table = pa.table(columns, schema=HEADLINE_SCHEMA).combine_chunks()
        problems = row_problems(table, row_name, classes)
        if problems:
            raise InputError(problems, where)
        return cls(table, tuple(classes))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the rows in the order of ids, so that the order of a file is free."""
        digest = hashlib.sha256()
        if self.classes != BINARY:
            digest.update(json.dumps(self.classes).encode() + b"\n")
        ordered = self.table.take(pc.sort_indices(self.table, sort_keys=[("id", "ascending")]))
        names = [
            name
            for name in HEADLINE_SCHEMA.names
            if name not in LATER_COLUMNS or ordered[name].null_count < len(ordered)
        ]
        for batch in ordered.select(names).to_batches(max_chunksize=BATCH):
            # Not repr, which escapes other characters in another version of Python.
            cells = zip(*map(_as_json, batch.columns), strict=True)
            digest.update("".join(f"[{', '.join(row)}]\n" for row in cells).encode())
        return digest.hexdigest()

    @cached_property
    def index(self) -> dict[str, int]:
        """Id -> row number."""
        return {row_id: row for row, row_id in enumerate(self.table["id"].to_pylist())}

    @cached_property
    def by_lang(self) -> dict[str, tuple[Row, ...]]:
        """Language -> its rows in table order; cached, because every trial draws from them."""
        texts, pairs = (self.table[name].to_pylist() for name in ("text", "text_pair"))
        others = (_shared_values(self.table[name]) for name in ("label", "published", "story"))
        keys = map(text_key, texts, pairs)
        rows = map(Row, self.table["id"].to_pylist(), keys, *others)
        by_lang: dict[str, list[Row]] = {}
        with paused_collector():
            for lang, row in zip(_shared_values(self.table["lang"]), rows, strict=True):
                by_lang.setdefault(lang, []).append(row)
        return {lang: tuple(by_lang[lang]) for lang in sorted(by_lang)}

    @cached_property
    def keys_by_lang(self) -> dict[str, frozenset[str]]:
        """Language -> the keys of its rows."""
        return {lang: frozenset(row.key for row in rows) for lang, rows in self.by_lang.items()}

    def in_window(self, lang: str, window: Window | None) -> Iterable[Row]:
        """Select the rows of a language that were published in a window; None: all rows."""
        rows = self.by_lang[lang]
        return rows if window is None else (row for row in rows if window.holds(row.published))

    @cached_property
    def _ranked(self) -> dict[tuple[str, int, str, Window | None], tuple[Row, ...]]:
        return {}

    def ranked(
        self, lang: str, seed: int, purpose: str, window: Window | None = None
    ) -> tuple[Row, ...]:
        """Sort the rows of a language by :func:`rank_by`; cached, because all patterns draw so.

        Args:
            lang: The language.
            seed: Seed of the ranks.
            purpose: Purpose of the draw; each has other ranks.
            window: Days in which the rows were published; None: all rows.
        """
        key = (lang, seed, purpose, window)
        if key not in self._ranked:
            rows = self.in_window(lang, window)
            rank = rank_by(seed, purpose)
            ranked = sorted(rows, key=lambda row: rank(row.id))
            self._ranked[key] = tuple(ranked)
        return self._ranked[key]

    @cached_property
    def translated_keys(self) -> dict[Direction, dict[str, str]]:
        """Direction -> id -> :func:`text_key` of the translation; cached as :attr:`by_lang`."""
        return {
            direction: {i: text_key(t.text, t.text_pair) for i, t in by_id.items()}
            for direction, by_id in self.translations.by_direction.items()
        }

    def rows(self, ids: Sequence[str]) -> pa.Table:
        """Select rows by their ids, in the order of ``ids`` (len(ids) x all columns).

        Raises:
            KeyError: There is no row of an id.
        """
        wanted = pa.array(ids, pa.string()).dictionary_encode()
        # Not the index, which takes 100 MB for a million rows.
        codes = pc.index_in(self.table["id"], wanted.dictionary)
        (places,) = np.nonzero(codes.is_valid().to_numpy())
        rows = np.full(len(wanted.dictionary), -1)
        rows[codes.take(places).to_numpy()] = places
        if (rows < 0).any():
            raise KeyError(wanted.dictionary[int(rows.argmin())].as_py())
        return self.table.take(rows[wanted.indices.to_numpy()])


def text_key(text: str, pair: str | None = None) -> str:
    """Normalise a text for comparison, so that case, white space and width do not count.

    The steps are Unicode NFKC (which turns full-width Latin letters and half-width kana into usual
    ones), case folding, and single spaces without any at the ends. The second text of a pair
    follows on a line of its own.
    """
    key = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return key if pair is None else f"{key}\n{text_key(pair)}"


def _shared_values(column: pa.ChunkedArray) -> Iterator[Any]:
    """Convert cells to Python values; equal cells are one object, which takes less memory."""
    encoded = column.combine_chunks().dictionary_encode()
    values = [*encoded.dictionary.to_pylist(), None]
    return map(values.__getitem__, encoded.indices.fill_null(-1).to_pylist())


def _as_json(column: pa.Array) -> list[str]:
    """Write cells in the form of :func:`json.dumps`; dates are text."""
    if pa.types.is_date(column.type):
        column = column.cast(pa.string())
    write = encode_basestring_ascii if pa.types.is_string(column.type) else str
    return ["null" if value is None else write(value) for value in column.to_pylist()]
