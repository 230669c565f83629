"""Corrections: labels set by hand, which replace the labels of a source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, Literal, NamedTuple, Self

import pyarrow as pa
import pydantic

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.settings import Settings
from xlt.data.core.text import MAX_LABELS_SHOWN, first_few
from xlt.data.dataset.schema import BINARY, Dataset
from xlt.data.sources.correction_report import (
    Agreement,
    Change,
    CorrectionReport,
    compare_annotators,
)
from xlt.data.tables.cells import cell_text
from xlt.data.tables.columns import shared_columns
from xlt.data.tables.files import Format, find_files
from xlt.data.tables.whole import read_records

OPTIONAL = ("annotator", "note")
"""Optional columns of the file."""


class CorrectionColumns(Settings):
    """Names of the columns in the file of corrections."""

    id: str = "id"
    """Ids of rows of the data set."""
    label: str = "label"
    """The correct label of the row."""
    annotator: str = "annotator"
    """The person who gave the label; empty cells and files without this column have no name."""
    note: str = "note"
    """A comment of the annotator; never read."""


class Corrections(Settings):
    """The file of corrections, and the rules for contradictions.

    Labels are class names of the data set, or class numbers 0, 1, ... unless a number is a class
    name. With ``positive`` they follow the rules of the table source instead.
    """

    path: str
    """Local path or pyarrow.fs URI, ``*`` allowed in the file name."""
    format: Format | None = None
    """Format of the file; null: its suffix decides."""
    columns: CorrectionColumns = CorrectionColumns()
    """Names of the columns."""
    positive: tuple[str, ...] | None = pydantic.Field(default=None, min_length=1)
    """Label values of class 1, for data with the classes negative and positive."""
    negative: tuple[str, ...] | None = None
    """Label values of class 0, other values are refused; null: all values that are not positive."""
    on_conflict: Literal["refuse", "majority", "last"] = "refuse"
    """Rule for annotators who contradict each other; last: the last row in the file counts."""
    on_unknown_id: Literal["refuse", "skip"] = "refuse"
    """Rule for rows with an id that the data set does not have."""

    @pydantic.field_validator("positive", "negative", mode="before")
    @classmethod
    def _as_text(cls, values: Any) -> Any:
        return [cell_text(v) for v in values] if isinstance(values, (list, tuple)) else values

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = shared_columns(self.columns.model_dump())
        both = sorted({*(self.positive or ())} & {*(self.negative or ())})
        if both:
            problems.append(f"{both} are both positive and negative; remove them from one list")
        if self.negative is not None and self.positive is None:
            problems.append("negative needs positive; add it, or write the names of the classes")
        if problems:
            raise InputError(problems)
        return self


class Vote(NamedTuple):
    """A row of the file: the label that an annotator gives to a row of the data set."""

    row_name: str
    """File and row number, for errors."""
    id: str
    """Id of the row in the data set."""
    label: int
    """Index of the class."""
    annotator: str | None
    """Name of the annotator; None: unnamed."""


def correct_labels(dataset: Dataset, settings: Corrections) -> tuple[Dataset, CorrectionReport]:
    """Replace labels by corrected ones.

    Args:
        dataset: The data set with the labels of its source; it is not changed.
        settings: The file, and the rules for contradictions.

    Returns:
        A data set with the same rows in the same order, whose fingerprint changes if a label does;
        and the report.

    Raises:
        InputError: The file cannot be read, lacks columns, or has no row of the data set; labels
            or ids are unknown; one annotator labels a row twice; or annotators contradict each
            other without a decision.
    """
    votes, num_unknown, problems = _read(dataset, settings)
    by_id: dict[str, list[Vote]] = {}
    for vote in votes:
        by_id.setdefault(vote.id, []).append(vote)
    problems += _voted_twice(by_id)
    decided, undecided = _decide(by_id, settings.on_conflict)
    if undecided:
        kind, remedy = {
            "refuse": (
                "contradict each other",
                "correct them, or set on_conflict: majority or last",
            ),
            "majority": ("have no majority", "correct them, or set on_conflict: last"),
        }[settings.on_conflict]
        listed = [_contradiction(row_id, by_id[row_id], dataset.classes) for row_id in undecided]
        problems.append(f"the labels of {len(listed)} ids {kind}: {first_few(listed)}; {remedy}")
    if not votes and not problems:
        problems.append("corrects nothing: no row has an id of the data set; check the ids")
    if problems:
        raise InputError(problems, settings.path)

    labels = dataset.table["label"].to_pylist()
    langs = dataset.table["lang"].to_pylist()
    changes: Counter[tuple[str, str, str]] = Counter()
    for row_id, label in decided.items():
        row = dataset.index[row_id]
        if labels[row] != label:
            changes[langs[row], dataset.classes[labels[row]], dataset.classes[label]] += 1
            labels[row] = label
    number = dataset.table.column_names.index("label")
    table = dataset.table.set_column(number, "label", pa.array(labels, pa.int8()))
    report = CorrectionReport(
        path=settings.path,
        num_rows=len(votes) + num_unknown,
        num_confirmed=len(decided) - sum(changes.values()),
        num_conflicts=sum(len({vote.label for vote in given}) > 1 for given in by_id.values()),
        num_unknown=num_unknown,
        changes=tuple(Change(*key, num) for key, num in sorted(changes.items())),
        agreement=_measure_agreement(votes),
    )
    corrected = Dataset.from_table(table, settings.path, classes=dataset.classes)
    return replace(corrected, translations=dataset.translations), report


def _read(dataset: Dataset, settings: Corrections) -> tuple[list[Vote], int, list[str]]:
    """Read the file.

    Returns:
        The rows with known ids; the number of rows that were skipped; the problems.
    """
    if settings.positive is not None and dataset.classes != BINARY:
        raise InputError(
            f"positive needs the classes {' and '.join(BINARY)}, but the data set has "
            f"{', '.join(dataset.classes)}; remove it and write class names as labels",
            settings.path,
        )
    names = settings.columns
    optional = {*OPTIONAL} - names.model_fields_set
    votes, num_unknown, problems = list[Vote](), 0, list[str]()
    bad: dict[str, list[str]] = {"id": [], "label": [], "unknown id": [], "unknown label": []}
    files = find_files(settings.path, settings.format)
    for file in files:
        name = f"{file.name} " if len(files) > 1 else ""
        try:
            records = read_records(file, [names.id, names.label, names.annotator], quoting=True)
        except InputError as error:
            problems += [name + problem for problem in error.problems]
            continue
        missing = [
            name + unknown("column", column, records.header) + f" Name it in columns.{role}."
            for role, column in names.model_dump().items()
            if column not in records.header and role not in optional
        ]
        problems += missing
        if missing:
            continue
        none = [None] * len(records.rows)
        columns = (
            [cell_text(cell) for cell in records.columns.get(column, none)]
            for column in (names.id, names.label, names.annotator)
        )
        for number, row_id, value, annotator in zip(records.rows, *columns, strict=True):
            row_name = f"{name}row {number}"
            label = None if value is None else _class_number(value, dataset.classes, settings)
            if row_id is None:
                bad["id"].append(row_name)
            elif value is None:
                bad["label"].append(row_name)
            elif label is None:
                bad["unknown label"].append(f"{row_name} ({value!r})")
            elif row_id in dataset.index:
                votes.append(Vote(row_name, row_id, label, annotator))
            elif settings.on_unknown_id == "skip":
                num_unknown += 1
            else:
                bad["unknown id"].append(f"{row_id!r} ({row_name})")
    remedies = {
        "id": "rows without id; fill or remove them",
        "label": "rows without label; fill or remove them",
        "unknown id": "rows with an id that the data set does not have; correct or remove them, "
        "or set on_unknown_id: skip",
        "unknown label": f"rows with an unknown label; known: {_known(dataset.classes, settings)}",
    }
    problems += [f"{len(bad[k])} {remedies[k]}: {first_few(bad[k])}" for k in bad if bad[k]]
    return votes, num_unknown, problems


def _class_number(value: str, classes: Sequence[str], settings: Corrections) -> int | None:
    """Give the index of a label's class; None: the label has no class."""
    if settings.positive is not None:
        if value in settings.positive:
            return 1
        return 0 if settings.negative is None or value in settings.negative else None
    if value in classes:
        return classes.index(value)
    return {number: n for n, number in enumerate(_numbers(classes))}.get(value)


