"""The user's labelled texts: csv, tsv, jsonl or parquet, plain or gzipped, on any pyarrow.fs."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal, Self

import pyarrow as pa
import pydantic

from data.audit import audit
from data.errors import InputError, unknown
from data.schema import HEADLINE_SCHEMA, Dataset, shown
from data.settings import Settings
from data.sources.reading import Progress, Reading
from data.sources.table_files import File, Format, Records, find_files

NESTED = (list, dict, bytes)
"""What no cell may be."""
MAX_LABELS_SHOWN = 20
"""Label values that an error lists."""


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
    """Compared as text with ``positive`` and ``negative``."""
    published: str | None = "published"
    """ISO 8601 dates, or times whose date counts as written; without it, or null, no dates."""
    story: str | None = None
    """Rows that must not be split between train and test have the same value here."""
    source: str | None = "source"
    """Where a row comes from; without such a column, or null: ``table``."""


class Options(Settings):
    """Which files, which columns, which labels are positive."""

    source: Literal["table"]
    """Name in SOURCES."""
    path: str | tuple[str, ...]
    """Local path or pyarrow.fs URI, ``*`` allowed in the file name; or several of them."""
    format: Format | None = None
    """What the files hold, if their suffixes (.csv .tsv .jsonl .parquet, plus .gz) do not say."""
    columns: Columns = Columns()
    """What the columns are called."""
    positive: tuple[str, ...] = pydantic.Field(min_length=1)
    """Label values that make class 1."""
    negative: tuple[str, ...] | None = None
    """Label values that make class 0, any other one is refused; none: all that are not positive."""
    drop_other_labels: bool = False
    """Leave out rows whose label is in neither list instead of refusing them."""
    lang: str | None = None
    """Language of every row, for files without such a column."""
    quoting: bool = True
    """Whether double quotes enclose cells of csv and tsv; false if they stand for themselves."""
    leak_check: bool = True
    """Refuse texts that give their labels away (:mod:`data.audit`)."""

    @pydantic.field_validator("positive", "negative", mode="before")
    @classmethod
    def _as_text(cls, values: Any) -> Any:
        return [_text(value) for value in values] if isinstance(values, (list, tuple)) else values

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = []
        names = self.columns.model_dump(exclude={"lang"} if self.lang else set())
        used: dict[str, str] = {}
        for role, column in names.items():
            if column in used:
                hint = "; a text would be its own label" if role == "label" else ""
                problems.append(
                    f"columns.{used[column]} and columns.{role} are both {column!r}{hint}; "
                    "name another column"
                )
            elif column is not None:
                used[column] = role
        if self.lang and "lang" in self.columns.model_fields_set:
            problems.append("lang and columns.lang are both given; remove one")
        both = sorted({*self.positive} & {*(self.negative or ())})
        if both:
            problems.append(f"{both} are both positive and negative; remove them from one list")
        if self.drop_other_labels and self.negative is None:
            problems.append("drop_other_labels needs negative, or every other label is negative")
        if problems:
            raise InputError(problems)
        return self


@dataclass
class Rows:
    """The rows of all files so far, and what is wrong with them."""

    columns: dict[str, list[Any]] = field(
        default_factory=lambda: {name: [] for name in HEADLINE_SCHEMA.names}
    )
    places: list[str] = field(default_factory=list)
    """What errors call each row."""
    labels: Counter[str] = field(default_factory=Counter)
    """How often each label value stands in the files."""
    made_ids: Counter[str] = field(default_factory=Counter)
    """How often each row without an id, by the hash of its cells, stands in the files."""
    num_dropped: int = 0
    """Rows left out because their label is in neither list."""
    problems: list[str] = field(default_factory=list)


def read(options: Options, progress: Progress) -> Reading:
    """Read the files.

    Returns:
        Their rows in order, labels mapped to 0 and 1. Ids that are made are hashes of the row's
        other cells, so that they do not depend on the names and the order of files and rows.

    Raises:
        InputError: Files cannot be read, columns are missing, labels unknown, dates no dates,
            texts empty or giving their labels away, ids given twice: with file and row, and
            together as far as one does not hide the other.
    """
    paths = (options.path,) if isinstance(options.path, str) else options.path
    where = ", ".join(paths)
    rows, files, unread = Rows(), list[File](), list[str]()
    for path in paths:
        try:
            files += find_files(path, options.format)
        except InputError as error:
            unread += error.problems if len(paths) == 1 else [str(error)]
    for file in files:
        name = f"{file.name} " if len(files) > 1 else ""  # a single one heads the error already
        try:
            _add(rows, file.read(list(_columns(options).values()), options.quoting), options, name)
        except InputError as error:
            unread += [name + problem for problem in error.problems]
    if unread and not rows.places:
        raise InputError(unread, where)
    absent = [] if unread else _absent_labels(rows.labels, options)
    dataset = _dataset(rows, [*unread, *rows.problems, *absent], where)
    leaks = audit(dataset, rows.labels) if options.leak_check else []
    if leaks:
        raise InputError([f"{leak}, or set leak_check: false" for leak in leaks], where)
    return Reading(dataset, {"label in neither list": rows.num_dropped} if rows.num_dropped else {})


def _columns(options: Options) -> dict[str, str]:
    """Role -> name of the columns that are read if they are there."""
    names = options.columns.model_dump(exclude={"lang"} if options.lang else set())
    return {role: name for role, name in names.items() if name is not None}


def _add(rows: Rows, records: Records, options: Options, name: str) -> None:
    """Add the rows of a file.

    Raises:
        InputError: Columns are missing or hold no plain values; no row was added.
    """
    names = _columns(options)
    optional = {"id", "published", "source"} - options.columns.model_fields_set
    problems = [
        unknown("column", column, records.header) + f" Name the right one in columns.{role}."
        for role, column in names.items()
        if column not in records.header and role not in optional
    ]
    for column, values in records.columns.items():
        nested = [n for n, v in zip(records.rows, values, strict=True) if isinstance(v, NESTED)]
        if nested:
            problems.append(f"column {column!r} holds lists, objects or bytes (row {nested[0]})")
    if problems:
        raise InputError(problems)

    num_rows = len(records.rows)
    places = [f"{name}row {row}" for row in records.rows]

    def cells(role: str, default: str | None = None) -> list[Any]:
        return records.columns.get(names.get(role, ""), [default] * num_rows)

    values = [_text(value) for value in cells("label")]
    rows.labels.update(filter(None, values))
    labels = [_label(value, options) for value in values]
    days = _days(cells("published"), places, rows)
    texts = [_text(value, strip=False) for value in cells("text")]
    langs = [options.lang or _text(value) for value in cells("lang")]
    sources = [_text(value) or "table" for value in cells("source", "table")]
    pairs = [_text(value, strip=False) for value in cells("text_pair")]
    stories = [_text(value) for value in cells("story")]
    others = list(zip(texts, langs, labels, days, sources, strict=True))
    if names.get("id") in records.columns:
        ids = [_text(value) for value in cells("id")]
    else:
        ids = [
            _make_id(row if pair is None else (*row, pair), rows.made_ids)
            for row, pair in zip(others, pairs, strict=True)
        ]

    odd_labels = []
    for place, row_id, value, (text, lang, label, day, source), pair, story in zip(
        places, ids, values, others, pairs, stories, strict=True
    ):
        if label is None and value is not None:
            if options.drop_other_labels:
                rows.num_dropped += 1
                continue
            odd_labels.append(f"{place} ({value!r})")
            label = 0  # told; what else is wrong with the row is still found
        rows.places.append(place)
        row = (row_id, text, pair, lang, label, day, story, source)
        for column_values, cell in zip(rows.columns.values(), row, strict=True):
            column_values.append(cell)
    if odd_labels:
        known = shown(map(repr, (*options.positive, *(options.negative or ()))), MAX_LABELS_SHOWN)
        rows.problems.append(
            f"{len(odd_labels)} rows with an unknown label: {shown(odd_labels)}; "
            f"known: {known}; add to positive or negative, or set drop_other_labels: true"
        )


def _dataset(rows: Rows, problems: list[str], where: str) -> Dataset:
    """Check the rows of all files together; raises InputError with these problems and its own."""
    table = pa.table(rows.columns, schema=HEADLINE_SCHEMA)
    try:
        dataset = Dataset.from_table(table, where, rows.places.__getitem__)
    except InputError as error:
        raise InputError([*problems, *error.problems], where) from error
    if problems:
        raise InputError(problems, where)
    return dataset


def _absent_labels(labels: Counter[str], options: Options) -> list[str]:
    """Values that the user named and no row has: most likely misspelt."""
    if not labels:
        return []  # no rows, or no labels at all, which is told elsewhere
    known = [value for value, _ in labels.most_common(MAX_LABELS_SHOWN)]
    return [
        f"no row has the {role} label: " + unknown("label", value, known)
        for role in ("positive", "negative")
        for value in getattr(options, role) or ()
        if value not in labels
    ]


def _label(value: str | None, options: Options) -> int | None:
    """1, 0, or None for no label and for one in neither list."""
    if value in options.positive:
        return 1
    is_negative = options.negative is None or value in options.negative
    return 0 if value is not None and is_negative else None


def _make_id(row: Sequence[Any], made: Counter[str]) -> str:
    """An id from a row's cells; equal rows are numbered."""
    cells = json.dumps(row, default=date.isoformat)
    made_id = hashlib.sha256(cells.encode()).hexdigest()[:16]
    made[made_id] += 1
    return made_id if made[made_id] == 1 else f"{made_id}-{made[made_id]}"


def _days(values: list[Any], places: list[str], rows: Rows) -> list[date | None]:
    days: list[date | None] = []
    bad = []
    for value, place in zip(values, places, strict=True):
        try:
            days.append(_day(value))
        except ValueError:
            days.append(None)
            bad.append(f"{place} ({value!r})")
    if bad:
        rows.problems.append(
            f"{len(bad)} rows whose date is not ISO 8601, such as 2022-08-31 or "
            f"2022-08-31T09:30:00Z: {shown(bad)}; mend them or set columns.published: null"
        )
    return days


def _day(value: Any) -> date | None:
    """The date as written, whatever the time zone.

    Raises:
        ValueError: It is no date.
    """
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    text = _text(value)
    return datetime.fromisoformat(text).date() if text else None


def _text(value: Any, strip: bool = True) -> str | None:
    """A cell as text, the same in every format: 1 for 1.0, true for True, None for nothing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value)
    return (text.strip() if strip else text) or None
