"""Parquet files read with a limit: a small file may hold billions of values."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from xlt.data.core.errors import InputError
from xlt.data.core.text import first_line

MOST_VALUES = 20_000_000
"""Largest number of values in the columns that are read; a trial of 10,000 test rows with ten
classes has 140,000. A column of equal values needs no space in a file, but 8 bytes each in
memory."""
MOST_BYTES = 2**29
"""Largest size in memory of the texts; equal ones are once in a file, and once a row in memory."""


def refuse_more_rows(content: bytes, most: int) -> None:
    """Refuse a Parquet file with more rows than it can have; reads only the footer.

    Args:
        content: The file.
        most: Largest number of rows.

    Raises:
        InputError: The numbers of rows, or why the file cannot be read.
    """
    try:
        num_rows = pq.read_metadata(pa.BufferReader(content)).num_rows
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot be read: {first_line(str(error))}") from error
    if num_rows > most:
        raise InputError(f"has {num_rows:,} rows, more than the {most:,} that it can have")


def read_parquet(content: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file; its footer says before how many values it holds.

    Args:
        content: The file.
        columns: Columns to read; missing ones are ignored. None reads all.

    Raises:
        InputError: The columns hold more than :data:`MOST_VALUES` values, or texts of more than
            :data:`MOST_BYTES`.
        OSError, pa.ArrowException: The file cannot be read.
    """
    file = pq.ParquetFile(pa.BufferReader(content))
    footer = file.metadata
    chunks = [
        chunk
        for group in map(footer.row_group, range(footer.num_row_groups))
        for chunk in map(group.column, range(footer.num_columns))
        if columns is None or chunk.path_in_schema.partition(".")[0] in columns
    ]
    num_values = sum(chunk.num_values for chunk in chunks)
    if num_values > MOST_VALUES:
        raise InputError(
            f"has {num_values:,} values in {footer.num_rows:,} rows, more than {MOST_VALUES:,}"
        )
    # No text is longer than its part of the file.
    may_be_long = {
        chunk.path_in_schema
        for chunk in chunks
        if chunk.physical_type == "BYTE_ARRAY"
        and chunk.num_values * chunk.total_uncompressed_size > MOST_BYTES
    }
    if (size := _count_text_bytes(content, sorted(may_be_long))) > MOST_BYTES:
        raise InputError(f"has texts of {size:,} bytes, more than {MOST_BYTES:,}")
    # Threads would slow down the reading of such small files.
    return file.read(columns=columns, use_threads=False)


def _count_text_bytes(content: bytes, columns: list[str]) -> int:
    """Size in memory of texts, also of those in lists, which are read here with equal ones once.

    Args:
        content: The file.
        columns: Paths of columns of texts in the file's schema, such as ``pieces.list.element``.
    """
    if not columns:
        return 0
    file = pq.ParquetFile(pa.BufferReader(content), read_dictionary=columns)
    parts = chain.from_iterable(column.chunks for column in file.read(columns, use_threads=False))
    return sum(
        pc.sum(pc.binary_length(text.dictionary).take(text.indices).cast(pa.int64())).as_py() or 0
        for part in parts
        for text in _list_texts(part)
    )


def _list_texts(array: pa.Array) -> list[pa.DictionaryArray]:
    """List the arrays of texts in an array, in its lists and in its structures."""
    if isinstance(array, pa.DictionaryArray):
        return [array]
    if isinstance(array, pa.StructArray):
        return [text for part in array.flatten() for text in _list_texts(part)]
    is_list = isinstance(array, pa.ListArray | pa.LargeListArray | pa.MapArray)
    return _list_texts(array.flatten()) if is_list else []
