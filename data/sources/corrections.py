"""Labels set by hand, on top of delivered ones: which they changed, and how far people agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, Literal, NamedTuple, Self

import pyarrow as pa
import pydantic

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.settings import Settings
from xlt.data.core.text import first_few
from xlt.data.dataset.schema import BINARY, Dataset
from xlt.data.sources.correction_report import Agreement, Change, CorrectionReport
from xlt.data.tables.cells import cell_text
from xlt.data.tables.files import Format, find_files
from xlt.data.tables.whole import read_records

OPTIONAL = ("annotator", "note")
"""Columns that the file need not have."""
MAX_LABELS_SHOWN = 20
"""Labels that an error lists."""


class Columns(Settings):
    """Names of the file's columns."""

    id: str = "id"
    """Ids of rows of the data set."""
    label: str = "label"
    """The label that the row should have."""
    annotator: str = "annotator"
    """Who says so; empty or without such a column: a person who is not told from others."""
    note: str = "note"
    """Why; never read."""


class Corrections(Settings):
    """Where the corrections are and how they count.

    Labels are the names of the data set's classes, or their numbers 0, 1, ... unless a class is
    named by a number. With ``positive`` they follow the rules of the table source instead.
    """

    path: str
    """Local path or pyarrow.fs URI, ``*`` allowed in the file name."""
    format: Format | None = None
    """What the file holds, if its suffix does not say."""
    columns: Columns = Columns()
    """What the columns are called."""
    positive: tuple[str, ...] | None = pydantic.Field(default=None, min_length=1)
    """Label values that stand for class 1, of data with the classes negative and positive."""
    negative: tuple[str, ...] | None = None
    """Label values that stand for class 0, any other one is refused; none: all not positive."""
    on_conflict: Literal["refuse", "majority", "last"] = "refuse"
    """What counts where annotators contradict each other; last: the last row in the file."""
    on_unknown_id: Literal["refuse", "skip"] = "refuse"
    """Whether rows with an id that the data set does not have are an error."""

    @pydantic.field_validator("positive", "negative", mode="before")
    @classmethod
    def _as_text(cls, values: Any) -> Any:
        return [cell_text(v) for v in values] if isinstance(values, (list, tuple)) else values

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = []
        names = self.columns.model_dump()
        double = sorted({name for name in names.values() if list(names.values()).count(name) > 1})
        if double:
            problems.append(f"columns {double} stand for more than one thing; name another")
        both = sorted({*(self.positive or ())} & {*(self.negative or ())})
        if both:
            problems.append(f"{both} are both positive and negative; remove them from one list")
        if self.negative is not None and self.positive is None:
            problems.append("negative needs positive; add it, or write the names of the classes")
        if problems:
            raise InputError(problems)
        return self


class Vote(NamedTuple):
    """A row of the file."""

    place: str
    """What errors call it."""
    id: str
    """Which row of the data set it is about."""
    label: int
    """The class that it should have."""
    annotator: str | None
    """Who says so."""


def apply(dataset: Dataset, settings: Corrections) -> tuple[Dataset, CorrectionReport]:
    """Give rows the labels that the file says.

    Args:
        dataset: As delivered; stays as it is.
        settings: Which file, and what to do with contradictions.

    Returns:
        A data set with the same rows in the same order, whose fingerprint differs if a label
        does, and what was done.

    Raises:
        InputError: The file cannot be read or lacks columns, has unknown labels or ids, an
            annotator who labels a row twice, annotators who contradict each other (or without a
            majority), or is about no row of the data set.
    """
    votes, num_unknown, problems = _read(dataset, settings)
    by_id: dict[str, list[Vote]] = {}
    for vote in votes:
        by_id.setdefault(vote.id, []).append(vote)
    problems += _voted_twice(by_id)
    decided, undecided = _decide(by_id, settings.on_conflict)
    if undecided:
        kind, remedy = {
            "refuse": ("contradict each other", "mend them, or set on_conflict: majority or last"),
            "majority": ("have no majority", "mend them, or set on_conflict: last"),
        }[settings.on_conflict]
        told = [_contradiction(row_id, by_id[row_id], dataset.classes) for row_id in undecided]
        problems.append(f"the labels of {len(told)} ids {kind}: {first_few(told)}; {remedy}")
    if not votes and not problems:
        problems.append("corrects nothing: it has no row with an id of the data set")
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
        agreement=_agreement(votes),
    )
    return Dataset.from_table(table, settings.path, classes=dataset.classes), report


