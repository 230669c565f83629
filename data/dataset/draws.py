"""Draws: the exact rows that a trial trains on and is tested on."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from xlt.data.core.errors import InputError, unknown
from xlt.data.dataset.class_counts import (
    balanced,
    count_available_test_rows,
    count_test_rows,
    odd_counts,
    shortage,
)
from xlt.data.dataset.language_problems import language_problems
from xlt.data.dataset.patterns import Pattern, Sampling, Window
from xlt.data.dataset.schema import Dataset, Row
from xlt.data.dataset.source_langs import SourceLang, divide_rows, list_source_langs
from xlt.data.dataset.translated_rows import find_keys, untranslated
from xlt.data.dataset.translations import Direction


@dataclass(frozen=True)
class Draw:
    """Row ids in the order of drawing, with the classes in turn: positive, negative, positive ...

    So every prefix of an even length has as many rows of both classes. With more classes their
    numbers in a prefix differ by one at most. Only test rows can have unequal classes
    (``Sampling.test_balance``); the rows of the larger class that are left stand at the end.

    Attributes:
        source: Training rows in the source language, or language by language in several.
        target: Training rows in the target language.
        test: Test rows, language by language.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def train(self) -> tuple[str, ...]:
        """Source rows, then target rows."""
        return self.source + self.target


def draw(
    dataset: Dataset, source_lang: SourceLang, pattern: Pattern, sampling: Sampling,
    draw_index: int = 0, *, refuse_untranslated: bool = True,
) -> Draw:  # fmt: skip
    """Draw the rows of a cell.

    Rows are ranked by a hash of seed and id, so that the draw depends neither on the order of the
    file nor on the machine. They are taken from each class in turn, so that few-shot draws nest:
    ja16 is the first 16 rows of ja104. Test rows are drawn first and depend on ``draw_seed`` only.

    Texts are equal if their :func:`text_key` is. No text is drawn twice, and no text or story of a
    test row is trained on. A source row whose text also occurs in the target language, or in
    another test language, is never drawn, because ja0 would not be zero-shot.

    Several source languages share the source rows evenly (:func:`divide_rows`), and each is
    balanced. A text that occurs in two of them is drawn in the first one only.

    With several test languages, test rows of a later language are first those of stories of which
    an earlier language has test rows. So languages are compared on the same stories, and fewer
    stories are lost for training.

    A pattern with translations draws the same rows as without, except for rows that the
    translations show to be translations of test rows: the next rows take their places.

    Args:
        dataset: All labelled rows.
        source_lang: Language of the source rows, or several.
        pattern: Counts and target language.
        sampling: Windows, number of test rows and seed.
        draw_index: Number of the draw of training rows; test rows are the same in all draws.
        refuse_untranslated: Whether each row that the pattern reads in translation must have one.

    Raises:
        InputError: A language is missing, a class has too few rows, or a drawn row has no
            translation that the pattern needs; all problems together.
    """
    problems = language_problems(dataset, source_lang, pattern)
    problems += [
        f"sampling.test_langs: {unknown('language', lang, dataset.by_lang)}"
        for lang in sampling.test_langs or ()
        if lang not in dataset.by_lang
    ]
    even = {"source_rows": pattern.source_rows, "target_rows": pattern.target_rows}
    even |= {"test_rows": sampling.test_rows} if sampling.test_balance == "1:1" else {}
    problems += odd_counts(dataset, pattern, **even)
    if problems:
        raise InputError(problems)
    test, problems = draw_test(dataset, pattern, sampling)
    source, target, train_problems = draw_train(
        dataset, source_lang, pattern, sampling, draw_index, test
    )
    problems += train_problems
    if refuse_untranslated:
        problems += untranslated(dataset, source_lang, pattern, (source, target, test))
    if problems:
        raise InputError(problems)
    return Draw(*(tuple(row.id for row in rows) for rows in (source, target, test)))


def draw_test(
    dataset: Dataset, pattern: Pattern, sampling: Sampling
) -> tuple[list[Row], list[str]]:
    """Draw the test rows of each test language; see :func:`draw`.

    Returns:
        Test rows, language by language, and a sentence for each class with too few rows.
    """
    window, classes = sampling.test_window, dataset.classes
    test, stories, problems = list[Row](), set[str](), list[str]()
    for lang in sampling.list_test_langs(pattern):
        rows = dataset.by_lang[lang]
        count = count_test_rows if sampling.test_langs is None else count_available_test_rows
        ranked: Iterable[Row] = dataset.ranked(lang, sampling.draw_seed, f"test-{lang}", window)
        counts = count(sampling, dataset.in_window(lang, window), classes)
        if stories:
            ranked = sorted(ranked, key=lambda row: row.story not in stories)
        drawn = draw_in_turn(ranked, counts)
        stories |= {row.story for row in drawn if row.story is not None}
        test += drawn
        problems += shortage(f"{pattern.name} test", drawn, counts, classes, rows, lang, window)
    return test, problems


