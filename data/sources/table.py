"""The source ``table``: files of labelled texts in csv, tsv, jsonl or parquet, plain or gzipped."""

from __future__ import annotations

import difflib
from datetime import UTC, datetime
from typing import Literal, Self
from zoneinfo import ZoneInfo, available_timezones

import pydantic

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.settings import Settings
from xlt.data.dataset.languages import ByLanguage, Language
from xlt.data.sources.options import LabelOptions
from xlt.data.sources.reading import Progress, Reading
from xlt.data.sources.rows import TRANSLATED, Rows, to_reading
from xlt.data.tables.columns import shared_columns
from xlt.data.tables.files import File, Format, find_files
from xlt.data.tables.whole import read_records


class PairColumns(Settings):
    """Names of the columns with the translations of both texts of a pair."""

    text: str
    """Translation of the first text."""
    text_pair: str
    """Translation of the second text."""


class TableColumns(Settings):
    """Names of the columns in the files."""

    id: str | None = "id"
    """Unique ids; without such a column, or with null, ids are made of the row's other cells."""
    text: str = "text"
    """The headline or sentence."""
    text_pair: str | None = None
    """The second text, for tasks on pairs."""
    lang: str = "lang"
    """Language: a code or an English name; not read if the option ``lang`` is set."""
    label: str = "label"
    """Label values, compared as text with ``positive``, ``negative`` and ``classes``."""
    published: str | None = "published"
    """Dates or times in the format ``date_format``; without such a column, or with null, none."""
    story: str | None = None
    """Stories: rows with the same value are never split between train and test."""
    source: str | None = "source"
    """Origins of the rows; without such a column, or with null: ``table``."""
    translations: ByLanguage[str | PairColumns] = pydantic.Field(default_factory=dict)
    """Language -> column with translations into it, for pairs {text, text_pair}. Empty cells, and
    those of rows in this language, are no translations."""

    def names(self, lang: str | None) -> dict[str, str]:
        """Map the columns of the schema to those of the files.

        Args:
            lang: Language of every row; None: a column has it.

        Returns:
            Setting below ``columns``, e.g. ``text`` or ``translations.ja`` -> column of the files.
        """
        names = self.model_dump(exclude={"translations", *(["lang"] if lang else [])})
        for into, column in self.translations.items():
            pair = column if isinstance(column, PairColumns) else None
            names[f"{TRANSLATED}{into}"] = pair.text if pair else column
            if pair:
                names[f"{TRANSLATED}{into}.text_pair"] = pair.text_pair
        return {role: column for role, column in names.items() if column is not None}


class Options(LabelOptions):
    """The files, their columns, and the mapping of labels to classes."""

    source: Literal["table"]
    """Name in SOURCES."""
    path: str | tuple[str, ...]
    """Local path or pyarrow.fs URI, ``*`` allowed in the file name; or a list of these."""
    format: Format | None = None
    """Format of the files; null: their suffix (.csv .tsv .jsonl .parquet, with or without .gz)."""
    columns: TableColumns = TableColumns()
    """Names of the columns."""
    lang: Language | None = None
    """Language of every row, for files without such a column."""
    quoting: bool = True
    """Whether double quotes enclose cells of csv and tsv; false: they are usual characters."""

    date_format: str | None = None
    """Format of dates in the codes of strptime, e.g. ``%d/%m/%Y``; null: ISO 8601 and other
    unambiguous formats (:data:`DATE_FORMATS`)."""
    timezone: str | None = None
    """Time zone, such as Asia/Tokyo, to which times with an offset are converted; null: none."""

    @pydantic.field_validator("date_format")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        try:
            if value is not None:
                datetime.strptime(datetime(2022, 8, 31, tzinfo=UTC).strftime(value), value)
        except ValueError as error:
            message = f"{value!r} is not a format of dates ({error}); e.g. %d/%m/%Y"
            raise ValueError(message) from error
        return value

    @pydantic.field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str | None) -> str | None:
        if value is not None and value not in available_timezones():
            near = difflib.get_close_matches(value, available_timezones(), n=3, cutoff=0.4)
            raise ValueError(f"unknown time zone {value!r}; similar names: {', '.join(near)}")
        return value

    @pydantic.model_validator(mode="after")
    def _consistent_columns(self) -> Self:
        problems = shared_columns(self.columns.names(self.lang))
        if self.lang and "lang" in self.columns.model_fields_set:
            problems.append("lang and columns.lang are both given; remove one")
        if problems:
            raise InputError(problems)
        return self


def read(options: Options, progress: Progress) -> Reading:
    """Read the files.

    Returns:
        The rows in order, with classes as labels. Missing ids are hashes of the row's other cells,
        which do not depend on the names and the order of files and rows.

    Raises:
        InputError: A file cannot be read, a column is missing, a label or date is unknown, a text
            is empty or contains its label, or an id is repeated. The error has all problems that
            do not hide each other, with file and row.
    """
    paths = (options.path,) if isinstance(options.path, str) else options.path
    where = ", ".join(paths)
    zone = ZoneInfo(options.timezone) if options.timezone else None
    names = options.columns.names(options.lang)
    translated = {role: name for role, name in names.items() if role.startswith(TRANSLATED)}
    rows = Rows(date_format=options.date_format, zone=zone, translated=translated)
    files, unread = list[File](), list[str]()
    for path in paths:
        try:
            files += find_files(path, options.format)
        except InputError as error:
            unread += error.problems if len(paths) == 1 else [str(error)]
    header: dict[str, None] = {}
    for file in files:
        name = f"{file.name} " if len(files) > 1 else ""  # the error names a single file anyway
        try:
            header |= dict.fromkeys(_add_file(rows, file, options, name))
        except InputError as error:
            unread += [name + problem for problem in error.problems]
    unread += [
        unknown("column", column, header) + f" Name the right one in columns.{role}."
        for role, column in translated.items()
        if header and column not in header
    ]
    if unread and not rows.row_names:
        raise InputError(unread, where)
    return to_reading(rows, options, where, unread)


def _add_file(rows: Rows, file: File, options: Options, name: str) -> list[str]:
    """Add the rows of a file; ``name`` is its name in errors. Returns all of its columns."""
    names = options.columns.names(options.lang)
    optional = {"id", "published", "source"} - options.columns.model_fields_set
    records = read_records(file, list(names.values()), options.quoting)
    given = {"source": ["table"] * len(records.rows)}
    if options.lang:
        given["lang"] = [options.lang] * len(records.rows)
    rows.add(records, names, {*optional, *rows.translated}, given, name)
    return records.header
