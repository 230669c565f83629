"""Translations of rows, which some patterns read instead of the original texts."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

TRANSLATION_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source_lang", pa.string(), nullable=False),  # language of the row
        pa.field("lang", pa.string(), nullable=False),  # language of the translation
        pa.field("text", pa.string(), nullable=False),
        pa.field("text_pair", pa.string()),
        pa.field("origin", pa.string(), nullable=False),  # column, file or model that it came from
    ]
)


class Direction(NamedTuple):
    """The language of rows, and the language into which they are translated."""

    source: str
    target: str

    @property
    def reversed(self) -> Direction:
        """The direction back."""
        return Direction(self.target, self.source)

    def __str__(self) -> str:
        return f"{self.source} -> {self.target}"


class Translated(NamedTuple):
    """The translation of a row into one language."""

    text: str
    text_pair: str | None
    origin: str


@dataclass(frozen=True)
class Translations:
    """Translations of the rows of a data set, at most one for each row and language.

    Attributes:
        table: num_translations x :data:`TRANSLATION_SCHEMA`.
    """

    table: pa.Table

    @cached_property
    def by_direction(self) -> dict[Direction, dict[str, Translated]]:
        """Direction -> id -> translation, sorted by direction."""
        by_direction: dict[Direction, dict[str, Translated]] = {}
        columns = (self.table[name].to_pylist() for name in TRANSLATION_SCHEMA.names)
        for row_id, source_lang, lang, *rest in zip(*columns, strict=True):
            by_direction.setdefault(Direction(source_lang, lang), {})[row_id] = Translated(*rest)
        return {direction: by_direction[direction] for direction in sorted(by_direction)}

    def find(self, direction: Direction) -> Mapping[str, Translated]:
        """Give the translations of a direction: id -> translation."""
        return self.by_direction.get(direction, {})

    def fingerprint(self, *directions: Direction) -> str | None:
        """SHA-256 (hex) of the translations of directions and their origins, in order of ids.

        The fingerprint of the data set does not depend on translations, so that a trial that reads
        none keeps its id when translations are added.

        Returns:
            The hash of one direction, or that of the hashes of several; None for no direction, and
            for one without translations.
        """
        digests = [self.fingerprints.get(direction) for direction in directions]
        if len(digests) < 2:
            return digests[0] if digests else None
        return hashlib.sha256(json.dumps(digests).encode()).hexdigest()

    @cached_property
    def fingerprints(self) -> dict[Direction, str]:
        """Direction -> its :meth:`fingerprint`."""
        digests = {}
        for direction, by_id in self.by_direction.items():
            digest = hashlib.sha256()
            for row_id in sorted(by_id):
                digest.update(json.dumps([row_id, *by_id[row_id]]).encode() + b"\n")
            digests[direction] = digest.hexdigest()
        return digests

    def only(self, ids: Sequence[str]) -> Translations:
        """Keep the translations of some rows."""
        return Translations(
            self.table.filter(pc.is_in(self.table["id"], pa.array(ids, pa.string())))
        )

    def read(self, rows: pa.Table, direction: Direction) -> pa.Table:
        """Replace the texts of rows by their translations, and ``lang`` by their language.

        Args:
            rows: num_rows x at least (id, text, text_pair, lang), all in the source language of
                the direction and translated.
            direction: The languages.
        """
        by_id = self.find(direction)
        read = [by_id[row_id] for row_id in rows["id"].to_pylist()]
        columns = {
            "text": pa.array([translated.text for translated in read], pa.string()),
            "text_pair": pa.array([translated.text_pair for translated in read], pa.string()),
            "lang": pa.array([direction.target] * len(read), pa.string()),
        }
        for name, column in columns.items():
            place = rows.schema.get_field_index(name)
            rows = rows.set_column(place, rows.schema.field(place), column)
        return rows


def no_translations() -> Translations:
    """Make an empty table; at import it would import pandas."""
    return Translations(TRANSLATION_SCHEMA.empty_table())


def count_origins(translations: Mapping[str, Translated]) -> dict[str, int]:
    """Count the translations of each origin, the most frequent first."""
    return dict(Counter(translated.origin for translated in translations.values()).most_common())