def draw_train(
    dataset: Dataset, source_lang: SourceLang, pattern: Pattern, sampling: Sampling,
    draw_index: int, test: Sequence[Row],
) -> tuple[list[Row], list[Row], list[str]]:  # fmt: skip
    """Draw training rows that share no text and no story with ``test``; see :func:`draw`.

    Returns:
        Source rows, target rows, and a sentence for each class with too few rows.
    """
    target_lang, classes, window = pattern.target_lang, dataset.classes, sampling.train_window
    purpose = f"train-{draw_index}" if draw_index else "train"
    targets = dataset.by_lang[target_lang]
    is_tested = shares_content(dataset, source_lang, pattern, sampling, test)

    def ranked(lang: str) -> Iterator[Row]:
        rows = dataset.ranked(lang, sampling.draw_seed, f"{purpose}-{lang}", window)
        return (row for row in rows if not is_tested(row))

    num_target = balanced(pattern.target_rows, len(classes))
    target = draw_in_turn(ranked(target_lang), num_target)
    is_foreign = has_foreign_text(dataset, source_lang, pattern, sampling)
    source, source_problems = draw_source(
        pattern.name, dataset, source_lang, pattern.source_rows, window,
        lambda lang: (row for row in ranked(lang) if not is_foreign(row)),
    )  # fmt: skip
    num_test: Counter[int] = Counter()
    if len(target) < pattern.target_rows:
        ids = {row.id for row in test}
        num_test.update(row.label for row in targets if row.id in ids)
    problems = shortage(
        pattern.name, target, num_target, classes, targets, target_lang, window, num_test
    )
    return source, target, problems + source_problems


def draw_source(
    what: str, dataset: Dataset, source_lang: SourceLang, num_rows: int, window: Window | None,
    candidates: Callable[[str], Iterable[Row]],
) -> tuple[list[Row], list[str]]:  # fmt: skip
    """Draw rows of the source languages, language by language, evenly and each balanced.

    Args:
        what: The pattern, and ``dev``, for sentences.
        dataset: All labelled rows.
        source_lang: Language of the source rows, or several.
        num_rows: Number of rows of all languages together.
        window: Window of the rows, for sentences.
        candidates: Function from a language to its rows by rank.

    Returns:
        The rows, no text twice, and a sentence for each class with too few rows.
    """
    drawn, problems, classes = list[Row](), list[str](), dataset.classes
    langs = list_source_langs(source_lang) if num_rows else ()
    shares = divide_rows(num_rows, len(langs), len(classes)) if langs else ()
    for lang, share in zip(langs, shares, strict=True):
        taken, counts = {row.key for row in drawn}, balanced(share, len(classes))
        rows = draw_in_turn((row for row in candidates(lang) if row.key not in taken), counts)
        problems += shortage(what, rows, counts, classes, dataset.by_lang[lang], lang, window)
        drawn += rows
    return drawn, problems


def shares_content(
    dataset: Dataset, source_lang: SourceLang, pattern: Pattern, sampling: Sampling,
    test: Sequence[Row],
) -> Callable[[Row], bool]:  # fmt: skip
    """Give the function that says whether a row shares a text or a story with ``test``."""
    stories = {row.story for row in test if row.story is not None}
    read = list_shared_directions(source_lang, pattern.directions(source_lang), sampling)
    list_keys = find_keys(dataset, read)
    tested = {key for row in test for key in list_keys(row)}
    return lambda row: row.story in stories or not tested.isdisjoint(list_keys(row))


def list_shared_directions(
    source_lang: SourceLang, read: Iterable[Direction], sampling: Sampling
) -> list[Direction]:
    """List the directions whose translations show that two rows have the same content.

    Args:
        source_lang: Language of the source rows, or several.
        read: Directions whose translations patterns read.
        sampling: The test languages; translations between them and a source language count.
    """
    tested = (
        Direction(source, lang)
        for source in list_source_langs(source_lang)
        for lang in sampling.test_langs or ()
    )
    directions = dict.fromkeys((*read, *tested))
    return [either for direction in directions for either in (direction, direction.reversed)]


def has_foreign_text(
    dataset: Dataset, source_lang: SourceLang, pattern: Pattern, sampling: Sampling
) -> Callable[[Row], bool]:
    """Give the function that says whether a source row's text occurs in a language of the test.

    The languages are the target language and the test languages, without source languages.
    """
    langs = {pattern.target_lang, *sampling.list_test_langs(pattern)}
    langs -= {*list_source_langs(source_lang)}
    keys = [dataset.keys_by_lang[lang] for lang in sorted(langs & dataset.keys_by_lang.keys())]
    return lambda row: any(row.key in in_lang for in_lang in keys)


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


def draw_in_turn(ranked: Iterable[Row], counts: Sequence[int]) -> list[Row]:
    """Draw the next row of each class, in turn from the last class to the first.

    Args:
        ranked: The candidates by rank; only those are read that are needed.
        counts: Number of rows to draw of each class.

    Returns:
        As many rows of each class with different text keys, or fewer of a class that has too few.
    """
    labels = range(len(counts) - 1, -1, -1)
    queues = {label: deque[Row]() for label in labels}
    unread, taken, drawn = iter(ranked), set[str](), list[Row]()

    def next_row(label: int) -> Row | None:
        while True:
            while queues[label]:
                row = queues[label].popleft()
                if row.key not in taken:
                    return row
            if (more := next(unread, None)) is None:
                return None
            queues[more.label].append(more)

    for turn in range(max(counts)):
        for label in labels:
            row = next_row(label) if turn < counts[label] else None
            if row is not None:
                taken.add(row.key)
                drawn.append(row)
    return drawn
