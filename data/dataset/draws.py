"""Draws: the exact rows that a trial trains on and is tested on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.seeds import rank_key
from xlt.data.dataset.patterns import Pattern, Sampling, Window
from xlt.data.dataset.schema import Dataset, Row


@dataclass(frozen=True)
class Draw:
    """Row ids in the order of drawing, with the classes in turn: positive, negative, positive ...

    So every prefix of an even length has as many rows of both classes. With more classes their
    numbers in a prefix differ by one at most.

    Attributes:
        source: Training rows in the source language.
        target: Training rows in the target language.
        test: Test rows.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def train(self) -> tuple[str, ...]:
        """Source rows, then target rows."""
        return self.source + self.target


def draw(
    dataset: Dataset, source_lang: str, pattern: Pattern, sampling: Sampling, draw_index: int = 0
) -> Draw:
    """Draw the rows of a cell.

    Rows are ranked by a hash of seed and id, so that the draw depends neither on the order of the
    file nor on the machine. They are taken from each class in turn, so that few-shot draws nest:
    ja16 is the first 16 rows of ja104. Test rows are drawn first and depend on ``draw_seed`` only.

    Texts are equal if their :func:`text_key` is. No text is drawn twice, and no text or story of a
    test row is trained on. A source row whose text also occurs in the target language is never
    drawn, because ja0 would not be zero-shot.

    Args:
        dataset: All labelled rows.
        source_lang: Language of the source rows.
        pattern: Counts and target language.
        sampling: Windows, number of test rows and seed.
        draw_index: Number of the draw of training rows; test rows are the same in all draws.

    Raises:
        InputError: A language is missing, or a class has too few rows; all problems together.
    """
    target_lang, num_test = pattern.target_lang, sampling.test_rows
    problems = language_problems(dataset, source_lang, pattern)
    problems += odd_counts(
        dataset, pattern, source_rows=pattern.source_rows, target_rows=pattern.target_rows,
        test_rows=num_test,
    )  # fmt: skip
    if problems:
        raise InputError(problems)
    targets = dataset.by_lang[target_lang]
    test = draw_in_turn(
        in_window(targets, sampling.test_window), num_test, len(dataset.classes),
        sampling.draw_seed, f"test-{target_lang}", (),
    )  # fmt: skip
    problems = shortage(
        f"{pattern.name} test", test, num_test, dataset.classes, targets, target_lang,
        sampling.test_window,
    )  # fmt: skip
    source, target, train_problems = draw_train(
        dataset, source_lang, pattern, sampling, draw_index, test
    )
    if problems or train_problems:
        raise InputError([*problems, *train_problems])
    return Draw(*(tuple(row.id for row in rows) for rows in (source, target, test)))


def draw_train(
    dataset: Dataset, source_lang: str, pattern: Pattern, sampling: Sampling, draw_index: int,
    test: Sequence[Row],
) -> tuple[list[Row], list[Row], list[str]]:  # fmt: skip
    """Draw training rows that share no text and no story with ``test``; see :func:`draw`.

    Returns:
        Source rows, target rows, and a sentence for each class with too few rows.
    """
    target_lang, classes, window = pattern.target_lang, dataset.classes, sampling.train_window
    purpose = f"train-{draw_index}" if draw_index else "train"
    targets = dataset.by_lang[target_lang]
    sources = dataset.by_lang[source_lang] if pattern.source_rows else ()
    stories = {row.story for row in test if row.story is not None}
    targets_left, sources_left = (
        [row for row in in_window(rows, window) if row.story not in stories]
        for rows in (targets, sources)
    )
    target = draw_in_turn(
        targets_left, pattern.target_rows, len(classes),
        sampling.draw_seed, f"{purpose}-{target_lang}", (row.key for row in test),
    )  # fmt: skip
    source = draw_in_turn(
        sources_left, pattern.source_rows, len(classes),
        sampling.draw_seed, f"{purpose}-{source_lang}", (row.key for row in targets),
    )  # fmt: skip
    problems = [
        *shortage(
            pattern.name, target, pattern.target_rows, classes, targets, target_lang, window,
            sampling.test_rows,
        ),
        *shortage(
            pattern.name, source, pattern.source_rows, classes, sources, source_lang, window
        ),
    ]  # fmt: skip
    return source, target, problems


