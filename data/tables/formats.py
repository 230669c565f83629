"""Parsers of jsonl and parquet: rows one by one, with a reason for each unreadable row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import chain, islice, repeat
from operator import attrgetter
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from xlt.data.core.errors import InputError
from xlt.data.core.json_text import parse_json

BATCH = 4096
"""Rows that are converted to Python objects at once."""
BOM = b"\xef\xbb\xbf"
CheckHeader = Callable[[Sequence[str]], None]
"""Function that is called with all columns of a file; it raises InputError if one is missing."""


@dataclass(frozen=True)
class WrongCells:
    """A row of csv has more or fewer cells than the header.

    Attributes:
        actual: Number of cells.
        expected: Number of columns in the header.
        is_blank: Whether the row holds nothing but white space.
    """

    actual: int
    expected: int
    is_blank: bool

    def __str__(self) -> str:
        """The problem in words."""
        return f"not the cells of the header: {self.actual} instead of {self.expected}"


@dataclass(frozen=True)
class NotJson:
    """A line of jsonl is not a JSON object.

    Attributes:
        reason: The message of the JSON parser.
    """

    reason: str

    def __str__(self) -> str:
        """The problem in words."""
        return f"not a JSON object: {self.reason}"


@dataclass(frozen=True)
class NotUtf8:
    """A text is not UTF-8.

    Attributes:
        column: The column of the text; None: a line of jsonl.
        offset: Position of the first bad byte in the cell or line.
    """

    column: str | None
    offset: int

    def __str__(self) -> str:
        """The problem in words."""
        return f"not UTF-8: {'the line' if self.column is None else f'column {self.column!r}'}"


class Record(NamedTuple):
    """A row of a file."""

    row: int
    """The number of the row in messages: for csv and tsv as in a spreadsheet (the header is row
    1), for jsonl the line, for parquet from 1."""
    cells: dict[str, Any]
    """Column -> value, for the wanted columns that the file has; empty for an unreadable row."""
    problem: WrongCells | NotJson | NotUtf8 | None = None
    """The reason why the row cannot be read; None for a readable row."""


class Batch(NamedTuple):
    """Rows of a file that follow each other, readable and not."""

    rows: Sequence[int]
    """Numbers of the readable rows, as in :class:`Record`."""
    columns: dict[str, list[Any]]
    """Column -> cells of the readable rows, for the wanted columns that the file has."""
    bad: Sequence[Record]
    """The unreadable rows."""

    def records(self) -> Iterator[Record]:
        """List all rows in order."""
        cells = zip(*self.columns.values(), strict=True) if self.columns else repeat(())
        good = (
            Record(row, dict(zip(self.columns, values, strict=True)))
            for row, values in zip(self.rows, cells, strict=False)
        )
        return merge(good, self.bad, key=attrgetter("row"))


def refuse_repeated_columns(header: list[str], wanted: Sequence[str]) -> None:
    """Refuse a wanted column that the file has more than once."""
    repeated = [name for name in wanted if header.count(name) > 1]
    if repeated:
        raise InputError(f"columns {repeated} occur more than once; rename all but one of each")


def parse_jsonl(
    stream: Iterable[bytes],
    wanted: Sequence[str],
    check_header: CheckHeader,
    num_objects: int | None,
) -> Iterator[Batch]:
    """Parse one object on each line; empty lines are left out and keep their numbers.

    The standard library parses, because pyarrow's reader turns text that looks like a time into
    one, refuses a column of text and numbers, and does not number the rows after its first block.

    Args:
        stream: The lines.
        wanted: Names of columns.
        check_header: Function that is called before the first row.
        num_objects: The objects at the beginning whose keys are the header; None: all.

    Raises:
        InputError: There is no object, or the header is refused.
    """
    objects = _json_objects(stream)
    first = list(islice(objects, num_objects))
    header = list(dict.fromkeys(name for record in first for name in record.cells))
    if header:
        check_header(header)
    elif not first:
        raise InputError("is empty")
    records = chain(first, objects)
    while batch := list(islice(records, BATCH)):
        good = [record for record in batch if record.problem is None]
        columns = {name: [record.cells.get(name) for record in good] for name in wanted}
        bad = [record for record in batch if record.problem is not None]
        yield Batch([record.row for record in good], columns, bad)


def _json_objects(stream: Iterable[bytes]) -> Iterator[Record]:
    """Parse each line to a record with all keys of its object."""
    for number, line in enumerate(stream, 1):
        try:
            content = (line.removeprefix(BOM) if number == 1 else line).decode()
        except UnicodeDecodeError as error:
            yield Record(number, {}, NotUtf8(None, error.start))
            continue
        if not content.strip():
            continue
        try:
            yield Record(number, _json_object(content.removesuffix("\n")))
        except ValueError as error:
            yield Record(number, {}, NotJson(str(error)))


def _json_object(line: str) -> dict[str, Any]:
    """Parse a line of jsonl.

    Raises:
        ValueError: The line is not an object, or :func:`parse_json` refuses it.
    """
    value = parse_json(line)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def parse_parquet(source: Any, wanted: Sequence[str], check_header: CheckHeader) -> Iterator[Batch]:
    """Parse Parquet.

    Args:
        source: A file that pyarrow can seek in.
        wanted: Names of columns.
        check_header: Function that is called before the first row.

    Raises:
        InputError: The header is refused.
        OSError, pa.ArrowException: The file is not Parquet, or is damaged.
    """
    table = pq.ParquetFile(source)
    header = table.schema_arrow.names
    refuse_repeated_columns(header, wanted)
    check_header(header)
    present = [name for name in wanted if name in header]
    row = 1
    for batch in table.iter_batches(BATCH, columns=present):
        cells = map(python_cells, batch.columns)
        yield decode_batch(range(row, row + len(batch)), dict(zip(present, cells, strict=True)))
        row += len(batch)


def python_cells(column: pa.Array) -> list[Any]:
    """Convert cells to Python; texts to bytes if they are not UTF-8, which Parquet allows."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            column = column.cast(pa.large_binary())
    elif pa.types.is_timestamp(column.type):  # Python has no nanoseconds
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    try:
        return list(column.to_pylist())
    except (OverflowError, ValueError) as error:
        raise InputError(f"has a value that Python cannot hold: {error}; correct it") from error