def _numbers(classes: Sequence[str]) -> list[str]:
    """List class numbers as labels; none if a number is a class name."""
    named = any(name.isdecimal() for name in classes)
    return [] if named else [str(number) for number in range(len(classes))]


def _known(classes: Sequence[str], settings: Corrections) -> str:
    """List the known labels for an error."""
    given = (*(settings.positive or ()), *(settings.negative or ()))
    return first_few(given or (*classes, *_numbers(classes)), MAX_LABELS_SHOWN)


def _voted_twice(by_id: Mapping[str, Sequence[Vote]]) -> list[str]:
    """Write a sentence on annotators who label an id more than once."""
    twice = []
    for row_id, votes in by_id.items():
        by_annotator: dict[str, list[str]] = {}
        for vote in votes:
            if vote.annotator is not None:
                by_annotator.setdefault(vote.annotator, []).append(vote.row_name)
        twice += [
            f"{annotator} on {row_id!r} ({', '.join(own_rows)})"
            for annotator, own_rows in by_annotator.items()
            if len(own_rows) > 1
        ]
    if not twice:
        return []
    return [
        f"{len(twice)} ids are labelled twice by one annotator: {first_few(twice)}; keep one row"
    ]


def _decide(
    by_id: Mapping[str, Sequence[Vote]], on_conflict: str
) -> tuple[dict[str, int], list[str]]:
    """Decide on one label for each id.

    Returns:
        Id -> label; the ids without a decision.
    """
    decided, undecided = {}, []
    for row_id, votes in by_id.items():
        counts = Counter(vote.label for vote in votes).most_common()
        is_majority = len(counts) == 1 or counts[0][1] > counts[1][1]
        if len(counts) == 1 or (on_conflict == "majority" and is_majority):
            decided[row_id] = counts[0][0]
        elif on_conflict == "last":
            decided[row_id] = votes[-1].label
        else:
            undecided.append(row_id)
    return decided, undecided


def _contradiction(row_id: str, votes: Sequence[Vote], classes: Sequence[str]) -> str:
    """Format the labels of an id with their places."""
    return f"{row_id!r} ({', '.join(f'{classes[vote.label]} {vote.row_name}' for vote in votes)})"


def _measure_agreement(votes: Sequence[Vote]) -> tuple[Agreement, ...]:
    """Compare each two named annotators."""
    given: dict[str, dict[str, int]] = {}
    for vote in votes:
        if vote.annotator is not None:
            given.setdefault(vote.annotator, {})[vote.id] = vote.label
    return tuple(compare_annotators(*pair, given) for pair in combinations(sorted(given), 2))