def group_by_story(dataset: Dataset, tests: Iterable[Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    """Find the test rows of each story that has several.

    Args:
        dataset: All labelled rows.
        tests: Ids of the test rows of each draw.

    Returns:
        Ids of the rows of such a story, one after another.
    """
    ids = dict.fromkeys(row_id for test in tests for row_id in test)
    groups: dict[str, list[str]] = {}
    for row_id, story in zip(ids, dataset.rows(list(ids))["story"].to_pylist(), strict=True):
        if story is not None:
            groups.setdefault(story, []).append(row_id)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def language_problems(dataset: Dataset, source_lang: str, pattern: Pattern) -> list[str]:
    """Write a sentence for each language that the pattern needs and the data set lacks."""
    target_lang = pattern.target_lang
    if pattern.source_rows and source_lang == target_lang:
        return [
            f"{pattern.name}: source and target language are both {target_lang!r}; "
            "set source_rows: 0 and give the number of all rows as target_rows"
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
    """Select the rows that were published in a window; without a window, all rows."""
    return [
        row
        for row in rows
        if window is None or (row.published and window.start <= row.published <= window.end)
    ]


def odd_counts(dataset: Dataset, pattern: Pattern, **counts: int) -> list[str]:
    """Write a sentence for odd counts of a binary task, whose rows are drawn 1:1 as in the paper.

    With more classes, a class may have one row more than another.
    """
    odd = [name for name, count in counts.items() if count % 2]
    if not odd or len(dataset.classes) != 2:
        return []
    return [f"{pattern.name}: {' and '.join(odd)} must be even: rows are drawn 1:1"]


def _share(num_rows: int, num_classes: int, label: int) -> int:
    """Count the rows of a class among ``num_rows``, drawn in turn from the last class on."""
    return (num_rows + label) // num_classes


def draw_in_turn(
    rows: list[Row], num_rows: int, num_classes: int, seed: int, purpose: str,
    excluded: Iterable[str],
) -> list[Row]:  # fmt: skip
    """Draw the next row of each class by rank, in turn from the last class to the first.

    Args:
        rows: The candidates.
        num_rows: Number of rows to draw.
        num_classes: Number of classes.
        seed: Root seed of the ranks.
        purpose: Purpose of the ranks, see :func:`rank_key`.
        excluded: Text keys that are not drawn.

    Returns:
        ``num_rows`` rows, or fewer if a class has too few: all rows of that class that can be
        drawn, and the other classes up to their share.
    """
    if not num_rows:
        return []
    ranked = sorted((rank_key(seed, purpose, row.id), row) for row in rows)
    labels = range(num_classes - 1, -1, -1)
    queues = [iter([row for _, row in ranked if row.label == label]) for label in labels]
    taken, drawn = set(excluded), []
    for position in range(num_rows):
        queue = queues[position % num_classes]
        row = next((row for row in queue if row.key not in taken), None)
        if row is not None:
            taken.add(row.key)
            drawn.append(row)
    return drawn


def shortage(
    what: str, drawn: list[Row], num_rows: int, classes: Sequence[str], rows: Iterable[Row],
    lang: str, window: Window | None, num_test: int = 0,
) -> list[str]:  # fmt: skip
    """Write a sentence for each class with too few rows.

    Args:
        what: The pattern, and ``test`` or ``dev``, for the sentence.
        drawn: The rows that were drawn.
        num_rows: The number of rows that were needed.
        classes: Name of each label.
        rows: All rows of the language.
        lang: The language.
        window: The window of the rows.
        num_test: Number of test rows that were drawn before.
    """
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
