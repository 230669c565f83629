"""The source ``synthetic``: generated English and Japanese headlines, about ESG or other news.

It replaces a licensed news archive, and works offline. A headline is positive if its concept
belongs to an ESG topic. Each concept is rare (about one headline in 450), so that a few Japanese
rows cannot teach most Japanese concepts; only pre-training can. Each headline has its exact
translation into the other language.
"""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date, timedelta
from typing import Literal, NamedTuple

import pyarrow as pa
import pydantic

from xlt.data.core.seeds import derive_seed
from xlt.data.corpora.phrases import Phrasebook, Sentence, draw_one, is_reserved, load_phrasebook
from xlt.data.dataset.schema import Dataset
from xlt.data.dataset.translations import TRANSLATION_SCHEMA, Translations
from xlt.data.sources.options import SourceOptions
from xlt.data.sources.reading import Progress, Reading

FIRST_DAY = date(2021, 4, 1)
DAYS = tuple(FIRST_DAY + timedelta(number) for number in range(579))
"""Days of publication, until 2022-10-31."""
OTHER = {"en": "ja", "ja": "en"}
"""Language -> language of its translations."""


class Headline(NamedTuple):
    """A headline with its label, whether it is wrong, and its translation."""

    text: str
    lang: str
    label: int
    is_wrong: bool
    translation: str


class Options(SourceOptions):
    """Numbers of headlines and seed; the same options give the same rows on every machine."""

    source: Literal["synthetic"] = "synthetic"
    """Name in SOURCES."""
    num_source: int = pydantic.Field(default=5000, gt=0)
    """English headlines; half of them (rounded down) are positive."""
    num_target: int = pydantic.Field(default=5000, gt=0)
    """Japanese headlines; half of them (rounded down) are positive."""
    seed: int = 0
    """Root seed of the headlines."""
    label_noise: float = pydantic.Field(default=0.04, ge=0, lt=0.5)
    """Share of wrong labels in each class, as in news archives."""


def read(options: Options, progress: Progress) -> Reading:
    """Generate the data set.

    Returns:
        num_source + num_target headlines with unique texts, in random order; id and date are
        independent of language and label. Every headline has a translation.
    """
    seed = options.seed
    book = load_phrasebook()
    rows = [
        headline
        for lang, num in (("en", options.num_source), ("ja", options.num_target))
        for headline in _draw_labelled(book, lang, num, options.label_noise, seed)
    ]
    rng = random.Random(derive_seed(seed, "synthetic", "order"))
    rng.shuffle(rows)
    ids = [f"synthetic-{number:05d}" for number in range(len(rows))]
    langs = [row.lang for row in rows]
    dataset = Dataset.from_table(
        pa.table(
            {
                "id": ids,
                "text": [row.text for row in rows],
                "lang": langs,
                "label": [row.label for row in rows],
                "published": [draw_one(rng, DAYS) for _ in rows],
                "source": ["synthetic"] * len(rows),
            }
        ),
        "synthetic",
    )
    columns = {
        "id": ids,
        "source_lang": langs,
        "lang": [OTHER[lang] for lang in langs],
        "text": [row.translation for row in rows],
        "text_pair": [None] * len(rows),
        "origin": ["synthetic"] * len(rows),
    }
    translations = Translations(pa.table(columns, schema=TRANSLATION_SCHEMA))
    wrong = frozenset(row_id for row_id, row in zip(ids, rows, strict=True) if row.is_wrong)
    return Reading(replace(dataset, wrong_labels=wrong, translations=translations))


def _draw_labelled(
    book: Phrasebook, lang: str, num: int, label_noise: float, seed: int
) -> list[Headline]:
    """Draw different texts of one language, with labels and translations."""
    rng = random.Random(derive_seed(seed, "synthetic", lang))
    seen: set[str] = set()
    rows = []
    for positive, share in ((True, num // 2), (False, num - num // 2)):
        topics = sorted(
            topic for topic in book.topics if (topic in book.positive_topics) == positive
        )
        drawn: list[tuple[Sentence, str]] = []
        while len(drawn) < share:
            sentence = book.draw(rng, draw_one(rng, topics))
            text = sentence.text(lang)
            if is_reserved(text) and text not in seen:
                seen.add(text)
                drawn.append((sentence, text))
        # The same number of labels is flipped in both classes, so that labels stay balanced.
        num_wrong = round(label_noise * (num // 2))
        for number, (sentence, text) in enumerate(drawn):
            is_wrong = number < num_wrong
            translation = sentence.text(OTHER[lang])
            label = int(positive != is_wrong)
            rows.append(Headline(text, lang, label, is_wrong, translation))
    return rows
