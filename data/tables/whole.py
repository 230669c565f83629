"""Read a whole file: its columns, or one error that names all bad rows."""

from __future__ import annotations

import io
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from xlt.data.core.errors import InputError
from xlt.data.core.text import first_few
from xlt.data.tables.cells import Cells, is_plain
from xlt.data.tables.csv_rows import SEPARATORS, parse_csv
from xlt.data.tables.encodings import refuse_other_encodings
from xlt.data.tables.files import File
from xlt.data.tables.formats import (
    BOM,
    Batch,
    CheckHeader,
    NotJson,
    NotUtf8,
    Record,
    WrongCells,
    parse_jsonl,
    parse_parquet,
    python_cells,
    refuse_repeated_columns,
)
from xlt.data.tables.memory import CELL_BYTES, refuse_too_large

PART_BYTES = 1 << 24
"""Bytes of a packed file that are unpacked at once."""
MAX_BLOCK = 1 << 30
"""Bytes of csv that are parsed at once; in a smaller file a row may be of any length."""


@dataclass(frozen=True)
class Records:
    """Some columns of a file.

    Attributes:
        cells: Name -> num_rows values: text, None, and what else jsonl and parquet can hold.
        rows: num_rows row numbers, as in :class:`Record`.
        header: All columns of the file.
    """

    cells: dict[str, Cells]
    rows: Sequence[int]
    header: list[str]

    @cached_property
    def columns(self) -> dict[str, list[Any]]:
        """Name -> num_rows Python values."""
        return {
            name: values if isinstance(values, list) else values.to_pylist()
            for name, values in self.cells.items()
        }


def read_records(file: File, wanted: Sequence[str], quoting: bool) -> Records:
    """Read the columns among ``wanted`` that a file has.

    Args:
        file: The file.
        wanted: Names of columns.
        quoting: Whether double quotes enclose cells of csv and tsv.

    Raises:
        InputError: The file cannot be opened, unpacked or parsed, is empty or not UTF-8, or has
            bad rows; all of them are in the error.
    """
    try:
        content = _read_content(file)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot be read: {error}") from error
    if file.format != "parquet":
        refuse_other_encodings(content)
        if not content.removeprefix(BOM).strip():
            raise InputError("is empty")
    columns: dict[str, list[Any]] = {name: [] for name in wanted}
    rows, header, bad = array("q"), list[str](), list[Record]()
    try:
        if file.format == "parquet" and (records := _read_parquet(content, wanted)):
            return records
        for batch in _parse(file, content, wanted, quoting, header.extend):
            bad += batch.bad
            rows.extend(batch.rows)
            for name, cells in batch.columns.items():
                columns[name] += cells
    except (OSError, pa.ArrowException) as error:
        is_parquet = file.format == "parquet"
        problem = "is not a readable Parquet file" if is_parquet else "cannot be read"
        raise InputError(f"{problem}: {error}") from error
    _refuse_bad_rows(bad)
    return Records({name: columns[name] for name in wanted if name in header}, rows, header)


def _read_content(file: File) -> bytes:
    """Read all bytes of a file, unpacked, if the machine has the memory."""
    refuse_too_large(file.fs.get_file_info(file.path).size or 0, "the bytes of the file")
    with file.open() as stream:
        if not file.packed:
            return bytes(stream.read())
        parts: list[bytes] = []
        num_bytes = 0
        while part := stream.read(PART_BYTES):
            parts.append(part)
            num_bytes += len(part)
            refuse_too_large(2 * num_bytes, "the unpacked bytes of the file")  # parts, and joined
    return b"".join(parts)


def _read_parquet(content: bytes, wanted: Sequence[str]) -> Records | None:
    """Read the columns of Parquet as arrays, where Python values would be the same.

    Returns:
        The records; None if a column holds bytes or texts that are not UTF-8, whose rows are to be
        named.

    Raises:
        InputError: The machine lacks the memory, or a column occurs more than once.
    """
    file = pq.ParquetFile(pa.BufferReader(content))
    header, num_rows = file.schema_arrow.names, file.metadata.num_rows
    present = [name for name in wanted if name in header]
    refuse_too_large(num_rows * len({*present}) * CELL_BYTES, f"{num_rows:,} rows")
    refuse_repeated_columns(header, wanted)
    table = file.read(columns=present, use_threads=False)
    cells: dict[str, Cells] = {}
    for name in present:
        column = table[name]
        if is_plain(column):
            try:
                column.validate(full=True)
            except pa.ArrowInvalid:
                return None
            cells[name] = column
        elif pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
            return None
        else:
            cells[name] = [*chain.from_iterable(map(python_cells, column.chunks))]
    return Records(cells, range(1, num_rows + 1), header)


def _parse(
    file: File, content: bytes, wanted: Sequence[str], quoting: bool, check_header: CheckHeader
) -> Iterator[Batch]:
    if file.format == "parquet":
        return parse_parquet(pa.BufferReader(content), wanted, check_header)
    if file.format == "jsonl":
        return parse_jsonl(io.BytesIO(content), wanted, check_header, None)
    block = min(len(content) + 1, MAX_BLOCK)
    stream = io.BufferedReader(io.BytesIO(content), block)
    return parse_csv(stream, SEPARATORS[file.format], wanted, quoting, check_header, block)


def _refuse_bad_rows(bad: Sequence[Record]) -> None:
    """Refuse unreadable rows; lines of csv that hold only white space are none.

    Raises:
        InputError: One problem for all rows of wrong length, one for all lines that are not JSON,
            and one for each column that is not UTF-8.
    """
    problems = []
    lengths, lines, expected = list[str](), list[str](), 0
    by_column: dict[str | None, list[str]] = {}
    for row, _, problem in bad:
        match problem:
            case WrongCells(actual, expected, is_blank=False):
                lengths.append(f"row {row} ({actual})")
            case NotJson(reason):
                lines.append(f"row {row} ({reason})")
            case NotUtf8(column, offset):
                by_column.setdefault(column, []).append(f"row {row} at byte {offset} of the cell")
    if lengths:
        problems.append(
            f"{len(lengths)} rows do not have {expected} columns as the header: "
            f"{first_few(lengths)}; enclose cells that hold separators or line breaks in double "
            "quotes (\"), and set quoting: false if the file's double quotes enclose nothing"
        )
    if lines:
        problems.append(
            f"{len(lines)} rows are not JSON objects: {first_few(lines)}; write one object on "
            "each line"
        )
    for column, places in by_column.items():
        problems.append(f"column {column!r} is not UTF-8: {first_few(places)}; write it again")
    if problems:
        raise InputError(problems)