def _read(dataset: Dataset, settings: Corrections) -> tuple[list[Vote], int, list[str]]:
    """The rows about rows of the data set, how many others were skipped, and what is wrong."""
    if settings.positive is not None and dataset.classes != BINARY:
        raise InputError(
            f"positive is for the classes {' and '.join(BINARY)}, these are "
            f"{', '.join(dataset.classes)}; remove it and write their names as labels",
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
            place = f"{name}row {number}"
            label = None if value is None else _class_number(value, dataset.classes, settings)
            if row_id is None:
                bad["id"].append(place)
            elif value is None:
                bad["label"].append(place)
            elif label is None:
                bad["unknown label"].append(f"{place} ({value!r})")
            elif row_id in dataset.index:
                votes.append(Vote(place, row_id, label, annotator))
            elif settings.on_unknown_id == "skip":
                num_unknown += 1
            else:
                bad["unknown id"].append(f"{row_id!r} ({place})")
    remedies = {
        "id": "rows without id; fill or remove them",
        "label": "rows without label; fill or remove them",
        "unknown id": "rows with an id that the data set does not have; mend or remove them, or "
        "set on_unknown_id: skip",
        "unknown label": f"rows with an unknown label; known: {_known(dataset.classes, settings)}",
    }
    problems += [f"{len(bad[k])} {remedies[k]}: {first_few(bad[k])}" for k in bad if bad[k]]
    return votes, num_unknown, problems


def _class_number(value: str, classes: Sequence[str], settings: Corrections) -> int | None:
    """The class that a label stands for; None: it stands for none."""
    if settings.positive is not None:
        if value in settings.positive:
            return 1
        return 0 if settings.negative is None or value in settings.negative else None
    if value in classes:
        return classes.index(value)
    return {number: n for n, number in enumerate(_numbers(classes))}.get(value)


def _numbers(classes: Sequence[str]) -> list[str]:
    """The numbers of classes as labels; none if a class is named by a number itself."""
    named = any(name.isdecimal() for name in classes)
    return [] if named else [str(number) for number in range(len(classes))]


def _known(classes: Sequence[str], settings: Corrections) -> str:
    given = (*(settings.positive or ()), *(settings.negative or ()))
    return first_few(given or (*classes, *_numbers(classes)), MAX_LABELS_SHOWN)


def _voted_twice(by_id: Mapping[str, Sequence[Vote]]) -> list[str]:
    twice = []
    for row_id, votes in by_id.items():
        places: dict[str, list[str]] = {}
        for vote in votes:
            if vote.annotator is not None:
                places.setdefault(vote.annotator, []).append(vote.place)
        twice += [
            f"{annotator} on {row_id!r} ({', '.join(found)})"
            for annotator, found in places.items()
            if len(found) > 1
        ]
    if not twice:
        return []
    return [
        f"{len(twice)} times one annotator labels an id twice: {first_few(twice)}; keep one row"
    ]


def _decide(
    by_id: Mapping[str, Sequence[Vote]], on_conflict: str
) -> tuple[dict[str, int], list[str]]:
    """The label of each id, and the ids for which none is decided."""
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
    return f"{row_id!r} ({', '.join(f'{classes[vote.label]} {vote.place}' for vote in votes)})"


def _agreement(votes: Sequence[Vote]) -> tuple[Agreement, ...]:
    """Cohen's kappa (scikit-learn's) of every two named annotators, over what both labelled."""
    given: dict[str, dict[str, int]] = {}
    for vote in votes:
        if vote.annotator is not None:
            given.setdefault(vote.annotator, {})[vote.id] = vote.label
    found = []
    for first, second in combinations(sorted(given), 2):
        common = [row_id for row_id in given[first] if row_id in given[second]]
        one = [given[first][row_id] for row_id in common]
        other = [given[second][row_id] for row_id in common]
        found.append(Agreement(first, second, len(common), _kappa(one, other)))
    return tuple(found)


def _kappa(one: Sequence[int], other: Sequence[int]) -> float | None:
    if len(one) < 2 or len({*one, *other}) == 1:  # by chance alone they would agree fully
        return None
    from sklearn.metrics import cohen_kappa_score  # here, because data/ stays light

    return float(cohen_kappa_score(one, other))
