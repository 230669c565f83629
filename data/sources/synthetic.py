"""The source ``synthetic``: generated English and Japanese headlines, about ESG or other news.

It replaces a licensed news archive, and works offline. A headline is positive if its concept
belongs to an ESG topic. Each concept is rare (about one headline in 450), so that a few Japanese
rows cannot teach most Japanese concepts; only pre-training can.
"""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date, timedelta
from typing import Literal

import pyarrow as pa
import pydantic

from xlt.data.core.seeds import derive_seed
from xlt.data.corpora.phrases import Phrasebook, is_reserved, load_phrasebook
from xlt.data.dataset.schema import Dataset
from xlt.data.sources.options import SourceOptions
from xlt.data.sources.reading import Progress, Reading

FIRST_DAY = date(2021, 4, 1)
LAST_DAY = date(2022, 10, 31)


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
        independent of language and label.
    """
    seed = options.seed
    book = load_phrasebook()
    rows = [
        (text, lang, label, is_wrong)
        for lang, num in (("en", options.num_source), ("ja", options.num_target))
        for text, label, is_wrong in _draw_labelled(book, lang, num, options.label_noise, seed)
    ]
    rng = random.Random(derive_seed(seed, "synthetic", "order"))
    rng.shuffle(rows)
    ids = [f"synthetic-{number:05d}" for number in range(len(rows))]
    num_days = (LAST_DAY - FIRST_DAY).days + 1
    dataset = Dataset.from_table(
        pa.table(
            {
                "id": ids,
                "text": [text for text, *_ in rows],
                "lang": [lang for _, lang, *_ in rows],
                "label": [label for _, _, label, _ in rows],
                "published": [FIRST_DAY + timedelta(rng.randrange(num_days)) for _ in rows],
                "source": ["synthetic"] * len(rows),
            }
        ),
        "synthetic",
    )
    wrong = frozenset(row_id for row_id, row in zip(ids, rows, strict=True) if row[3])
    return Reading(replace(dataset, wrong_labels=wrong))


def _draw_labelled(
    book: Phrasebook, lang: str, num: int, label_noise: float, seed: int
) -> list[tuple[str, int, bool]]:
    """Draw different texts of one language, with labels, and whether they are wrong."""
    rng = random.Random(derive_seed(seed, "synthetic", lang))
    seen: set[str] = set()
    rows = []
    for positive, share in ((True, num // 2), (False, num - num // 2)):
        topics = sorted(
            topic for topic in book.topics if (topic in book.positive_topics) == positive
        )
        texts: list[str] = []
        while len(texts) < share:
            text = book.draw(rng, rng.choice(topics)).text(lang)
            if is_reserved(text) and text not in seen:
                seen.add(text)
                texts.append(text)
        # The same number of labels is flipped in both classes, so that labels stay balanced.
        num_wrong = round(label_noise * (num // 2))
        wrong = [i < num_wrong for i in range(share)]
        rows += [(t, int(positive != w), w) for t, w in zip(texts, wrong, strict=True)]
    return rows
