"""From columns as read to a checked data set: what sources of labelled rows have in common."""

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
from xlt.data.tables.cells import cell_day, cell_text
from xlt.data.tables.whole import Records

NESTED = (list, dict, bytes)
"""What no cell may be."""
MAX_LABELS_SHOWN = 20
"""Label values that an error lists."""
TO_BE_MADE = ""
"""The id of a row that has no column of ids; no cell is this, for an empty one is None."""


@dataclass
class Rows:
    """The rows of all files so far, and what is wrong with them."""

    columns: dict[str, list[Any]] = field(
        default_factory=lambda: {name: [] for name in HEADLINE_SCHEMA.names}
    )
    """As in the schema, but for labels, which are still text."""
    places: list[str] = field(default_factory=list)
    """What errors call each row."""
    date_format: str | None = None
    """How dates are written, if not in a usual way; see :func:`cell_day`."""
    zone: ZoneInfo | None = None
    """Where the date of a time with an offset counts; None: as written."""
    problems: list[str] = field(default_factory=list)
    """What is wrong beyond what the data set itself checks."""

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
            records: Some columns of it.
            names: Column of :data:`HEADLINE_SCHEMA` -> what the file calls it.
            optional: Columns of the schema that the file need not have.
            given: Column of the schema -> num_rows values for where the file says nothing.
            name: What errors call the file, before ``row``.

        Raises:
            InputError: Columns are missing or hold no plain values; no row was added.
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
                    f"column {column!r} holds lists, objects or bytes (row {nested[0]})"
                )
        if problems:
            raise InputError(problems)
        num_rows = len(records.rows)
        places = [f"{name}row {row}" for row in records.rows]
        self.places += places
        for role, into in self.columns.items():
            column = names.get(role, "")
            cells: list[Any] = records.columns.get(column, [None] * num_rows)
            if role == "published":
                into += self._days(cells, places)
                continue
            is_text = role in ("text", "text_pair")
            texts = [cell_text(cell, strip=not is_text) for cell in cells]
            if given and role in given:
                texts = [t or other for t, other in zip(texts, given[role], strict=True)]
            elif role == "id" and column not in records.columns:
                texts = [TO_BE_MADE] * num_rows
            into += texts

    def _days(self, cells: list[Any], places: list[str]) -> list[date | None]:
        days: list[date | None] = []
        bad = []
        for cell, place in zip(cells, places, strict=True):
            try:
                days.append(cell_day(cell, self.date_format, self.zone))
            except (ValueError, OverflowError):
                days.append(None)
                bad.append(f"{place} ({cell!r})")
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

    Ids that are made are hashes of the row's other cells, so that they do not depend on the names
    and the order of files and rows.

    Args:
        rows: Of all files that could be read.
        options: Which labels are which class.
        where: What errors call the source.
        unread: What is wrong with files that could not be read.
        declared: All label values in their own order, if the data say it.

    Raises:
        InputError: All that is wrong with files and rows, or texts that give their labels away.
    """
    found = Counter(value for value in rows.columns["label"] if value is not None)
    problems = [*unread, *rows.problems]
    try:
        classes = options.class_names(found, declared) if found else BINARY
    except InputError as error:
        raise InputError([*problems, *error.problems], where) from error
    numbers = {value: options.class_number(value, classes) for value in found}
    values = rows.columns["label"]
    odd = [row for row, value in enumerate(values) if value and numbers[value] is None]
    dropped = {*odd} if options.drop_other_labels else set()
    kept = [row for row in range(len(values)) if row not in dropped]
    places = [rows.places[row] for row in kept]
    columns = {name: [cells[row] for row in kept] for name, cells in rows.columns.items()}
    # A label that is no class is told; what else is wrong with its row is still found.
    columns["label"] = [value and (numbers[value] or 0) for value in columns["label"]]
    _make_ids(columns, [values[row] for row in kept] if options.classes else columns["label"])
    if odd and not dropped:
        told = [f"{rows.places[row]} ({values[row]!r})" for row in odd]
        listed = (repr(value) for values in options.named.values() for value in values)
        lists = "classes" if options.classes else "positive or negative"
        problems.append(
            f"{len(odd)} rows with an unknown label: {first_few(told)}; "
            f"known: {first_few(listed, MAX_LABELS_SHOWN)}; "
            f"add to {lists}, or set drop_other_labels: true"
        )
    if not unread:
        problems += _absent_labels(found, options)
    try:
        table = pa.table(columns, schema=HEADLINE_SCHEMA)
        dataset = Dataset.from_table(table, where, places.__getitem__, classes)
    except InputError as error:
        raise InputError([*problems, *error.problems], where) from error
    if problems:
        raise InputError(problems, where)
    # The check judges a trait by how well it tells two classes apart.
    leaks = find_leaks(dataset, found) if options.leak_check and len(classes) == 2 else []
    if leaks:
        raise InputError([f"{leak}, or set leak_check: false" for leak in leaks], where)
    rule = "label that is no class" if options.classes else "label in neither list"
    return Reading(dataset, {rule: len(dropped)} if dropped else {})


def _absent_labels(found: Counter[str], options: LabelOptions) -> list[str]:
    """Values that the user named and no row has: most likely misspelt."""
    if not found:
        return []  # no rows, or no labels at all, which is told elsewhere
    known = [value for value, _ in found.most_common(MAX_LABELS_SHOWN)]
    return [
        f"no row has the {'class' if name == 'classes' else name} label: "
        + unknown("label", value, known)
        for name, values in options.named.items()
        for value in values
        if value not in found
    ]


def _make_ids(columns: dict[str, list[Any]], labels: Sequence[int | str | None]) -> None:
    """Fill in ids that are to be made: hashes of a row's cells; equal rows are numbered."""
    made: Counter[str] = Counter()
    names = ("id", "text", "lang", "published", "source", "text_pair")
    cells = zip(*(columns[name] for name in names), labels, strict=True)
    for row, (row_id, text, lang, day, source, pair, label) in enumerate(cells):
        if row_id == TO_BE_MADE:
            told = [text, lang, label, day, source] + ([] if pair is None else [pair])
            digest = hashlib.sha256(json.dumps(told, default=date.isoformat).encode()).hexdigest()
            made_id = digest[:16]
            made[made_id] += 1
            again = made[made_id]
            columns["id"][row] = made_id if again == 1 else f"{made_id}-{again}"
