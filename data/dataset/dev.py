"""Draws of development rows, on which learning rates and epochs are chosen; never test rows.

Selection on English rows says little about the accuracy in the target language (Keung et al. 2020,
arXiv 2004.15001), and selection on target rows is not zero-shot (arXiv 2305.16834). So the kind of
dev rows is part of the identity of every trial.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal, Self

import pydantic

from xlt.data.core.errors import InputError
from xlt.data.core.seeds import rank_by
from xlt.data.core.settings import Settings
from xlt.data.dataset.class_counts import odd_counts
from xlt.data.dataset.draws import (
    Draw,
    draw,
    draw_source,
    draw_test,
    draw_train,
    has_foreign_text,
    shares_content,
)
from xlt.data.dataset.language_problems import language_problems
from xlt.data.dataset.patterns import Pattern, Sampling
from xlt.data.dataset.schema import Dataset, Row
from xlt.data.dataset.source_langs import SourceLang, join_source_langs, list_source_langs
from xlt.data.dataset.translated_rows import find_keys, untranslated
from xlt.data.dataset.translations import Direction


class SourceDev(Settings):
    """Rows of the source languages that no draw of the pattern trains on, evenly divided."""

    kind: Literal["source"] = "source"
    rows: int = pydantic.Field(gt=0)
    """Number of dev rows, balanced over the classes."""

    def num_rows(self, target_rows: int) -> int:
        """Number of dev rows, whatever the number of target rows is."""
        return self.rows

    def __str__(self) -> str:
        """The form in trial ids."""
        return "dev-source"


class TargetFold(Settings):
    """One fold of a repeated stratified cross-validation over the few target training rows."""

    kind: Literal["target"] = "target"
    num_folds: int = pydantic.Field(gt=1)
    """Number of folds; one is held out, and the trial trains on the others."""
    fold: int = pydantic.Field(ge=0)
    """Number of the fold that is held out, from 0."""
    repeat: int = pydantic.Field(default=0, ge=0)
    """Number of the cross-validation; each number shuffles the rows differently."""

    @pydantic.model_validator(mode="after")
    def _exists(self) -> Self:
        if self.fold >= self.num_folds:
            raise ValueError(f"fold {self.fold} of {self.num_folds} does not exist; count from 0")
        return self

    def num_rows(self, target_rows: int) -> int:
        """Count the rows that are held out of ``target_rows``."""
        return len(range(self.fold, target_rows, self.num_folds))

    def __str__(self) -> str:
        """The form in trial ids."""
        return f"dev-target{self.repeat}.{self.fold}"


Dev = SourceDev | TargetFold


def draw_dev(
    dataset: Dataset, source_lang: SourceLang, pattern: Pattern, sampling: Sampling,
    draw_index: int, dev: Dev, test: Sequence[Row] = (),
) -> Draw:  # fmt: skip
    """Draw training rows as :func:`draw` does, and dev rows in the place of test rows.

    Args:
        dataset: The labelled rows; without test rows, from :func:`without_test`, or with ``test``.
        source_lang: Language of the source rows, or several.
        pattern: Counts and target language.
        sampling: Windows and seed.
        draw_index: Number of the draw of training rows.
        dev: Kind of dev rows.
        test: Test rows in the data set; no row with a text or a story of them is drawn.

    Returns:
        The draw; ``test`` holds the dev rows.

    Raises:
        InputError: There are too few rows of a class, or too few target rows for the folds.
    """
    classes = dataset.classes
    problems = language_problems(dataset, source_lang, pattern)
    if not problems and isinstance(dev, SourceDev):
        if not pattern.source_rows:
            problems = [
                f"{pattern.name}: trains on no {join_source_langs(source_lang)} rows, so none can "
                "be dev rows; set source_rows or take target folds"
            ]
        problems += odd_counts(dataset, pattern, dev_rows=dev.rows)
    if isinstance(dev, TargetFold) and pattern.target_rows < dev.num_folds * len(classes):
        problems.append(
            f"{pattern.name}: {pattern.target_rows} target rows cannot be split into "
            f"{dev.num_folds} folds with every class; lower folds or take source dev rows"
        )
    if problems:
        raise InputError(problems)
    source, target, problems = draw_train(dataset, source_lang, pattern, sampling, draw_index, test)
    if isinstance(dev, SourceDev):
        window = sampling.train_window
        trained = {row.key for row in source}
        is_foreign = has_foreign_text(dataset, source_lang, pattern, sampling)
        is_tested = shares_content(dataset, source_lang, pattern, sampling, test)

        def left(lang: str) -> Iterator[Row]:
            for row in dataset.ranked(lang, sampling.draw_seed, f"dev-{lang}", window):
                if row.key not in trained and not is_foreign(row) and not is_tested(row):
                    yield row

        drawn, shortages = draw_source(
            f"{pattern.name} dev", dataset, source_lang, dev.rows, window, left
        )
        problems += shortages
    else:
        drawn = _fold(target, sampling.draw_seed, dev)
        held_out = {row.id for row in drawn}
        target = [row for row in target if row.id not in held_out]
    problems += untranslated(dataset, source_lang, pattern, (source, target, drawn))
    if problems:
        raise InputError(problems)
    return Draw(*(tuple(row.id for row in rows) for rows in (source, target, drawn)))


def draw_with_dev(
    dataset: Dataset, source_lang: SourceLang, pattern: Pattern, sampling: Sampling,
    draw_index: int, dev: Dev | None,
) -> tuple[Draw, tuple[str, ...]]:  # fmt: skip
    """Draw the rows of a trial that also has dev rows; the arguments are those of :func:`draw_dev`.

    Returns:
        The training and test rows of :func:`draw`, without the target rows that are held out; and
        the ids of the dev rows, none if ``dev`` is None.

    Raises:
        InputError: Too few rows, as :func:`draw` and :func:`draw_dev`.
    """
    drawn = draw(dataset, source_lang, pattern, sampling, draw_index)
    if dev is None:
        return drawn, ()
    test, _ = draw_test(dataset, pattern, sampling)
    held_out = draw_dev(dataset, source_lang, pattern, sampling, draw_index, dev, test)
    return replace(drawn, source=held_out.source, target=held_out.target), held_out.test


def without_test(
    dataset: Dataset,
    test_ids: Iterable[str],
    source_lang: SourceLang,
    read: Iterable[Direction] = (),
) -> Dataset:
    """Remove test rows, so that a search cannot see them.

    Rows that share a text or a story with a test row are removed too, and source rows with the
    text of a removed target row. The other rows give the same training rows as the whole data set.

    Args:
        dataset: All labelled rows.
        test_ids: Ids of the test rows.
        source_lang: Language of the source rows of all patterns, or several.
        read: Directions whose translations count as texts.
    """
    rows = {row.id: row for in_lang in dataset.by_lang.values() for row in in_lang}
    test = [rows[row_id] for row_id in test_ids]
    list_keys = find_keys(dataset, read)
    keys, stories = {key for row in test for key in list_keys(row)}, {row.story for row in test}
    stories -= {None}
    removed = {
        i for i, row in rows.items() if not keys.isdisjoint(list_keys(row)) or row.story in stories
    }
    in_langs = [dataset.by_lang.get(lang, ()) for lang in list_source_langs(source_lang)]
    others = [removed - {row.id for row in sources} for sources in in_langs]
    for sources, other in zip(in_langs, others, strict=True):
        target_keys = {rows[row_id].key for row_id in other}
        removed |= {row.id for row in sources if row.key in target_keys}  # a draw never takes them
    kept = [row_id for row_id in dataset.index if row_id not in removed]
    translations = dataset.translations.only(kept)
    return Dataset(dataset.rows(kept), dataset.classes, translations=translations)


def _fold(target: list[Row], seed: int, dev: TargetFold) -> list[Row]:
    """Take every ``num_folds``-th row, sorted by class, so that each fold has all classes."""
    purpose = f"folds-{dev.repeat}"
    rank = rank_by(seed, purpose)
    ordered = sorted(target, key=lambda row: (row.label, rank(row.id)))
    return ordered[dev.fold :: dev.num_folds]
