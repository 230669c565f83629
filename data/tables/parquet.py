"""Parquet files read with a limit: a small file may hold billions of values."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from xlt.data.core.errors import InputError
from xlt.data.core.text import first_line

MOST_VALUES = 20_000_000
"""Largest number of values in the columns that are read; a trial of 10,000 test rows with ten
classes has 140,000. A column of equal values needs no space in a file, but 8 bytes each in
memory."""


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
