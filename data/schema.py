"""The one record of the project, a labelled headline, and a validated table of them."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc

from data.errors import InputError

HEADLINE_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("lang", pa.string(), nullable=False),  # BCP-47, e.g. "en", "ja"
        pa.field("label", pa.int8(), nullable=False),  # 1: positive class, 0: the rest
        pa.field("published", pa.date32(), nullable=True),
        pa.field("source", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True)
class Dataset:
    """A validated table of headlines.

    Build it with :meth:`from_table`, which checks it.

    Attributes:
        table: num_rows x 6 columns of :data:`HEADLINE_SCHEMA`.
    """

    table: pa.Table

    @classmethod
    def from_table(cls, table: pa.Table, where: str = "data") -> Dataset:
        """Check a table and wrap it.

        Args:
            table: The columns of :data:`HEADLINE_SCHEMA`, in any order, safely castable.
            where: What to name in errors.

        Raises:
            InputError: Missing columns, nulls, empty texts, ids given twice, labels other than
                0 and 1; every kind of problem is told at once with its first rows.
        """
        missing = [name for name in HEADLINE_SCHEMA.names if name not in table.column_names]
        if missing:
            raise InputError(f"missing columns {missing}; got {table.column_names}", where)
        table = pa.table(
            [_cast(table[f.name], f, where) for f in HEADLINE_SCHEMA], schema=HEADLINE_SCHEMA
        ).combine_chunks()
        problems = [
            f"{table[field.name].null_count} rows without {field.name}"
            for field in HEADLINE_SCHEMA
            if not field.nullable and table[field.name].null_count
        ]
        problems += _row_problems(table)
        if problems:
            raise InputError(problems, where)
        return cls(table)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over the rows in id order: the same rows in any file give the same."""
        digest = hashlib.sha256()
        order = pc.sort_indices(self.table, sort_keys=[("id", "ascending")])
        ordered = self.table.take(order)
        for row in zip(*(ordered[name].to_pylist() for name in HEADLINE_SCHEMA.names), strict=True):
            digest.update(repr(row).encode())
        return digest.hexdigest()

    @cached_property
    def index(self) -> dict[str, int]:
        """Row number of each id."""
        return {row_id: row for row, row_id in enumerate(self.table["id"].to_pylist())}

    def rows(self, ids: list[str]) -> pa.Table:
        """The rows with these ids, in the order given (len(ids) x 6 columns)."""
        return self.table.take(pa.array([self.index[row_id] for row_id in ids], pa.int64()))


def _cast(column: pa.ChunkedArray, field: pa.Field, where: str) -> pa.ChunkedArray:
    try:
        return cast(pa.ChunkedArray, column.cast(field.type))
    except pa.ArrowInvalid as error:
        raise InputError(f"column {field.name!r} is not {field.type}: {error}", where) from error


def _row_problems(table: pa.Table) -> list[str]:
    problems = []
    ids = table["id"].to_pylist()
    empty = [
        i
        for i, text in zip(ids, table["text"].to_pylist(), strict=True)
        if not (text or "").strip()
    ]
    if empty:
        problems.append(
            f"{len(empty)} rows with empty text, first ids {empty[:3]}; drop or fill them"
        )
    double = [row_id for row_id, count in Counter(ids).items() if count > 1]
    if double:
        problems.append(
            f"{len(double)} ids given more than once, first {double[:3]}; ids must be unique"
        )
    labels = set(table["label"].to_pylist()) - {0, 1, None}
    if labels:
        problems.append(f"labels {sorted(labels)} are not 0 or 1; map them with label.positive")
    return problems