def decode_batch(
    rows: Sequence[int], columns: dict[str, list[Any]], bad: Sequence[Record] = ()
) -> Batch:
    """Make a batch, and decode its texts; rows that are not UTF-8 are unreadable.

    Args:
        rows: num_rows row numbers.
        columns: Column -> num_rows cells; bytes are decoded.
        bad: Other unreadable rows.
    """
    try:
        return Batch(rows, {name: _decode(cells) for name, cells in columns.items()}, bad)
    except UnicodeDecodeError:
        each = zip(rows, zip(*columns.values(), strict=True), strict=True)
        records = [
            decode_record(row, dict(zip(columns, cells, strict=True))) for row, cells in each
        ]
    good = [record for record in records if record.problem is None]
    decoded = {name: [record.cells[name] for record in good] for name in columns}
    bad = sorted(
        [*bad, *(record for record in records if record.problem is not None)],
        key=attrgetter("row"),
    )
    return Batch([record.row for record in good], decoded, bad)


def _decode(cells: list[Any]) -> list[Any]:
    return [cell.decode() if isinstance(cell, bytes) else cell for cell in cells]


def decode_record(row: int, cells: dict[str, Any]) -> Record:
    """Make a record, and decode its texts in place."""
    for name, value in cells.items():
        if isinstance(value, bytes):
            try:
                cells[name] = value.decode()
            except UnicodeDecodeError as error:
                return Record(row, {}, NotUtf8(name, error.start))
    return Record(row, cells)
