"""Translations that the patterns of an experiment read: which rows, and where they came from."""

from __future__ import annotations

from xlt.data.core.text import first_few
from xlt.data.dataset.draws import draw
from xlt.data.dataset.patterns import Pattern, TranslatedRows
from xlt.data.dataset.schema import Dataset
from xlt.data.dataset.source_langs import SourceLang
from xlt.data.dataset.translations import Direction, count_origins
from xlt.sweep.experiment.experiment import Experiment

READ: dict[TranslatedRows, str] = {
    "train": "trained on translations of the source rows",
    "train+source": "trained on the source rows and on their translations",
    "test": "trained on the source rows, tested on translations of the test rows",
}
"""Translated rows of a pattern -> what its cells train and test on."""


def list_directions(experiment: Experiment) -> tuple[Direction, ...]:
    """List the directions whose translations patterns read."""
    read = (p.directions(experiment.find_source_lang(p)) for p in experiment.patterns)
    return tuple(dict.fromkeys(direction for listed in read for direction in listed))


def describe_translations(experiment: Experiment, dataset: Dataset) -> tuple[str, ...]:
    """Write a sentence for each kind of translation that patterns read, with its origin."""
    names: dict[tuple[TranslatedRows, Direction], list[str]] = {}
    for pattern in experiment.patterns:
        for direction in pattern.directions(experiment.find_source_lang(pattern)):
            assert pattern.translate
            names.setdefault((pattern.translate, direction), []).append(pattern.name)
    return tuple(
        f"{', '.join(listed)}: {READ[translate]} ({direction} by "
        f"{first_few(count_origins(dataset.translations.find(direction)))})."
        for (translate, direction), listed in names.items()
    )


def describe_translated_rows(pattern: Pattern, source_lang: SourceLang, num_test_rows: int) -> str:
    """Count the rows that a trial reads in translation; empty without translations."""
    direction = ", ".join(map(str, pattern.directions(source_lang)))
    if not direction:
        return ""
    if pattern.translate != "test":
        return f"{pattern.source_rows:,} rows translated {direction}"
    train = f"{pattern.target_rows:,} training and " * bool(pattern.target_rows)
    return f"{train}{num_test_rows:,} test rows translated {direction}"


def list_translated_rows(experiment: Experiment, dataset: Dataset) -> set[str]:
    """List the ids of rows that an experiment reads in translation, translated or not.

    New translations can show that a row is a translation of a test row. The row that takes its
    place is then listed, too.

    Raises:
        InputError: The data set has too few rows.
    """
    ids = set[str]()
    for pattern in (pattern for pattern in experiment.patterns if pattern.translate):
        for index in {index for index, _ in experiment.draws_and_seeds}:
            drawn = draw(
                dataset, experiment.find_source_lang(pattern), pattern, experiment.sampling, index,
                refuse_untranslated=False,
            )  # fmt: skip
            ids |= {*drawn.source} if pattern.translate != "test" else {*drawn.target, *drawn.test}
    return ids
