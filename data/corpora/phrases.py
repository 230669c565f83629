"""Concepts and sentence frames in English and Japanese, and the sentences drawn from them.

``lexicon.tsv`` has the concepts of each topic, and the actors and places of all topics.
``templates.tsv`` has translated sentence frames, for one topic or for all (``any``). The built-in
headlines and the generated pre-training documents are both drawn here.
"""

from __future__ import annotations

import csv
import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Formatter
from typing import NamedTuple, TypeVar

T = TypeVar("T")

LANGUAGES = ("en", "ja")
ESG_GROUPS = frozenset({"environmental", "social", "governance"})
NEUTRAL_SHARE = 0.6
"""Share of sentences whose frame fits every topic, so that the label depends on the concept."""

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Translation:
    """A phrase in both languages of :data:`LANGUAGES`."""

    en: str
    ja: str

    def text(self, lang: str) -> str:
        """Give the phrase in ``lang``."""
        return self.ja if lang == "ja" else self.en


YEARS = tuple(Translation(str(year), str(year)) for year in range(2023, 2051))
NUMBERS = tuple(Translation(str(number), str(number)) for number in range(3, 10))


class Sentence(NamedTuple):
    """A translated frame with translated fillers, which can be written in both languages."""

    frame: Translation
    fillers: dict[str, Translation]

    def text(self, lang: str, filler_langs: dict[str, str] | None = None) -> str:
        """Write the sentence in ``lang``.

        Args:
            lang: Language of the frame, and of the fillers that are not in ``filler_langs``.
            filler_langs: Slot -> language, for code-mixed text.
        """
        find = (filler_langs or {}).get
        parts = []
        for literal, slot in _split_frame(self.frame.text(lang)):
            parts.append(literal)
            if slot:
                parts.append(getattr(self.fillers[slot], find(slot, lang)))
        text = "".join(parts)
        return text[0].upper() + text[1:]


@dataclass(frozen=True, slots=True)
class Phrasebook:
    """The parts of sentences.

    Attributes:
        topics: Topic -> its concepts.
        positive_topics: Topics about ESG.
        frames: Topic -> its frames; frames under ``"any"`` fit every topic.
        actors: Companies and public bodies without names, for every topic.
        places: Countries, regions and cities, for every topic.
    """

    topics: dict[str, tuple[Translation, ...]]
    positive_topics: frozenset[str]
    frames: dict[str, tuple[Translation, ...]]
    actors: tuple[Translation, ...]
    places: tuple[Translation, ...]

    def draw(self, rng: random.Random, topic: str) -> Sentence:
        """Draw a sentence about a topic."""
        kind = "any" if rng.random() < NEUTRAL_SHARE else topic
        first, second = draw_two(rng, self.topics[topic])
        year, number = draw_one(rng, YEARS), draw_one(rng, NUMBERS)
        return Sentence(
            draw_one(rng, self.frames[kind]),
            {
                "x": first,
                "y": second,
                "actor": draw_one(rng, self.actors),
                "place": draw_one(rng, self.places),
                "year": year,
                "num": number,
            },
        )


def draw_one(rng: random.Random, items: Sequence[T]) -> T:
    """Draw the item that ``rng.choice(items)`` draws, in half of its time."""
    return items[_draw_below(rng, len(items))]


def draw_two(rng: random.Random, items: Sequence[T]) -> tuple[T, T]:
    """Draw the items that ``rng.sample(items, 2)`` draws, in a fifth of its time.

    Args:
        rng: Random generator.
        items: 2 to 21 items; ``sample`` draws from more in another way.
    """
    last = len(items) - 1
    first, second = _draw_below(rng, last + 1), _draw_below(rng, last)
    return items[first], items[last if second == first else second]


def _draw_below(rng: random.Random, limit: int) -> int:
    """Draw a number below ``limit``, as :mod:`random` does for its functions."""
    bits = limit.bit_length()
    while (number := rng.getrandbits(bits)) >= limit:
        pass
    return number


@cache
def _split_frame(frame: str) -> tuple[tuple[str, str | None], ...]:
    """Split a frame into literal texts, each with the name of the slot after it."""
    return tuple((literal, slot) for literal, slot, _, _ in Formatter().parse(frame))


@cache
def load_phrasebook() -> Phrasebook:
    """Read the two tables in the folder of this file."""
    topics: dict[str, list[Translation]] = {}
    frames: dict[str, list[Translation]] = {}
    positive = set()
    for row in _read_tsv("lexicon.tsv"):
        topics.setdefault(row["topic"], []).append(Translation(row["en"], row["ja"]))
        if row["group"] in ESG_GROUPS:
            positive.add(row["topic"])
    for row in _read_tsv("templates.tsv"):
        frames.setdefault(row["topic"], []).append(Translation(row["en"], row["ja"]))
    actors, places = topics.pop("actor"), topics.pop("place")
    return Phrasebook(
        topics={topic: tuple(pairs) for topic, pairs in topics.items()},
        positive_topics=frozenset(positive),
        frames={topic: tuple(pairs) for topic, pairs in frames.items()},
        actors=tuple(actors),
        places=tuple(places),
    )


def is_reserved(text: str) -> bool:
    """Whether a sentence may be a headline, and must therefore not occur in a document.

    The text alone decides. So with any seeds and sizes, no document contains a headline on which a
    model is later trained or tested.
    """
    return hashlib.sha256(text.encode()).digest()[0] % 2 == 0


@cache
def tables_digest() -> str:
    """Compute the SHA-256 (hex) of both tables."""
    digest = hashlib.sha256()
    for name in ("lexicon.tsv", "templates.tsv"):
        digest.update((_FOLDER / name).read_bytes())
    return digest.hexdigest()


def _read_tsv(name: str) -> list[dict[str, str]]:
    with (_FOLDER / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
