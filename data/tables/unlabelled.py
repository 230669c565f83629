"""Texts without labels, for tagging: from files, a folder of files, or lines."""

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
"""Name of the input in messages and output when it is lines of stdin."""


class TextColumns(Settings):
    """Names of the columns of unlabelled texts."""

    id: str | None = "id"
    """Ids of the rows; without such a column, or with null, row numbers are the ids."""
    text: str = "text"
    """The headline or sentence."""
    text_pair: str | None = None
    """The second text, for trials of a task on pairs."""
    lang: str | None = "lang"
    """BCP-47 code, copied to the output; optional."""


class Unlabelled(Settings):
    """The files with the texts, and the columns that are read."""

    path: str
    """File, folder of files, path with ``*`` in its last part, pyarrow.fs URI, or ``-`` for the
    lines of stdin."""
    columns: TextColumns = TextColumns()
    """Names of the columns."""
    keep: Mapping[str, str] = pydantic.Field(default_factory=dict)
    """Column of the files -> its name in the output, for columns that are copied."""
    format: Format | None = None
    """Format of the files; null: the suffix of each file decides."""
    quoting: bool = True
    """Whether double quotes enclose cells of csv and tsv."""
    lines: bool = False
    """Whether the file ``path`` is a copy of the lines of stdin."""

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = shared_columns(self.columns.model_dump())
        if self.of_lines and (self.columns.model_fields_set or self.keep):
            problems.append("lines of stdin have no columns; leave out columns and keep")
        if problems:
            raise InputError(problems)
        return self

    @property
    def of_lines(self) -> bool:
        """Whether each row is a line without columns."""
        return self.lines or self.path == STDIN


class TextRow(NamedTuple):
    """A row of the input, readable or not."""

    file: str
    """Path of the file below the given folder, or the name of the file."""
    row: int
    """Row number in the file."""
    id: str
    """The id in the file, or one made of file and row number."""
    text: str
    """The text; empty if there is a problem."""
    text_pair: str | None
    """The second text; None without such a column."""
    lang: str | None
    """The language; None without such a column."""
    kept: tuple[str | None, ...]
    """Cells of the columns that are copied to the output, as text."""
    problem: str
    """The reason why the row cannot be tagged; empty if it can."""


def read_unlabelled(source: Unlabelled) -> Iterator[TextRow]:
    """Read all rows in the order of files and rows, with a few of them in memory.

    A row that cannot be read has the reason in its ``problem``.

    Raises:
        InputError: There are no such files, a column is missing, or a file cannot be read at all.
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
            raise InputError(error.problems, file.path) from error


def check_unlabelled(source: Unlabelled) -> None:
    """Read the header and first row of every file, to find problems before a long run.

    Raises:
        InputError: The problems of :func:`read_unlabelled`, for all files together.
    """
    if source.of_lines:
        return
    problems = []
    for file in _files(source).values():
        try:
            next(_records(source, file), None)
        except InputError as error:
            problems += [f"{file.path}: {problem}" for problem in error.problems]
    if problems:
        raise InputError(problems)


def _files(source: Unlabelled) -> dict[str, File]:
    """Find the files: name in messages and output -> file, sorted by name."""
    try:
        fs, root = locate(source.path)
        is_folder = fs.get_file_info(root).type == pafs.FileType.Directory
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot be read: {error}", source.path) from error
    if not is_folder:
        return {file.name: file for file in find_files(source.path, source.format)}
    infos = fs.get_file_info(pafs.FileSelector(root, recursive=True))
    below = (info for info in infos if info.type == pafs.FileType.File)
    seen = (info.path for info in below if not info.base_name.startswith((".", "_")))
    paths = sorted(p for p in seen if source.format or _suffix(p) in SUFFIXES)
    if not paths:
        raise InputError(
            f"the folder holds no file that ends with {', '.join(SUFFIXES)}", source.path
        )
    return {
        p[len(root) + 1 :]: File(
            fs, p, source.format or SUFFIXES[_suffix(p)], p.lower().endswith(".gz")
        )
        for p in paths
    }


def _suffix(path: str) -> str:
    return posixpath.splitext(path.lower().removesuffix(".gz"))[1]


def _records(source: Unlabelled, file: File) -> Iterator[Record]:
    names = {role: name for role, name in source.columns.model_dump().items() if name is not None}
    optional = {"id", "lang"} - source.columns.model_fields_set

    def check_header(header: Any) -> None:
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

    return stream_records(file, [*names.values(), *source.keep], source.quoting, check_header)


def _row(source: Unlabelled, file: str, record: Record, *, several: bool) -> TextRow:
    columns, cells = source.columns, record.cells

    def cell(name: str | None, *, strip: bool) -> str | None:
        return cell_text(cells.get(name), strip) if name else None

    made_id = f"{file}:{record.row}" if several else str(record.row)
    text, pair = cell(columns.text, strip=False), cell(columns.text_pair, strip=False)
    unreadable = record.problem is not None
    problem = str(record.problem) if unreadable else _problem(columns, cells, text, pair)
    return TextRow(
        file=file,
        row=record.row,
        id=cell(columns.id, strip=True) or made_id,
        text="" if problem else text or "",
        text_pair=None if columns.text_pair is None else "" if problem else pair,
        lang=cell(columns.lang, strip=True),
        kept=tuple(_plain(cells.get(name)) for name in source.keep),
        problem=problem,
    )


def _problem(
    columns: TextColumns, cells: Mapping[str, Any], text: str | None, pair: str | None
) -> str:
    names = {columns.text: text} | ({columns.text_pair: pair} if columns.text_pair else {})
    for name, value in names.items():
        if isinstance(cells.get(name), (list, dict, bytes)):
            return f"no text: column {name!r} holds a list, an object or bytes"
        if value is None or not value.strip():
            return "empty text" if name == columns.text else "empty second text of the pair"
    return ""


def _plain(value: Any) -> str | None:
    """Convert a cell that is copied to the output: lists and objects to JSON, others to text."""
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return cell_text(value, strip=False)
