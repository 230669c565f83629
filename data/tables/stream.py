"""Read a file row by row: it may be larger than memory, and a bad row spoils no other row."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa

from xlt.data.core.errors import InputError
from xlt.data.tables.csv_rows import SEPARATORS, parse_csv
from xlt.data.tables.encodings import NUM_LOOKED_AT, refuse_utf16
from xlt.data.tables.files import File
from xlt.data.tables.formats import (
    BOM,
    Batch,
    CheckHeader,
    Record,
    decode_record,
    parse_jsonl,
    parse_parquet,
)

BLOCK = 1 << 22
"""Bytes of csv that are parsed at once; no row may be longer."""
NUM_OBJECTS = 1000
"""Objects at the beginning of jsonl whose keys are its header."""


def stream_records(
    file: File, wanted: Sequence[str], quoting: bool, check_header: CheckHeader
) -> Iterator[Record]:
    """Read the rows of a file in order, a few of them in memory at a time.

    A gzipped Parquet file is read into memory, because its index lies at its end.

    Args:
        file: The file.
        wanted: Names of columns.
        quoting: Whether double quotes enclose cells of csv and tsv.
        check_header: Function that is called before the first row.

    Raises:
        InputError: The file cannot be opened, unpacked or parsed at all, is empty, or
            ``check_header`` refuses its header.
    """
    for batch in _stream_batches(file, wanted, quoting, check_header):
        yield from batch.records()


def _stream_batches(
    file: File, wanted: Sequence[str], quoting: bool, check_header: CheckHeader
) -> Iterator[Batch]:
    try:
        if file.format == "parquet" and not file.packed:
            with file.fs.open_input_file(file.path) as source:
                yield from parse_parquet(source, wanted, check_header)
            return
        with file.open() as stream:
            if file.format == "parquet":
                source = pa.BufferReader(stream.read())
                yield from parse_parquet(source, wanted, check_header)
                return
            buffered = io.BufferedReader(stream, BLOCK)
            refuse_utf16(buffered.peek(NUM_LOOKED_AT))
            if file.format == "jsonl":
                yield from parse_jsonl(buffered, wanted, check_header, NUM_OBJECTS)
            else:
                separator = SEPARATORS[file.format]
                yield from parse_csv(buffered, separator, wanted, quoting, check_header, BLOCK)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot be read: {error}") from error


def stream_lines(stream: Iterable[bytes], column: str) -> Iterator[Record]:
    """Read each line of a stream as a row of one column, without the line break."""
    for number, line in enumerate(stream, 1):
        content = line.removeprefix(BOM if number == 1 else b"")
        yield decode_record(number, {column: content.strip()})
