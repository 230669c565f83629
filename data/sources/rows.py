"""From the columns of files to a checked data set, for sources of labelled rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from xlt.data.audit.leaks import find_leaks
from xlt.data.core.errors import InputError, unknown
from xlt.data.core.memory import paused_collector
from xlt.data.core.text import MAX_LABELS_SHOWN, first_few
from xlt.data.dataset.languages import parse_languages
from xlt.data.dataset.schema import BINARY, HEADLINE_SCHEMA, Dataset
from xlt.data.sources.options import LabelOptions
from xlt.data.sources.reading import Reading
from xlt.data.sources.row_ids import TO_BE_MADE, fill_ids
from xlt.data.sources.translations.add import Given, add_translations
from xlt.data.tables.cells import Cells, cell_day, cell_texts
from xlt.data.tables.whole import Records

NESTED = (list, dict, bytes)
"""Types of cells that are refused."""
TRANSLATED = "translations."
"""Beginning of the names of columns with translations: ``translations.ja``, and for the second
texts of pairs ``translations.ja.text_pair``."""


@dataclass
class Rows:
    """The rows of all files so far, and their problems."""

    translated: Mapping[str, str] = field(default_factory=dict)
    """Name that begins with :data:`TRANSLATED` -> column of the files."""
    date_format: str | None = None
    """Format of dates; see :func:`cell_day`."""
    zone: ZoneInfo | None = None
    """Time zone of dates; see :func:`cell_day`."""
    tables: list[pa.Table] = field(default_factory=list)
    """The rows of each file: columns of :data:`HEADLINE_SCHEMA` and of ``translated``; labels are
    still text."""
    row_names: list[tuple[str, Sequence[int]]] = field(default_factory=list)
    """Name and row numbers of each file, for errors."""
    problems: list[str] = field(default_factory=list)
    """Problems that the checks of the data set do not find."""

    @property
    def schema(self) -> pa.Schema:
        """The columns and types of :attr:`tables`."""
        label = HEADLINE_SCHEMA.get_field_index("label")
        schema = HEADLINE_SCHEMA.set(label, pa.field("label", pa.string()))
        fields = [field.with_nullable(True) for field in schema]
        return pa.schema([*fields, *(pa.field(name, pa.string()) for name in self.translated)])

    def name(self, number: int) -> str:
        """Name a row, counted over all files, for an error."""
        for name, rows in self.row_names:
            if number < len(rows):
                return f"{name}row {rows[number]}"
            number -= len(rows)
        raise IndexError(number)

    def add(
        self,
        records: Records,
        names: Mapping[str, str],
        optional: Collection[str] = (),
        given: Mapping[str, Sequence[str | None]] | None = None,
        name: str = "",
    ) -> None:
        """Add the rows of a file.

        Args:
            records: Columns of the file.
            names: Column of :attr:`columns` -> column of the file.
            optional: Columns of :attr:`columns` that the file may lack.
            given: Column of the schema -> num_rows values that replace empty cells.
            name: Name of the file in errors, before ``row``.

        Raises:
            InputError: A column is missing, or has lists, objects or bytes; no row was added.
        """
        problems = [
            unknown("column", column, records.header) + f" Name the right one in columns.{role}."
            for role, column in names.items()
            if column not in records.header and role not in optional
        ]
        for column, values in records.cells.items():
            if not isinstance(values, list):
                continue
            nested = [n for n, v in zip(records.rows, values, strict=True) if isinstance(v, NESTED)]
            if nested:
                problems.append(
                    f"column {column!r} has lists, objects or bytes (row {nested[0]}); name a "
                    "column of text or numbers"
                )
        if problems:
            raise InputError(problems)
        num_rows = len(records.rows)
        self.row_names.append((name, records.rows))
        columns = []
        for role in self.schema.names:
            column = names.get(role, "")
            cells = records.cells.get(column, pa.chunked_array([pa.nulls(num_rows, pa.string())]))
            if role == "published":
                columns.append(self._days(cells, name, records.rows))
                continue
            is_text = role in ("text", "text_pair", *self.translated)
            texts = cell_texts(cells, strip=not is_text)
            if given and role in given:
                texts = pc.coalesce(texts, pa.array(given[role], pa.string()))
            elif role == "id" and column not in records.cells:
                texts = pa.array([TO_BE_MADE] * num_rows, pa.string())
            columns.append(texts)
        self.tables.append(pa.table(columns, self.schema))

    def _days(self, cells: Cells, name: str, rows: Sequence[int]) -> pa.Array | pa.ChunkedArray:
        """Read the dates of cells, and record the cells that are not dates."""
        if not isinstance(cells, list):
            if pa.types.is_date(cells.type):
                return cells
            cells = cells.to_pylist()
        days: list[date | None] = []
        bad = []
        known: dict[str, date | None] = {}  # many rows have one date
        for cell, row in zip(cells, rows, strict=True):
            try:
                if not isinstance(cell, str):
                    days.append(cell_day(cell, self.date_format, self.zone))
                    continue
                if cell not in known:
                    known[cell] = cell_day(cell, self.date_format, self.zone)
                days.append(known[cell])
            except (ValueError, OverflowError):
                days.append(None)
                bad.append(f"{name}row {row} ({cell!r})")
        if bad:
            expected = self.date_format or "2022-08-31 or 2022-08-31T09:30:00+09:00"
            self.problems.append(
                f"{len(bad)} rows have a date that is not written as {expected}: "
                f"{first_few(bad)}; correct them, set date_format to their format, or set "
                "columns.published: null"
            )
        return pa.array(days, pa.date32())


def to_reading(
    rows: Rows,
    options: LabelOptions,
    where: str,
    unread: Sequence[str] = (),
    declared: Collection[str] = (),
) -> Reading:
    """Check the rows of all files together and turn their labels into classes.

    Missing ids are made: hashes of the row's other cells, which do not depend on the names and the
    order of files and rows.

    Args:
        rows: The rows of all files that could be read.
        options: The mapping of labels to classes.
        where: Name of the source in errors.
        unread: Problems of the files that could not be read.
        declared: All label values in the order of the data set, if it has one.

    Raises:
        InputError: All problems of files and rows together, or texts that contain their label.
    """
    table = pa.concat_tables(rows.tables) if rows.tables else rows.schema.empty_table()
    counted = pc.value_counts(table["label"].drop_null()).to_pylist()
    label_counts = Counter({count["values"]: count["counts"] for count in counted})
    problems = [*unread, *rows.problems]
    try:
        classes = options.class_names(label_counts, declared) if label_counts else BINARY
    except InputError as error:
        raise InputError([*problems, *error.problems], where) from error
    numbers = {value: options.class_number(value, classes) for value in label_counts}
    strange = [value for value, number in numbers.items() if number is None]
    is_odd = pc.is_in(table["label"], pa.array(strange, pa.string()))
    odd = np.nonzero(is_odd.to_numpy())[0].tolist()
    kept: Sequence[int] = range(len(table))
    if odd and options.drop_other_labels:
        kept = np.nonzero(~is_odd.to_numpy())[0].tolist()
        table = table.take(pa.array(kept, pa.int64()))
    elif odd:
        unknown_labels = [f"{rows.name(row)} ({table['label'][row].as_py()!r})" for row in odd]
        listed = (repr(value) for values in options.named.values() for value in values)
        lists = "classes" if options.classes else "positive or negative"
        problems.append(
            f"{len(odd)} rows with an unknown label: {first_few(unknown_labels)}; "
            f"known: {first_few(listed, MAX_LABELS_SHOWN)}; "
            f"add to {lists}, or set drop_other_labels: true"
        )
    if not unread:
        problems += _absent_labels(label_counts, options)
    # A row with an unknown label gets 0 for now, so that its other problems are found too.
    codes = pc.index_in(table["label"], pa.array([*numbers], pa.string()))
    labels = pa.array([number or 0 for number in numbers.values()], pa.int8()).take(codes)
    columns = {name: table[name] for name in HEADLINE_SCHEMA.names}
    columns |= {"label": labels, "lang": parse_languages(table["lang"])}
    columns["id"] = fill_ids(columns, table["label"] if options.classes else labels)

    def name_row(row: int) -> str:
        return rows.name(kept[row])

    try:
        checked = pa.table(columns, HEADLINE_SCHEMA)
        dataset = Dataset.from_table(checked, where, name_row, classes)
    except InputError as error:
        raise InputError([*problems, *error.problems], where) from error
    if problems:
        raise InputError(problems, where)
    dataset = _add_translated(dataset, table, rows.translated, name_row, where)
    check_leaks = options.leak_check and len(classes) == 2  # traits are judged for two classes
    with paused_collector():
        leaks = find_leaks(dataset, label_counts) if check_leaks else []
    if leaks:
        raise InputError([f"{leak}, or set leak_check: false" for leak in leaks], where)
    rule = "label that is no class" if options.classes else "label in neither list"
    num_dropped = len(is_odd) - len(kept)
    return Reading(dataset, {rule: num_dropped} if num_dropped else {})


def _add_translated(
    dataset: Dataset,
    table: pa.Table,
    names: Mapping[str, str],
    name_row: Callable[[int], str],
    where: str,
) -> Dataset:
    """Add the translations in columns of the files; empty cells are none.

    Args:
        dataset: The checked rows.
        table: num_rows rows with the columns in ``names``.
        names: Name that begins with :data:`TRANSLATED` -> column of the files.
        name_row: Function from a row's index to its name in errors.
        where: Name of the source in errors.
    """
    ids = dataset.table["id"].to_pylist() if names else []
    for name, column in names.items():
        lang, _, is_second = name.removeprefix(TRANSLATED).partition(".")
        if is_second:
            continue
        second = f"{name}.text_pair"
        texts = table[name].to_pylist()
        pairs = table[second].to_pylist() if second in names else [None] * len(ids)
        given = [
            Given(ids[row], lang, text, pairs[row], f"column {column}", name_row(row))
            for row, text in enumerate(texts)
            if text is not None and text.strip()
        ]
        dataset = add_translations(dataset, given, f"{where}, column {column}")
    return dataset


def _absent_labels(label_counts: Counter[str], options: LabelOptions) -> list[str]:
    """Write a sentence for each label of the options that no row has, because of a misspelling."""
    if not label_counts:
        return []  # another problem reports that there are no rows or no labels
    known = [value for value, _ in label_counts.most_common(MAX_LABELS_SHOWN)]
    return [
        f"no row has the {'class' if name == 'classes' else name} label: "
        + unknown("label", value, known)
        for name, values in options.named.items()
        for value in values
        if value not in label_counts
    ]
