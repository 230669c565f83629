"""Reading the files of the table source row by row: larger than memory, bad rows set apart."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from xlt.data.core.errors import InputError
from xlt.data.tables.encodings import NUM_LOOKED_AT, refuse_utf16
from xlt.data.tables.files import (
    SEPARATORS,
    File,
    csv_options,
    json_object,
    refuse_double,
    refuse_other_separators,
)

BLOCK = 1 << 22
"""Bytes of csv parsed at once; no row may be longer."""
NUM_OBJECTS = 1000
"""Objects at the beginning of jsonl whose keys are its header."""
BATCH = 4096
"""Rows held as Python objects at once."""
NOT_UTF8 = "not UTF-8"
BOM = b"\xef\xbb\xbf"
Check = Callable[[Sequence[str]], None]
"""Told every column of a file; raises InputError if it lacks one."""


class Record(NamedTuple):
    """A row of a file."""

    row: int
    """By which errors call it: as in :class:`Records`."""
    cells: dict[str, Any]
    """Column -> value, of the columns wanted that the file has; empty with a problem."""
    problem: str = ""
    """Why the row cannot be read; empty if it can."""


def stream_records(
    file: File, wanted: Sequence[str], quoting: bool, check: Check
) -> Iterator[Record]:
    """The rows of a file, in order, a few of them in memory at a time.

    Unlike :meth:`File.read`, which refuses a file for a bad row, rows that
    are not UTF-8, not JSON objects or of another number of cells than the header are told one by
    one. A gzipped Parquet file is held in memory, for it is read from its end.

    Args:
        file: Of which file.
        wanted: Names of columns.
        quoting: Whether double quotes enclose cells of csv and tsv.
        check: Told the header before the first row.

    Raises:
        InputError: The file cannot be opened, unpacked or parsed at all, is empty, or ``check``
            refuses its header.
    """
    try:
        if file.format == "parquet":
            yield from _parquet(file, wanted, check)
            return
        with file.open() as stream:
            buffered = io.BufferedReader(stream, BLOCK)
            refuse_utf16(buffered.peek(NUM_LOOKED_AT))
            if file.format == "jsonl":
                yield from _jsonl(buffered, wanted, check)
            else:
                yield from _csv(buffered, SEPARATORS[file.format], wanted, quoting, check)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot be read: {error}") from error


def stream_lines(stream: Iterable[bytes], column: str) -> Iterator[Record]:
    """Each line of a stream as a row with one column, line breaks left out."""
    for number, line in enumerate(stream, 1):
        yield _decoded(number, {column: line.removeprefix(BOM if number == 1 else b"").strip()})


def _decoded(row: int, cells: dict[str, Any]) -> Record:
    """A row whose texts are decoded, or the problem that one is not UTF-8."""
    for name, value in cells.items():
        if isinstance(value, bytes):
            try:
                cells[name] = value.decode()
            except UnicodeDecodeError:
                return Record(row, {}, f"{NOT_UTF8}: column {name!r}")
    return Record(row, cells)


def _csv(
    stream: Any, separator: str, wanted: Sequence[str], quoting: bool, check: Check
) -> Iterator[Record]:
    odd: dict[int, str] = {}

    def skip(row: pacsv.InvalidRow) -> str:
        odd[row.number] = (
            f"not the cells of the header: {row.actual_columns} instead of {row.expected_columns}"
        )
        return "skip"

    if not stream.peek(1):
        raise InputError("is empty")
    try:
        reader = _open_csv(stream, separator, quoting, skip)
        header = reader.schema.names
    except UnicodeDecodeError as error:
        raise InputError(f"the header is {NOT_UTF8}; save the file as UTF-8") from error
    refuse_other_separators(header, separator)
    refuse_double(header, wanted)
    check(header)
    row = 2  # the header is row 1
    slices = (b.slice(i, BATCH) for b in reader for i in range(0, b.num_rows, BATCH))
    for batch in slices:  # a block as Python objects would take ten times its memory
        columns = [column.to_pylist() for column in batch.columns]
        for cells in zip(*columns, strict=True):
            while row in odd:  # told before the rows behind it
                yield Record(row, {}, odd.pop(row))
                row += 1
            if any(cells):  # else an empty line
                yield _decoded(
                    row, {n: c for n, c in zip(header, cells, strict=True) if n in wanted}
                )
            row += 1
    yield from (Record(number, {}, odd[number]) for number in sorted(odd))


def _open_csv(stream: Any, separator: str, quoting: bool, skip: Any) -> Any:
    """A reader of blocks whose cells are all bytes, so that bad UTF-8 is of a row, not a block."""
    first = stream.peek(BLOCK)
    header = pacsv.open_csv(
        pa.BufferReader(first),
        pacsv.ReadOptions(use_threads=False, block_size=len(first) + 1),
        csv_options(separator, quoting, lambda row: "skip"),
    ).schema.names
    return pacsv.open_csv(
        stream,
        pacsv.ReadOptions(use_threads=False, block_size=BLOCK),  # rows are numbered without threads
        csv_options(separator, quoting, skip),
        pacsv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.binary()), strings_can_be_null=False
        ),
    )


def _jsonl(stream: Iterable[bytes], wanted: Sequence[str], check: Check) -> Iterator[Record]:
    parsed = _objects(stream)
    first = list(islice(parsed, NUM_OBJECTS))
    header = list(dict.fromkeys(name for _, found, _ in first for name in found))
    if header:
        check(header)
    elif not first:
        raise InputError("is empty")
    for row, found, problem in chain(first, parsed):
        yield Record(row, {name: found.get(name) for name in wanted if name in found}, problem)


def _objects(stream: Iterable[bytes]) -> Iterator[Record]:
    """Whole objects of jsonl."""
    for number, line in enumerate(stream, 1):
        if not (line := line.removeprefix(BOM) if number == 1 else line).strip():
            continue
        try:
            yield Record(number, json_object(line.decode()))
        except UnicodeDecodeError:
            yield Record(number, {}, f"{NOT_UTF8}: the line")
        except ValueError as error:
            yield Record(number, {}, f"not a JSON object: {error}")


def _parquet(file: File, wanted: Sequence[str], check: Check) -> Iterator[Record]:
    if file.packed:
        with file.open() as stream:
            source: Any = pa.BufferReader(stream.read())
    else:
        source = file.fs.open_input_file(file.place)
    with source:
        table = pq.ParquetFile(source)
        header = table.schema_arrow.names
        refuse_double(header, wanted)
        check(header)
        row = 1
        found = [name for name in wanted if name in header]
        for batch in table.iter_batches(BATCH, columns=found):
            columns = [_python(column) for column in batch.columns]
            for cells in zip(*columns, strict=True):
                yield _decoded(row, dict(zip(found, cells, strict=True)))
                row += 1


def _python(column: pa.Array) -> list[Any]:
    """Cells as Python has them; texts as bytes, because Parquet promises UTF-8 unchecked."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = column.cast(pa.large_binary())
    elif pa.types.is_timestamp(column.type):  # Python has no nanoseconds
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    return list(column.to_pylist())
