"""From the columns of files to a checked data set, for sources of labelled rows."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from xlt.data.audit.leaks import find_leaks
from xlt.data.core.errors import InputError, unknown
from xlt.data.core.text import first_few
from xlt.data.dataset.schema import BINARY, HEADLINE_SCHEMA, Dataset
from xlt.data.sources.options import LabelOptions
from xlt.data.sources.reading import Reading
from xlt.data.sources.translations.add import Given, add_translations
from xlt.data.tables.cells import cell_day, cell_text
from xlt.data.tables.whole import Records

NESTED = (list, dict, bytes)
"""Types of cells that are refused."""
MAX_LABELS_SHOWN = 20
"""Most label values that an error lists."""
TRANSLATED = "translations."
"""Beginning of the names of columns with translations: ``translations.ja``, and for the second
texts of pairs ``translations.ja.text_pair``."""
TO_BE_MADE = ""
"""Placeholder of an id that is made later. No id in a file is empty text; empty cells are None."""


@dataclass
class Rows:
    """The rows of all files so far, and their problems."""

    columns: dict[str, list[Any]] = field(
        default_factory=lambda: {name: [] for name in HEADLINE_SCHEMA.names}
    )
    """Column of :data:`HEADLINE_SCHEMA` or of ``translated`` -> num_rows values; labels are still
    text."""
    translated: Mapping[str, str] = field(default_factory=dict)
    """Name that begins with :data:`TRANSLATED` -> column of the files."""
    row_names: list[str] = field(default_factory=list)
    """File and row number of each row, for errors."""
    date_format: str | None = None
    """Format of dates; see :func:`cell_day`."""
    zone: ZoneInfo | None = None
    """Time zone of dates; see :func:`cell_day`."""
    problems: list[str] = field(default_factory=list)
    """Problems that the checks of the data set do not find."""

    def __post_init__(self) -> None:
        self.columns |= {name: [] for name in self.translated}

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
        for column, values in records.columns.items():
            nested = [n for n, v in zip(records.rows, values, strict=True) if isinstance(v, NESTED)]
            if nested:
                problems.append(
                    f"column {column!r} has lists, objects or bytes (row {nested[0]}); name a "
                    "column of text or numbers"
                )
        if problems:
            raise InputError(problems)
        num_rows = len(records.rows)
        row_names = [f"{name}row {row}" for row in records.rows]
        self.row_names += row_names
        for role, into in self.columns.items():
            column = names.get(role, "")
            cells: list[Any] = records.columns.get(column, [None] * num_rows)
            if role == "published":
                into += self._days(cells, row_names)
                continue
            is_text = role in ("text", "text_pair", *self.translated)
            texts = [cell_text(cell, strip=not is_text) for cell in cells]
            if given and role in given:
                texts = [t or other for t, other in zip(texts, given[role], strict=True)]
            elif role == "id" and column not in records.columns:
                texts = [TO_BE_MADE] * num_rows
            into += texts

    def _days(self, cells: list[Any], row_names: list[str]) -> list[date | None]:
        """Read the dates of cells, and record the cells that are not dates."""
        days: list[date | None] = []
        bad = []
        for cell, row_name in zip(cells, row_names, strict=True):
            try:
                days.append(cell_day(cell, self.date_format, self.zone))
            except (ValueError, OverflowError):
                days.append(None)
                bad.append(f"{row_name} ({cell!r})")
        if bad:
            expected = self.date_format or "2022-08-31 or 2022-08-31T09:30:00+09:00"
            self.problems.append(
                f"{len(bad)} rows have a date that is not written as {expected}: "
                f"{first_few(bad)}; correct them, set date_format to their format, or set "
                "columns.published: null"
            )
        return days


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
    label_counts = Counter(value for value in rows.columns["label"] if value is not None)
    problems = [*unread, *rows.problems]
    try:
        classes = options.class_names(label_counts, declared) if label_counts else BINARY
    except InputError as error:
        raise InputError([*problems, *error.problems], where) from error
    numbers = {value: options.class_number(value, classes) for value in label_counts}
    values = rows.columns["label"]
    odd = [row for row, value in enumerate(values) if value and numbers[value] is None]
    dropped = {*odd} if options.drop_other_labels else set()
    kept = [row for row in range(len(values)) if row not in dropped]
    row_names = [rows.row_names[row] for row in kept]
    columns = {name: [cells[row] for row in kept] for name, cells in rows.columns.items()}
    # A row with an unknown label gets 0 for now, so that its other problems are found too.
    columns["label"] = [value and (numbers[value] or 0) for value in columns["label"]]
    _make_ids(columns, [values[row] for row in kept] if options.classes else columns["label"])
    if odd and not dropped:
        unknown_labels = [f"{rows.row_names[row]} ({values[row]!r})" for row in odd]
        listed = (repr(value) for values in options.named.values() for value in values)
        lists = "classes" if options.classes else "positive or negative"
        problems.append(
            f"{len(odd)} rows with an unknown label: {first_few(unknown_labels)}; "
            f"known: {first_few(listed, MAX_LABELS_SHOWN)}; "
            f"add to {lists}, or set drop_other_labels: true"
        )
    if not unread:
        problems += _absent_labels(label_counts, options)
    translated = {name: columns.pop(name) for name in rows.translated}
    try:
        table = pa.table(columns, schema=HEADLINE_SCHEMA)
        dataset = Dataset.from_table(table, where, row_names.__getitem__, classes)
    except InputError as error:
        raise InputError([*problems, *error.problems], where) from error
    if problems:
        raise InputError(problems, where)
    dataset = _add_translated(dataset, translated, rows.translated, row_names, where)
    check_leaks = options.leak_check and len(classes) == 2  # traits are judged for two classes
    leaks = find_leaks(dataset, label_counts) if check_leaks else []
    if leaks:
        raise InputError([f"{leak}, or set leak_check: false" for leak in leaks], where)
    rule = "label that is no class" if options.classes else "label in neither list"
    return Reading(dataset, {rule: len(dropped)} if dropped else {})


def _add_translated(
    dataset: Dataset,
    cells: Mapping[str, Sequence[str | None]],
    names: Mapping[str, str],
    row_names: Sequence[str],
    where: str,
) -> Dataset:
    """Add the translations in columns of the files; empty cells are none.

    Args:
        dataset: The checked rows.
        cells: Name that begins with :data:`TRANSLATED` -> num_rows cells.
        names: The same name -> column of the files.
        row_names: File and row number of each row, for errors.
        where: Name of the source in errors.
    """
    ids = dataset.table["id"].to_pylist()
    for name, texts in cells.items():
        lang, _, is_second = name.removeprefix(TRANSLATED).partition(".")
        if is_second:
            continue
        pairs = cells.get(f"{name}.text_pair", [None] * len(ids))
        given = [
            Given(row_id, lang, text, pair, f"column {names[name]}", row_name)
            for row_id, text, pair, row_name in zip(ids, texts, pairs, row_names, strict=True)
            if text is not None and text.strip()
        ]
        dataset = add_translations(dataset, given, f"{where}, column {names[name]}")
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


def _make_ids(columns: dict[str, list[Any]], labels: Sequence[int | str | None]) -> None:
    """Fill in missing ids: hashes of a row's cells, with a number for repeated rows."""
    num_made: Counter[str] = Counter()
    names = ("id", "text", "lang", "published", "source", "text_pair")
    cells = zip(*(columns[name] for name in names), labels, strict=True)
    for row, (row_id, text, lang, day, source, pair, label) in enumerate(cells):
        if row_id == TO_BE_MADE:
            parts = [text, lang, label, day, source] + ([] if pair is None else [pair])
            digest = hashlib.sha256(json.dumps(parts, default=date.isoformat).encode()).hexdigest()
            made_id = digest[:16]
            num_made[made_id] += 1
            number = num_made[made_id]
            columns["id"][row] = made_id if number == 1 else f"{made_id}-{number}"
