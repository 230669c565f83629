"""Reading the files of the table source: where they lie, their formats, their broken rows."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.locations import locate
from xlt.data.core.text import shown
from xlt.data.tables.cells import plain_values
from xlt.data.tables.encodings import refuse_other_encodings

Format = Literal["csv", "tsv", "jsonl", "parquet"]
SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
"""Suffix -> format; ``.gz`` may follow any of them."""
SEPARATORS = {"csv": ",", "tsv": "\t"}
OTHER_SEPARATORS = {";": "save it with commas", "|": "save it with commas"}
"""What else separates cells, and what to do about it."""
MAX_BLOCK = 1 << 30
"""Bytes of csv parsed at once; a file below it is one block, so that any row fits in."""


@dataclass(frozen=True)
class Records:
    """Some columns of a file.

    Attributes:
        columns: Name -> num_rows values: text, None, and what else jsonl and parquet can hold.
        rows: num_rows numbers by which errors call the rows: of csv and tsv as in a spreadsheet
            (the header is row 1), of jsonl the line, of parquet from 1.
        header: Every column of the file.
    """

    columns: dict[str, list[Any]]
    rows: Sequence[int]
    header: list[str]


@dataclass(frozen=True)
class File:
    """One file, not yet read.

    Attributes:
        fs: Its file system.
        place: Its path there.
        format: What it holds.
        packed: Whether it is gzipped.
    """

    fs: pafs.FileSystem
    place: str
    format: Format
    packed: bool

    @property
    def name(self) -> str:
        """Its name without folders."""
        return posixpath.basename(self.place)

    def open(self) -> Any:
        """A stream of its bytes, unpacked.

        Raises:
            OSError, pa.ArrowException: It cannot be opened.
        """
        stream = self.fs.open_input_stream(self.place, compression=None)
        return pa.CompressedInputStream(stream, "gzip") if self.packed else stream

    def read(self, wanted: Sequence[str], quoting: bool) -> Records:
        """Read the columns among ``wanted`` that the file has.

        Args:
            wanted: Names of columns.
            quoting: Whether double quotes enclose cells of csv and tsv.

        Raises:
            InputError: The file cannot be opened or unpacked, is not what its format says or not
                UTF-8; with every bad row where rows can be told.
        """
        try:
            with self.open() as stream:
                content = stream.read()
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"cannot be read: {error}") from error
        if self.format == "parquet":
            return _read_parquet(content, wanted)
        refuse_other_encodings(content)
        content = content.removeprefix(b"\xef\xbb\xbf")
        if not content.strip():
            raise InputError("is empty")
        if self.format == "jsonl":
            return _read_jsonl(content, wanted)
        return _read_csv(content, SEPARATORS[self.format], wanted, quoting)


def find_files(path: str, format: Format | None) -> list[File]:
    """The files that a path stands for, in order of their names.

    Args:
        path: Local path or pyarrow.fs URI; ``*`` in its last part stands for any
            characters.
        format: What the files hold; None: what their suffixes say.

    Raises:
        InputError: No file system or no file of that name, or an unknown suffix.
    """
    try:
        fs, place = locate(path)
        folder, name = posixpath.split(place)
        places = [place]
        if "*" in name:
            wanted = re.compile(".*".join(map(re.escape, name.split("*"))))
            infos = fs.get_file_info(pafs.FileSelector(folder))
            names = (info.path for info in infos if info.type == pafs.FileType.File)
            places = sorted(p for p in names if wanted.fullmatch(posixpath.basename(p)))
        elif fs.get_file_info(place).type != pafs.FileType.File:
            places = []
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot be read: {error}", path) from error
    if not places:
        raise InputError("there is no such file; write * for any characters of a file name", path)
    return [File(fs, p, format or _format(p, path), p.lower().endswith(".gz")) for p in places]


def _format(place: str, path: str) -> Format:
    suffix = posixpath.splitext(place.lower().removesuffix(".gz"))[1]
    if suffix not in SUFFIXES:
        raise InputError(unknown("file suffix", suffix, SUFFIXES) + " Or set format.", path)
    return SUFFIXES[suffix]


def refuse_other_separators(header: Sequence[str], separator: str) -> None:
    """A header of one column that holds another separator."""
    formats = {sign: f"set format: {name}" for name, sign in SEPARATORS.items()}
    for sign, remedy in (formats | OTHER_SEPARATORS).items():
        if len(header) == 1 and sign != separator and sign in header[0]:
            raise InputError(
                f"has one column, {header[0]!r} in row 1, whose cells seem to be separated by "
                f"{sign!r}, not {separator!r}; {remedy}"
            )


def csv_options(separator: str, quoting: bool, skip: Any) -> pacsv.ParseOptions:
    """How csv and tsv are parsed; ``skip`` is told of rows with more or fewer cells."""
    return pacsv.ParseOptions(
        delimiter=separator,
        quote_char='"' if quoting else False,
        newlines_in_values=quoting,
        ignore_empty_lines=False,  # they count as rows, so that numbers stay right
        invalid_row_handler=skip,
    )


def _read_csv(content: bytes, separator: str, wanted: Sequence[str], quoting: bool) -> Records:
    skipped: list[tuple[int, str]] = []

    def skip(row: pacsv.InvalidRow) -> str:
        skipped.append(
            (row.number, row.text.strip() and f"row {row.number} ({row.actual_columns})")
        )
        return "skip"

    read_options = pacsv.ReadOptions(
        use_threads=False,  # only then are rows numbered
        block_size=min(len(content) + 1, MAX_BLOCK),
    )
    parse_options = csv_options(separator, quoting, skip)
    try:
        stream = pacsv.open_csv(pa.BufferReader(content), read_options, parse_options)
        header = stream.schema.names
        refuse_other_separators(header, separator)
        found = [name for name in wanted if header.count(name) == 1]
        skipped.clear()
        table = pacsv.read_csv(
            pa.BufferReader(content),
            read_options,
            parse_options,
            # All text: an id 007 keeps its zeros and a headline "NA" stays one.
            pacsv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowException as error:
        raise InputError(f"cannot be read: {error}") from error
    bad = [text for _, text in skipped if text]
    if bad:
        raise InputError(
            f"{len(bad)} rows do not have {len(header)} columns as the header: {shown(bad)}; "
            'enclose cells that hold separators or line breaks in double quotes ("), and set '
            "quoting: false if the file's double quotes enclose nothing"
        )
    refuse_double(header, wanted)
    gaps = {number for number, _ in skipped}
    numbers = [n for n in range(2, table.num_rows + len(gaps) + 2) if n not in gaps]
    columns = {name: table[name].to_pylist() for name in found}
    kept = [row for row in range(table.num_rows) if not _is_blank(table, columns, row)]
    return Records(
        {name: [values[row] for row in kept] for name, values in columns.items()},
        [numbers[row] for row in kept],
        header,
    )


def _is_blank(table: pa.Table, columns: dict[str, list[str]], row: int) -> bool:
    """Whether a line of csv is empty, or has nothing but separators."""
    if any(values[row] for values in columns.values()):
        return False  # as nearly always
    return not any(column[row].as_py() for column in table.itercolumns())


def _read_jsonl(content: bytes, wanted: Sequence[str]) -> Records:
    """One object a line.

    Read by the standard library: pyarrow's reader turns text that looks like a time into one,
    refuses a column of both text and numbers, and tells no row of a block beyond the first.
    """
    objects, rows, bad = [], [], []
    header: dict[str, None] = {}
    for number, line in enumerate(content.decode().split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json_object(line)
        except ValueError as error:
            bad.append(f"row {number} ({error})")
            continue
        header.update(dict.fromkeys(value))
        objects.append(value)
        rows.append(number)
    if bad:
        raise InputError(f"{len(bad)} rows are not JSON objects: {shown(bad)}; one object a line")
    columns = {n: [o.get(n) for o in objects] for n in wanted if n in header}
    return Records(columns, rows, list(header))


def json_object(line: str) -> dict[str, Any]:
    """The object of a line of jsonl.

    Raises:
        ValueError: It is not JSON, no object, or holds halves of characters, which no text may.
    """
    value = json.loads(line)
    if "\\ud" in line.lower():
        json.dumps(value, ensure_ascii=False).encode()
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _read_parquet(content: bytes, wanted: Sequence[str]) -> Records:
    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        header = file.schema_arrow.names
        refuse_double(header, wanted)
        table = file.read([name for name in wanted if name in header])
        columns = {name: plain_values(name, table[name]) for name in table.column_names}
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"is not a readable Parquet file: {error}") from error
    return Records(columns, range(1, table.num_rows + 1), header)


def refuse_double(header: list[str], wanted: Sequence[str]) -> None:
    """Refuse a column that is wanted and there more than once."""
    double = [name for name in wanted if header.count(name) > 1]
    if double:
        raise InputError(f"columns {double} are there more than once; rename all but one of each")
