"""Data patterns: which rows a trial trains on and is tested on, as exact row ids."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import pydantic

from data.errors import InputError, unknown
from data.schema import Dataset, Row
from data.seeds import rank_key
from data.settings import Settings

# A subtag ends in a letter, so that the digits after it are the count: zh-Hant16.
PATTERN_NAME = re.compile(r"(?P<lang>[a-z]{2,3}(?:-[A-Za-z0-9]*[A-Za-z])*)(?P<rows>0|[1-9][0-9]*)")


class Window(Settings):
    """Publication dates, both ends included."""

    start: datetime.date
    """First day."""
    end: datetime.date
    """Last day."""

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.end < self.start:
            raise ValueError(f"window ends {self.end} before it starts {self.start}; swap them")
        return self

    def __str__(self) -> str:
        """As errors show it."""
        return f"{self.start}..{self.end}"


class Pattern(Settings):
    """How many labelled rows of each language a cell trains on (paper, table 2)."""

    name: str
    """What tables call it, e.g. ``ja16``."""
    target_lang: str
    """Language of the few-shot and test rows (BCP-47)."""
    target_rows: int = pydantic.Field(ge=0)
    """Training rows in the target language."""
    source_rows: int = pydantic.Field(default=1024, ge=0)
    """Training rows in the source language."""

    @pydantic.model_validator(mode="after")
    def _some_rows(self) -> Self:
        if not self.source_rows + self.target_rows:
            raise ValueError(f"{self.name}: has no training rows; set source_rows or target_rows")
        return self

    @pydantic.model_validator(mode="after")
    def _as_named(self) -> Self:
        match = PATTERN_NAME.fullmatch(self.name)
        if match and (match["lang"], int(match["rows"])) != (self.target_lang, self.target_rows):
            raise ValueError(
                f"{self.name}: the name says {match['rows']} {match['lang']} rows, the fields say "
                f"{self.target_rows} {self.target_lang} rows; mend one, or take a free name"
            )
        return self


class Sampling(Settings):
    """How rows are drawn; equal for all cells of an experiment."""

    test_rows: int = pydantic.Field(default=512, gt=0)
    """Test rows in the target language, balanced, the same for every pattern, model and seed."""
    train_window: Window | None = None
    """Publication dates of training rows; none: any."""
    test_window: Window | None = None
    """Publication dates of test rows; none: any."""
    draw_seed: int = 0
    """Seed of the draws; other rows for another one."""
    resample_per_seed: bool = False
    """Draw training rows anew for each trial seed (the paper leaves this open; test rows stay)."""

    @pydantic.model_validator(mode="after")
    def _disjoint(self) -> Self:
        train, test = self.train_window, self.test_window
        if train and test and train.start <= test.end and test.start <= train.end:
            raise ValueError(f"train_window {train} overlaps test_window {test}; separate them")
        return self


@dataclass(frozen=True)
class Draw:
    """Row ids in drawing order, one class after the other in turn.

    Positive, negative, positive ...: every even prefix is 1:1. With more classes the counts of a
    prefix differ by one at most.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def train(self) -> tuple[str, ...]:
        """Source rows, then target rows."""
        return self.source + self.target


def parse_pattern_name(name: str) -> Pattern:
    """``ja16`` -> 1024 source rows and 16 Japanese ones (the paper's naming).

    Raises:
        InputError: The name is not a language code followed by an even count.
    """
    match = PATTERN_NAME.fullmatch(name)
    if not match:
        raise InputError(
            f"pattern {name!r} is not a language code and a count such as ja16; "
            "write {" + name + ": {target_lang: .., target_rows: .., source_rows: ..}} instead"
        )
    return Pattern.parse(
        {"name": name, "target_lang": match["lang"], "target_rows": int(match["rows"])}
    )


