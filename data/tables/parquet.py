"""Parquet files read with a limit: a small file may hold billions of values."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from xlt.data.core.errors import InputError

MOST_VALUES = 20_000_000
"""Largest number of values in the columns that are read; a trial of 10,000 test rows with ten
classes has 140,000. A column of equal values needs no space in a file, but 8 bytes each in
memory."""


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
