"""The user's labelled texts: csv, tsv, jsonl or parquet, plain or gzipped, on any pyarrow.fs."""

from __future__ import annotations

import difflib
from datetime import UTC, datetime
from typing import Literal, Self
from zoneinfo import ZoneInfo, available_timezones

import pydantic

from xlt.data.core.errors import InputError
from xlt.data.core.settings import Settings
from xlt.data.sources.options import LabelOptions
from xlt.data.sources.reading import Progress, Reading
from xlt.data.sources.rows import Rows, to_reading
from xlt.data.tables.columns import shared_columns
from xlt.data.tables.files import File, Format, find_files
from xlt.data.tables.whole import read_records


class Columns(Settings):
    """Names of the file's columns."""

    id: str | None = "id"
    """Unique ids; without such a column, or null, ids are made from the other cells of a row."""
    text: str = "text"
    """The headline or sentence."""
    text_pair: str | None = None
    """The second text, of tasks on pairs."""
    lang: str = "lang"
    """BCP-47 code; not read if the option ``lang`` says it for all rows."""
    label: str = "label"
    """Compared as text with ``positive``, ``negative`` and ``classes``."""
    published: str | None = "published"
    """Dates or times, in a usual form or as ``date_format`` says; without it, or null, none."""
    story: str | None = None
    """Rows that must not be split between train and test have the same value here."""
    source: str | None = "source"
    """Where a row comes from; without such a column, or null: ``table``."""


class Options(LabelOptions):
    """Which files, which columns, which labels are which class."""

    source: Literal["table"]
    """Name in SOURCES."""
    path: str | tuple[str, ...]
    """Local path or pyarrow.fs URI, ``*`` allowed in the file name; or several of them."""
    format: Format | None = None
    """What the files hold, if their suffixes (.csv .tsv .jsonl .parquet, plus .gz) do not say."""
    columns: Columns = Columns()
    """What the columns are called."""
    lang: str | None = None
    """Language of every row, for files without such a column."""
    quoting: bool = True
    """Whether double quotes enclose cells of csv and tsv; false if they stand for themselves."""

    date_format: str | None = None
    """How dates are written, in strptime's letters, e.g. ``%d/%m/%Y``; none: ISO 8601 and others
    that can be read in one way only (:data:`DATE_FORMATS`)."""
    timezone: str | None = None
    """Name such as Asia/Tokyo where the date of a time with an offset counts; none: as written."""

    @pydantic.field_validator("date_format")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        try:
            if value is not None:
                datetime.strptime(datetime(2022, 8, 31, tzinfo=UTC).strftime(value), value)
        except ValueError as error:
            raise ValueError(f"{value!r} reads no date ({error}); e.g. %d/%m/%Y") from error
        return value

    @pydantic.field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str | None) -> str | None:
        if value is not None and value not in available_timezones():
            near = difflib.get_close_matches(value, available_timezones(), n=3, cutoff=0.4)
            raise ValueError(f"unknown time zone {value!r}; names like it: {', '.join(near)}")
        return value

    @pydantic.model_validator(mode="after")
    def _consistent_columns(self) -> Self:
        names = self.columns.model_dump(exclude={"lang"} if self.lang else set())
        problems = shared_columns(names)
        if self.lang and "lang" in self.columns.model_fields_set:
            problems.append("lang and columns.lang are both given; remove one")
        if problems:
            raise InputError(problems)
        return self


def read(options: Options, progress: Progress) -> Reading:
    """Read the files.

    Returns:
        Their rows in order, labels mapped to classes. Ids that are made are hashes of the row's
        other cells, so that they do not depend on the names and the order of files and rows.

    Raises:
        InputError: Files cannot be read, columns are missing, labels unknown, dates no dates,
            texts empty or giving their labels away, ids given twice: with file and row, and
            together as far as one does not hide the other.
    """
    paths = (options.path,) if isinstance(options.path, str) else options.path
    where = ", ".join(paths)
    zone = ZoneInfo(options.timezone) if options.timezone else None
    rows = Rows(date_format=options.date_format, zone=zone)
    files, unread = list[File](), list[str]()
    for path in paths:
        try:
            files += find_files(path, options.format)
        except InputError as error:
            unread += error.problems if len(paths) == 1 else [str(error)]
    columns = options.columns.model_dump(exclude={"lang"} if options.lang else set())
    names = {role: column for role, column in columns.items() if column is not None}
    optional = {"id", "published", "source"} - options.columns.model_fields_set
    for file in files:
        name = f"{file.name} " if len(files) > 1 else ""  # a single one heads the error already
        try:
            records = read_records(file, list(names.values()), options.quoting)
            given = {"source": ["table"] * len(records.rows)}
            if options.lang:
                given["lang"] = [options.lang] * len(records.rows)
            rows.add(records, names, optional, given, name)
        except InputError as error:
            unread += [name + problem for problem in error.problems]
    if unread and not rows.places:
        raise InputError(unread, where)
    return to_reading(rows, options, where, unread)