def draw(
    dataset: Dataset, source_lang: str, pattern: Pattern, sampling: Sampling, seed: int
) -> Draw:
    """Draw the rows of a cell.

    Rows are ranked by a hash of seed and id, so that the draw does not depend on file order or
    machine, and picked from each class in turn, so that few-shot draws nest: ja16 is the first 16
    rows of ja104. Test rows come first and depend on ``draw_seed`` only. Texts count as the same
    by :func:`data.schema.text_key`: one that is in the test rows is never trained on, none is
    drawn twice, and a source row whose text also stands in the target language is never drawn, or
    ja0 would not be zero-shot. No row of a story that is in the test rows is trained on.

    Args:
        dataset: All labelled rows.
        source_lang: Language of the source rows.
        pattern: Counts and target language.
        sampling: Windows, test rows and seeds.
        seed: The trial's seed; used only with ``sampling.resample_per_seed``.

    Raises:
        InputError: Languages that are not there, or too few rows of a class, with what is needed
            and what is left; all at once.
    """
    target_lang, num_test = pattern.target_lang, sampling.test_rows
    problems = _language_problems(dataset, source_lang, pattern)
    problems += _odd_counts(dataset, pattern, num_test)
    if problems:
        raise InputError(problems)
    classes = dataset.classes
    train_seed, purpose = sampling.draw_seed, "train"
    if sampling.resample_per_seed:
        train_seed, purpose = seed, f"train-{sampling.draw_seed}"
    targets = dataset.by_lang[target_lang]
    sources = dataset.by_lang[source_lang] if pattern.source_rows else ()

    test = _in_turn(
        in_window(targets, sampling.test_window), num_test, len(classes),
        sampling.draw_seed, f"test-{target_lang}", (),
    )  # fmt: skip
    stories = {row.story for row in test if row.story is not None}
    targets_left, sources_left = (
        [row for row in rows if row.story not in stories]
        for rows in (in_window(rows, sampling.train_window) for rows in (targets, sources))
    )
    target = _in_turn(
        targets_left, pattern.target_rows, len(classes),
        train_seed, f"{purpose}-{target_lang}", (row.key for row in test),
    )  # fmt: skip
    source = _in_turn(
        sources_left, pattern.source_rows, len(classes),
        train_seed, f"{purpose}-{source_lang}", (row.key for row in targets),
    )  # fmt: skip

    train_dates, test_dates = sampling.train_window, sampling.test_window
    problems = [
        *_shortage(
            f"{pattern.name} test", test, num_test, classes, targets, target_lang, test_dates
        ),
        *_shortage(
            pattern.name, target, pattern.target_rows, classes, targets, target_lang, train_dates,
            num_test,
        ),
        *_shortage(
            pattern.name, source, pattern.source_rows, classes, sources, source_lang, train_dates
        ),
    ]  # fmt: skip
    if problems:
        raise InputError(problems)
    return Draw(*(tuple(row.id for row in rows) for rows in (source, target, test)))


def _language_problems(dataset: Dataset, source_lang: str, pattern: Pattern) -> list[str]:
    target_lang = pattern.target_lang
    if pattern.source_rows and source_lang == target_lang:
        return [
            f"{pattern.name}: source and target language are both {target_lang!r}; "
            "set source_rows: 0 and ask for all rows in target_rows"
        ]
    langs = {target_lang: "target language", source_lang: "source language"}
    if not pattern.source_rows:
        langs = {target_lang: "target language"}
    return [
        f"{pattern.name}: " + unknown(kind, lang, dataset.by_lang)
        for lang, kind in langs.items()
        if lang not in dataset.by_lang
    ]


def in_window(rows: Iterable[Row], window: Window | None) -> list[Row]:
    """The rows published within the window, both ends included; all if there is none."""
    return [
        row
        for row in rows
        if window is None or (row.published and window.start <= row.published <= window.end)
    ]


def _odd_counts(dataset: Dataset, pattern: Pattern, num_test: int) -> list[str]:
    """Binary rows are drawn 1:1 as in the paper; of more classes one may have a row more."""
    counts = pattern.model_dump(include={"source_rows", "target_rows"}) | {"test_rows": num_test}
    odd = [name for name, count in counts.items() if count % 2]
    if not odd or len(dataset.classes) != 2:
        return []
    return [f"{pattern.name}: {' and '.join(odd)} must be even: rows are drawn 1:1"]


def _share(num_rows: int, num_classes: int, label: int) -> int:
    """Rows of a class among ``num_rows`` drawn in turn from the last class to the first."""
    return (num_rows + label) // num_classes


def _in_turn(
    rows: list[Row], num_rows: int, num_classes: int, seed: int, purpose: str,
    barred: Iterable[str],
) -> list[Row]:  # fmt: skip
    """From the last class to the first and again: the next of it by rank, no text of ``barred``.

    Returns:
        ``num_rows`` rows, or fewer where a class runs out: then every row of that class that could
        be drawn, and the other classes up to their share.
    """
    if not num_rows:
        return []
    ranked = sorted((rank_key(seed, purpose, row.id), row) for row in rows)
    labels = range(num_classes - 1, -1, -1)
    queues = [iter([row for _, row in ranked if row.label == label]) for label in labels]
    taken, drawn = set(barred), []
    for position in range(num_rows):
        queue = queues[position % num_classes]
        row = next((row for row in queue if row.key not in taken), None)
        if row is not None:
            taken.add(row.key)
            drawn.append(row)
    return drawn


def _shortage(
    what: str, drawn: list[Row], num_rows: int, classes: Sequence[str], rows: Iterable[Row],
    lang: str, window: Window | None, num_test: int = 0,
) -> list[str]:  # fmt: skip
    """A sentence for each class that ran out; ``num_test`` rows were drawn before."""
    problems = []
    for label, name in reversed(list(enumerate(classes))):
        left = sum(row.label == label for row in drawn)
        needed = _share(num_rows, len(classes), label)
        if left == needed:
            continue
        after = f" after the {_share(num_test, len(classes), label)} of the test" * bool(num_test)
        dates, remedy = "", "ask for fewer rows or add data"
        if window:
            num_undated = sum(row.published is None for row in rows)
            undated = f" ({num_undated} {lang} rows have no date)" if num_undated else ""
            dates, remedy = f" published {window}{undated}", f"{remedy}, or widen the window"
        problems.append(
            f"{what} needs {needed} {name} {lang} rows{dates}{after}; {left} left; {remedy}"
        )
    return problems
