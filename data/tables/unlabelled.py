"""Texts without labels, to be tagged: from files, a folder of them, or lines."""

from __future__ import annotations

import json
import posixpath
import sys
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import Any, NamedTuple, Self

import pyarrow as pa
import pyarrow.fs as pafs
import pydantic

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.locations import locate
from xlt.data.core.settings import Settings
from xlt.data.tables.cells import cell_text
from xlt.data.tables.columns import shared_columns
from xlt.data.tables.files import SUFFIXES, File, Format, find_files
from xlt.data.tables.formats import Record
from xlt.data.tables.stream import stream_lines, stream_records

STDIN = "-"
LINES = "stdin"
"""What the lines are called in place of a file."""


class Columns(Settings):
    """Names of the columns, as :class:`Columns` has them."""

    id: str | None = "id"
    """What rows are called; without such a column, or null, their numbers."""
    text: str = "text"
    """The headline or sentence."""
    text_pair: str | None = None
    """The second text, for a trial of a task on pairs."""
    lang: str | None = "lang"
    """BCP-47 code, written beside the tags; not needed."""


class Unlabelled(Settings):
    """Where the texts are, and what of them is read."""

    path: str
    """File, folder of files, path with ``*`` in its last part, pyarrow.fs URI, or ``-`` for the
    lines of stdin."""
    columns: Columns = Columns()
    """What the columns are called."""
    keep: Mapping[str, str] = pydantic.Field(default_factory=dict)
    """Column of the files -> its name in the output, for columns that are passed through."""
    format: Format | None = None
    """What the files hold, if their suffixes do not say."""
    quoting: bool = True
    """Whether double quotes enclose cells of csv and tsv."""
    lines: bool = False
    """Whether ``path`` holds the lines of stdin, put aside."""

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = shared_columns(self.columns.model_dump())
        if self.of_lines and (self.columns.model_fields_set or self.keep):
            problems.append("lines of stdin have no columns; leave columns and keep out")
        if problems:
            raise InputError(problems)
        return self

    @property
    def of_lines(self) -> bool:
        """Whether a row is a line."""
        return self.lines or self.path == STDIN


class TextRow(NamedTuple):
    """A row of the input, readable or not."""

    file: str
    """Name of its file, below the folder that was given."""
    row: int
    """Its number there."""
    id: str
    """Its id, or made of file and number."""
    text: str
    """Empty with a problem."""
    text_pair: str | None
    """None without such a column."""
    lang: str | None
    """None without such a column."""
    kept: tuple[str | None, ...]
    """Cells of the columns to be passed through, as text."""
    problem: str
    """Why it cannot be tagged; empty if it can."""


def read_unlabelled(source: Unlabelled) -> Iterator[TextRow]:
    """Every row, in the order of files and rows; never many of them in memory.

    Raises:
        InputError: No such files, a column is missing, or a file cannot be read at all. Rows that
            cannot be read are told in their ``problem``.
    """
    if source.of_lines:
        piped = source.path == STDIN
        with nullcontext(sys.stdin.buffer) if piped else open(source.path, "rb") as stream:
            for record in stream_lines(stream, source.columns.text):
                yield _row(source, LINES, record, several=False)
        return
    files = _files(source)
    for name, file in files.items():
        try:
            for record in _records(source, file):
                yield _row(source, name, record, several=len(files) > 1)
        except InputError as error:
            raise InputError(error.problems, file.place) from error


def check_unlabelled(source: Unlabelled) -> None:
    """Open every file and read its header and first row.

    Raises:
        InputError: As :func:`read_unlabelled`, with the problems of all files.
    """
    if source.of_lines:
        return
    problems = []
    for file in _files(source).values():
        try:
            next(_records(source, file), None)
        except InputError as error:
            problems += [f"{file.place}: {problem}" for problem in error.problems]
    if problems:
        raise InputError(problems)


def _files(source: Unlabelled) -> dict[str, File]:
    """What each file is called -> the file, in order."""
    path = source.path
    try:
        fs, place = locate(path)
        is_folder = fs.get_file_info(place).type == pafs.FileType.Directory
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot be read: {error}", path) from error
    if not is_folder:
        return {file.name: file for file in find_files(path, source.format)}
    infos = fs.get_file_info(pafs.FileSelector(place, recursive=True))
    below = (info for info in infos if info.type == pafs.FileType.File)
    seen = (info.path for info in below if not info.base_name.startswith((".", "_")))
    places = sorted(p for p in seen if source.format or _suffix(p) in SUFFIXES)
    if not places:
        raise InputError(f"the folder holds no file that ends with {', '.join(SUFFIXES)}", path)
    return {
        p[len(place) + 1 :]: File(
            fs, p, source.format or SUFFIXES[_suffix(p)], p.lower().endswith(".gz")
        )
        for p in places
    }


def _suffix(place: str) -> str:
    return posixpath.splitext(place.lower().removesuffix(".gz"))[1]


def _records(source: Unlabelled, file: File) -> Iterator[Record]:
    names = {role: name for role, name in source.columns.model_dump().items() if name is not None}
    optional = {"id", "lang"} - source.columns.model_fields_set

    def check(header: Any) -> None:
        problems = [
            unknown("column", name, header) + f" Name the right one in columns.{role}."
            for role, name in names.items()
            if name not in header and role not in optional
        ]
        problems += [
            unknown("column to keep", name, header) for name in source.keep if name not in header
        ]
        if problems:
            raise InputError(problems)

    return stream_records(file, [*names.values(), *source.keep], source.quoting, check)


def _row(source: Unlabelled, file: str, record: Record, *, several: bool) -> TextRow:
    columns, cells = source.columns, record.cells

    def cell(name: str | None, *, strip: bool) -> str | None:
        return cell_text(cells.get(name), strip) if name else None

    made = f"{file}:{record.row}" if several else str(record.row)
    text, pair = cell(columns.text, strip=False), cell(columns.text_pair, strip=False)
    unreadable = record.problem is not None
    problem = str(record.problem) if unreadable else _problem(columns, cells, text, pair)
    return TextRow(
        file=file,
        row=record.row,
        id=cell(columns.id, strip=True) or made,
        text="" if problem else text or "",
        text_pair=None if columns.text_pair is None else "" if problem else pair,
        lang=cell(columns.lang, strip=True),
        kept=tuple(_plain(cells.get(name)) for name in source.keep),
        problem=problem,
    )


def _problem(columns: Columns, cells: Mapping[str, Any], text: str | None, pair: str | None) -> str:
    names = {columns.text: text} | ({columns.text_pair: pair} if columns.text_pair else {})
    for name, value in names.items():
        if isinstance(cells.get(name), (list, dict, bytes)):
            return f"no text: column {name!r} holds a list, an object or bytes"
        if value is None or not value.strip():
            return "empty text" if name == columns.text else "empty second text of the pair"
    return ""


def _plain(value: Any) -> str | None:
    """A cell that is passed through: as text, of lists and objects as JSON."""
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return cell_text(value, strip=False)
