"""Tables of a results location, read with limits: a small file may hold billions of values."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from xlt.data.core.errors import InputError

MOST_VALUES = 20_000_000
"""Largest number of values in the columns that are read; a trial of 10,000 test rows with ten
classes has 140,000. A column of equal values needs no space in a file, but 8 bytes each in
memory."""


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_score(kind: pa.DataType) -> bool:
    return _is_number(kind) or bool(pa.types.is_list(kind) and _is_number(kind.value_type))


_KINDS: dict[str, Callable[[pa.DataType], bool]] = {
    **dict.fromkeys(("id", "lang", "split"), _is_text),
    **dict.fromkeys(("y_true", "label", "step"), pa.types.is_integer),
    **dict.fromkeys(("epoch", "learning_rate", "loss", "grad_norm"), _is_number),
    "translated": pa.types.is_boolean,
    "y_score": _is_score,
}
"""Column of a trial's tables -> whether a type is right for it."""


def read_parquet(content: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file; its footer says before how many values it holds.

    Args:
        content: The file.
        columns: Columns to read; missing ones are ignored. None reads all.

    Raises:
        InputError: The columns hold more than :data:`MOST_VALUES` values.
        OSError, pa.ArrowException: The file cannot be read.
    """
    file = pq.ParquetFile(pa.BufferReader(content))
    footer = file.metadata
    chunks = (
        footer.row_group(group).column(number)
        for group in range(footer.num_row_groups)
        for number in range(footer.num_columns)
    )
    num_values = sum(
        chunk.num_values
        for chunk in chunks
        if columns is None or chunk.path_in_schema.partition(".")[0] in columns
    )
    if num_values > MOST_VALUES:
        raise InputError(
            f"has {num_values:,} values in {footer.num_rows:,} rows, more than {MOST_VALUES:,}"
        )
    # Threads would slow down the reading of such small files.
    return file.read(columns=columns, use_threads=False)


def refuse_other_types(table: pa.Table) -> None:
    """Refuse a table of a trial that has a column of another type than this project writes.

    Raises:
        InputError: The columns, with their types.
    """
    wrong = [
        f"{field.name} ({field.type})"
        for field in table.schema
        if not pa.types.is_null(field.type) and not _KINDS.get(field.name, bool)(field.type)
    ]
    if wrong:
        raise InputError(f"has columns of other types: {', '.join(wrong)}")
