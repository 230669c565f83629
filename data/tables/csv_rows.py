"""Parser of csv and tsv: rows one by one, with a reason for each unreadable row."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from itertools import compress
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from xlt.data.core.errors import InputError
from xlt.data.tables.formats import (
    BATCH,
    Batch,
    CheckHeader,
    Record,
    WrongCells,
    decode_batch,
    refuse_repeated_columns,
)

SEPARATORS = {"csv": ",", "tsv": "\t"}
"""Format -> the character between its cells."""
OTHER_SEPARATORS = {";": "save it with commas", "|": "save it with commas"}
"""Other characters that may stand between cells -> the remedy."""
UNDECODABLE = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+)")
"""Message of pyarrow for a row with wrong cells that it cannot decode."""


def parse_csv(
    stream: Any,
    separator: str,
    wanted: Sequence[str],
    quoting: bool,
    check_header: CheckHeader,
    block: int,
) -> Iterator[Batch]:
    """Parse csv or tsv; empty lines are left out and keep their numbers.

    Args:
        stream: A buffered binary stream, as :class:`io.BufferedReader`.
        separator: The character between cells.
        wanted: Names of columns.
        quoting: Whether double quotes enclose cells.
        check_header: Function that is called before the first row.
        block: Bytes parsed at once; no row may be longer.

    Raises:
        InputError: The stream is empty, its header is refused, or a row has both wrong cells and
            bytes that are not UTF-8.
        pa.ArrowException: The stream cannot be parsed.
    """
    wrong: dict[int, WrongCells] = {}

    def skip(row: pacsv.InvalidRow) -> str:
        is_blank = not row.text.strip()
        wrong[row.number] = WrongCells(row.actual_columns, row.expected_columns, is_blank)
        return "skip"

    if not stream.peek(1):
        raise InputError("is empty")
    try:
        with _refuse_undecodable_rows():
            reader = _open_csv(stream, separator, quoting, skip, block)
        header = reader.schema.names
    except UnicodeDecodeError as error:
        raise InputError("the header is not UTF-8; save the file as UTF-8") from error
    _refuse_other_separators(header, separator)
    refuse_repeated_columns(header, wanted)
    check_header(header)
    row = 2  # the header is row 1
    batches = _read_batches(reader)
    slices = (b.slice(i, BATCH) for b in batches for i in range(0, b.num_rows, BATCH))
    for batch in slices:  # a whole block of Python objects would take ten times its memory
        rows, bad = _number_rows(row, len(batch), wrong)
        row = rows[-1] + 1
        is_filled = _is_filled(batch)
        columns = {
            name: column.filter(is_filled).to_pylist()
            for name, column in zip(header, batch.columns, strict=True)
            if name in wanted
        }
        yield decode_batch([*compress(rows, is_filled.to_pylist())], columns, bad)
    last = [Record(number, {}, wrong[number]) for number in sorted(wrong)]
    yield Batch([], {name: [] for name in header if name in wanted}, last)


def _number_rows(
    first: int, count: int, wrong: dict[int, WrongCells]
) -> tuple[Sequence[int], list[Record]]:
    """Number readable rows; unreadable ones among them are removed from ``wrong`` and returned."""
    if not wrong:
        return range(first, first + count), []
    rows, bad, row = list[int](), list[Record](), first
    for _ in range(count):
        while row in wrong:
            bad.append(Record(row, {}, wrong.pop(row)))
            row += 1
        rows.append(row)
        row += 1
    return rows, bad


def _is_filled(batch: pa.RecordBatch) -> pa.Array:
    """Mark the rows with any text; the others are empty lines."""
    filled = (pc.greater(pc.binary_length(column), 0) for column in batch.columns)
    return reduce(pc.or_, filled)


def _open_csv(stream: Any, separator: str, quoting: bool, skip: Any, block: int) -> Any:
    """Open a reader of blocks whose cells are bytes, so that bad UTF-8 spoils a row, not a block.

    The cells stay text: an id 007 keeps its zeros, and a headline "NA" stays a headline.
    """
    first = stream.peek(block)
    header = pacsv.open_csv(
        pa.BufferReader(first),
        pacsv.ReadOptions(use_threads=False, block_size=len(first) + 1),
        _csv_options(separator, quoting, lambda row: "skip"),
    ).schema.names
    return pacsv.open_csv(
        stream,
        pacsv.ReadOptions(use_threads=False, block_size=block),  # threads would not number rows
        _csv_options(separator, quoting, skip),
        pacsv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.binary()), strings_can_be_null=False
        ),
    )


def _read_batches(reader: Any) -> Iterator[pa.RecordBatch]:
    while True:
        try:
            with _refuse_undecodable_rows():
                batch = reader.read_next_batch()
        except StopIteration:
            return
        yield batch


@contextmanager
def _refuse_undecodable_rows() -> Iterator[None]:
    """Raise InputError for a row with wrong cells that is not UTF-8.

    pyarrow decodes the row before it calls the handler. It prints the error as one that is ignored,
    and ends.
    """
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        yield
    except pa.ArrowInvalid as error:
        if match := UNDECODABLE.search(str(error)):
            row, expected, actual = match.groups()
            raise InputError(
                f"row {row} has {actual} cells instead of {expected}, and bytes that are not "
                "UTF-8; correct the row, or save the file as UTF-8"
            ) from error
        raise
    finally:
        sys.unraisablehook = hook


def _csv_options(separator: str, quoting: bool, skip: Any) -> pacsv.ParseOptions:
    """Make the settings of the parser; it calls ``skip`` for rows with more or fewer cells."""
    return pacsv.ParseOptions(
        delimiter=separator,
        quote_char='"' if quoting else False,
        newlines_in_values=quoting,
        ignore_empty_lines=False,  # they count as rows, so that row numbers are right
        invalid_row_handler=skip,
    )


def _refuse_other_separators(header: Sequence[str], separator: str) -> None:
    """Refuse a header of one column that holds another separator."""
    formats = {sign: f"set format: {name}" for name, sign in SEPARATORS.items()}
    for sign, remedy in (formats | OTHER_SEPARATORS).items():
        if len(header) == 1 and sign != separator and sign in header[0]:
            raise InputError(
                f"has one column, {header[0]!r} in row 1, whose cells seem to be separated by "
                f"{sign!r}, not {separator!r}; {remedy}"
            )
