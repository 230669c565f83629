"""Data patterns: which rows a trial trains on and is tested on, as exact row ids."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import pyarrow as pa
import pydantic

from data.errors import InputError
from data.schema import Dataset
from data.seeds import rank_key
from data.settings import Settings

PATTERN_NAME = re.compile(r"(?P<lang>[a-z]{2,3}(?:-[A-Za-z0-9]+)*?)(?P<rows>\d+)")


class Window(Settings):
    """Publication dates, both ends included."""

    start: datetime.date
    end: datetime.date

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.end < self.start:
            raise ValueError(f"window ends {self.end} before it starts {self.start}; swap them")
        return self


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
    def _balanced(self) -> Self:
        odd = [n for n in ("source_rows", "target_rows") if getattr(self, n) % 2]
        if odd:
            raise ValueError(f"{self.name}: {' and '.join(odd)} must be even: rows are drawn 1:1")
        if not self.source_rows + self.target_rows:
            raise ValueError(f"{self.name}: has no training rows; set source_rows or target_rows")
        return self


class Sampling(Settings):
    """How rows are drawn; equal for all cells of an experiment."""

    test_rows: int = pydantic.Field(default=512, gt=0, multiple_of=2)
    """Test rows in the target language, 1:1, the same for every pattern, model and seed."""
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
            raise ValueError(
                f"train_window {train.start}..{train.end} overlaps "
                f"test_window {test.start}..{test.end}; separate them"
            )
        return self


@dataclass(frozen=True)
class Draw:
    """Row ids in drawing order: positive, negative, positive ... so every even prefix is 1:1."""

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
        InputError: The name is not a language code followed by a count.
    """
    match = PATTERN_NAME.fullmatch(name)
    if not match:
        raise InputError(
            f"pattern {name!r} is not a language code and a count such as ja16; "
            "write {" + name + ": {target_lang: .., target_rows: .., source_rows: ..}} instead"
        )
    values = {"name": name, "target_lang": match["lang"], "target_rows": int(match["rows"])}
    return Pattern.parse(values, f"pattern {name}")


def draw(
    dataset: Dataset, source_lang: str, pattern: Pattern, sampling: Sampling, seed: int
) -> Draw:
    """Draw the rows of a cell.

    Rows are ranked by a hash of seed and id, so that the draw does not depend on file order or
    machine and few-shot draws nest: ja16 is the first 16 rows of ja104. Test rows are drawn first
    and depend on ``draw_seed`` only. A text that is in the test rows is never trained on, and no
    text is drawn twice.

    Args:
        dataset: All labelled rows.
        source_lang: Language of the source rows.
        pattern: Counts and target language.
        sampling: Windows, test rows and seeds.
        seed: The trial's seed; used only with ``sampling.resample_per_seed``.

    Raises:
        InputError: Too few rows of a class, with what is needed and what is there.
    """
    test_seed = sampling.draw_seed
    train_seed = seed if sampling.resample_per_seed else sampling.draw_seed
    purpose = "train" if not sampling.resample_per_seed else f"train-{sampling.draw_seed}"
    taken: set[str] = set()
    test = _balanced(
        dataset, pattern.target_lang, sampling.test_window, sampling.test_rows, test_seed, "test",
        taken, f"{pattern.name} test",
    )  # fmt: skip
    target = _balanced(
        dataset, pattern.target_lang, sampling.train_window, pattern.target_rows, train_seed,
        purpose, taken, f"{pattern.name} (after the {sampling.test_rows} of the test)",
    )  # fmt: skip
    source = _balanced(
        dataset, source_lang, sampling.train_window, pattern.source_rows, train_seed, purpose,
        taken, f"{pattern.name} source",
    )  # fmt: skip
    return Draw(source=source, target=target, test=test)


def _balanced(
    dataset: Dataset, lang: str, window: Window | None, num_rows: int, seed: int, purpose: str,
    taken: set[str], what: str,
) -> tuple[str, ...]:  # fmt: skip
    """The first ``num_rows`` / 2 rows of each class by rank; adds their texts to ``taken``."""
    pools: dict[int, list[tuple[bytes, str, str]]] = {0: [], 1: []}
    for row_id, text, label in _candidates(dataset.table, lang, window):
        if text not in taken:
            pools[label].append((rank_key(seed, f"{purpose}-{lang}", row_id), row_id, text))
    drawn: dict[int, list[str]] = {}
    problems = []
    for label, name in ((1, "positive"), (0, "negative")):
        picked: list[str] = []
        for _, row_id, text in sorted(pools[label]):
            if len(picked) == num_rows // 2:
                break
            if text not in taken:
                taken.add(text)
                picked.append(row_id)
        if len(picked) < num_rows // 2:
            dates = f" published {window.start}..{window.end}" if window else ""
            problems.append(
                f"{what} needs {num_rows // 2} {name} {lang} rows{dates}; {len(picked)} left; "
                "ask for fewer rows, widen the window or add data"
            )
        drawn[label] = picked
    if problems:
        raise InputError(problems)
    return tuple(row for pair in zip(drawn[1], drawn[0], strict=True) for row in pair)


def _candidates(
    table: pa.Table, lang: str, window: Window | None
) -> Iterator[tuple[str, str, int]]:
    """(id, normalised text, label) of the rows in a language and a window."""
    columns = [table[name].to_pylist() for name in ("id", "text", "lang", "label", "published")]
    for row_id, text, row_lang, label, published in zip(*columns, strict=True):
        if row_lang != lang:
            continue
        if window and not (published and window.start <= published <= window.end):
            continue
        yield row_id, " ".join(text.split()), label
