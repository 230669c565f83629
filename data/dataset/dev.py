"""Development rows: what learning rates are chosen on. Test rows are not even there.

Selection on English rows says little of target accuracy (Keung et al. 2020, arXiv 2004.15001), and
selection on target rows is no longer zero-shot (arXiv 2305.16834); so which rows were used is part
of every trial's identity.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Self

import pydantic

from xlt.data.core.errors import InputError
from xlt.data.core.seeds import rank_key
from xlt.data.core.settings import Settings
from xlt.data.dataset.draws import (
    Draw,
    draw_train,
    in_turn,
    in_window,
    language_problems,
    odd_counts,
    shortage,
)
from xlt.data.dataset.patterns import Pattern, Sampling
from xlt.data.dataset.schema import Dataset, Row


class SourceDev(Settings):
    """Rows of the source language that no draw of the pattern trains on."""

    kind: Literal["source"] = "source"
    rows: int = pydantic.Field(gt=0)
    """How many, balanced."""

    def __str__(self) -> str:
        """As trial ids show it."""
        return "dev-source"


class TargetFold(Settings):
    """One fold of a repeated stratified cross-validation over the few target training rows."""

    kind: Literal["target"] = "target"
    num_folds: int = pydantic.Field(gt=1)
    """Parts that the rows are cut into; one is held out, the others are trained on."""
    fold: int = pydantic.Field(ge=0)
    """Which part is held out, from 0."""
    repeat: int = pydantic.Field(default=0, ge=0)
    """Which cut; another one for another number."""

    @pydantic.model_validator(mode="after")
    def _exists(self) -> Self:
        if self.fold >= self.num_folds:
            raise ValueError(f"fold {self.fold} of {self.num_folds} does not exist; count from 0")
        return self

    def num_rows(self, target_rows: int) -> int:
        """Rows held out of so many."""
        return len(range(self.fold, target_rows, self.num_folds))

    def __str__(self) -> str:
        """As trial ids show it."""
        return f"dev-target{self.repeat}.{self.fold}"


Dev = SourceDev | TargetFold


def draw_dev(
    dataset: Dataset, source_lang: str, pattern: Pattern, sampling: Sampling, draw_index: int,
    dev: Dev,
) -> Draw:  # fmt: skip
    """As :func:`draw`, from rows without the test's; ``test`` are the dev rows.

    Raises:
        InputError: Too few rows of a class, or too few target rows for the folds.
    """
    classes = dataset.classes
    problems = language_problems(dataset, source_lang, pattern)
    if not problems and isinstance(dev, SourceDev):
        if source_lang not in dataset.by_lang or not pattern.source_rows:
            problems = [f"{pattern.name}: trains on no {source_lang} rows, so none can be its dev"]
        problems += odd_counts(dataset, pattern, dev_rows=dev.rows)
    if isinstance(dev, TargetFold) and pattern.target_rows < dev.num_folds * len(classes):
        problems.append(
            f"{pattern.name}: {pattern.target_rows} target rows cannot be cut into "
            f"{dev.num_folds} folds with every class; lower folds or take source dev rows"
        )
    if problems:
        raise InputError(problems)
    source, target, problems = draw_train(dataset, source_lang, pattern, sampling, draw_index, ())
    if isinstance(dev, SourceDev):
        sources = dataset.by_lang[source_lang]
        barred = [row.key for row in (*dataset.by_lang[pattern.target_lang], *source)]
        drawn = in_turn(
            in_window(sources, sampling.train_window), dev.rows, len(classes),
            sampling.draw_seed, f"dev-{source_lang}", barred,
        )  # fmt: skip
        problems += shortage(
            f"{pattern.name} dev", drawn, dev.rows, classes, sources, source_lang,
            sampling.train_window,
        )  # fmt: skip
    else:
        drawn = _fold(target, sampling.draw_seed, dev)
        held_out = {row.id for row in drawn}
        target = [row for row in target if row.id not in held_out]
    if problems:
        raise InputError(problems)
    return Draw(*(tuple(row.id for row in rows) for rows in (source, target, drawn)))


def without_test(dataset: Dataset, test_ids: Iterable[str], source_lang: str) -> Dataset:
    """The rows that a search may see.

    Test rows go, and whatever shares a text or a story with one; so do source rows with the text
    of a target row that went. What is left gives the same training rows as the whole.
    """
    rows = {row.id: row for in_lang in dataset.by_lang.values() for row in in_lang}
    test = [rows[row_id] for row_id in test_ids]
    keys, stories = {row.key for row in test}, {row.story for row in test} - {None}
    gone = {i for i, row in rows.items() if row.key in keys or row.story in stories}
    sources = dataset.by_lang.get(source_lang, ())
    targets_gone = gone - {row.id for row in sources}
    barred = {rows[row_id].key for row_id in targets_gone}  # from source rows, as in a draw
    gone |= {row.id for row in sources if row.key in barred}
    kept = [row_id for row_id in dataset.index if row_id not in gone]
    return Dataset(dataset.rows(kept), dataset.classes)


def _fold(target: list[Row], seed: int, dev: TargetFold) -> list[Row]:
    """Every ``num_folds``-th row of the shuffled rows class by class: each fold has all classes."""
    purpose = f"folds-{dev.repeat}"
    ordered = sorted(target, key=lambda row: (row.label, rank_key(seed, purpose, row.id)))
    return ordered[dev.fold :: dev.num_folds]
