"""Files of translations, from any translator."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Self

import pydantic

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.settings import Settings
from xlt.data.core.text import first_few
from xlt.data.dataset.languages import Language
from xlt.data.dataset.schema import Dataset
from xlt.data.sources.translations.add import Given, add_translations
from xlt.data.tables.cells import cell_text
from xlt.data.tables.columns import shared_columns
from xlt.data.tables.files import File, Format, find_files
from xlt.data.tables.whole import read_records


class FileColumns(Settings):
    """Names of the columns in files of translations."""

    id: str = "id"
    """Ids of rows of the data set."""
    lang: str = "lang"
    """Language of the translation; not read if the option ``lang`` is set."""
    text: str = "text"
    """The translation; rows with an empty one are left out."""
    text_pair: str | None = None
    """The translation of the second text, for tasks on pairs."""


class TranslationFiles(Settings):
    """Files of translations, from any translator."""

    path: str | tuple[str, ...]
    """Local path or pyarrow.fs URI, ``*`` allowed in the file name; or a list of these."""
    format: Format | None = None
    """Format of the files; null: the suffix of each file decides."""
    columns: FileColumns = FileColumns()
    """Names of the columns."""
    lang: Language | None = None
    """Language of every translation, for files without such a column."""
    quoting: bool = True
    """Whether double quotes enclose cells of csv and tsv."""

    @pydantic.model_validator(mode="after")
    def _consistent_columns(self) -> Self:
        problems = shared_columns(self.columns.model_dump(exclude={"lang"} if self.lang else set()))
        if self.lang and "lang" in self.columns.model_fields_set:
            problems.append("lang and columns.lang are both given; remove one")
        if problems:
            raise InputError(problems)
        return self


def read_translations(dataset: Dataset, settings: TranslationFiles) -> Dataset:
    """Add the translations of files to a data set.

    Raises:
        InputError: A file cannot be read or lacks a column, a row has no id or language, or the
            translations do not fit the data set, see :func:`add_translations`.
    """
    paths = (settings.path,) if isinstance(settings.path, str) else settings.path
    where = ", ".join(paths)
    files = [file for path in paths for file in find_files(path, settings.format)]
    given, problems = list[Given](), list[str]()
    for file in files:
        name = f"{file.name} " if len(files) > 1 else ""
        try:
            given += _read_file(file, settings, name)
        except InputError as error:
            problems += [name + problem for problem in error.problems]
    if problems:
        raise InputError(problems, where)
    return add_translations(dataset, given, where)


def _read_file(file: File, settings: TranslationFiles, name: str) -> list[Given]:
    roles = settings.columns.model_dump(exclude={"lang"} if settings.lang else set())
    names = {role: column for role, column in roles.items() if column is not None}
    records = read_records(file, list(names.values()), settings.quoting)
    missing = [
        unknown("column", column, records.header) + f" Name it in columns.{role}."
        for role, column in names.items()
        if column not in records.header
    ]
    if missing:
        raise InputError(missing)
    with file.open() as stream:
        origin = f"sha256:{hashlib.sha256(stream.read()).hexdigest()}"
    none: Sequence[None] = [None] * len(records.rows)
    cells = {
        role: [cell_text(cell, strip=role in ("id", "lang")) for cell in records.columns[column]]
        for role, column in names.items()
    }
    langs = [settings.lang] * len(records.rows) if settings.lang else cells["lang"]
    given, nameless = [], []
    columns = (cells["id"], langs, cells["text"], cells.get("text_pair", none))
    for row, row_id, lang, text, pair in zip(records.rows, *columns, strict=True):
        if row_id is None or lang is None:
            nameless.append(f"row {row}")
        elif text is not None and text.strip():
            given.append(Given(row_id, lang, text, pair, origin, f"{name}row {row}"))
    if nameless:
        raise InputError(
            f"{len(nameless)} rows without id or language: {first_few(nameless)}; fill or remove "
            "them"
        )
    return given
