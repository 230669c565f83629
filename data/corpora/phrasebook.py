"""Generated bilingual documents: same-topic sentences that are not headlines of the data set.

Three kinds. Monolingual documents say which concepts go together. Code-mixed documents have
sentences of either language with single phrases in the other, and translated documents give a
sentence in both languages; these two tie the languages together, as loan words, bilingual pages
and parallel text do in web-scale pre-training.
"""

from __future__ import annotations

import random
from typing import Literal, cast

import pydantic

from xlt.data.core.seeds import derive_seed
from xlt.data.corpora.corpus import MIXED, CorpusOptions
from xlt.data.corpora.phrases import (
    LANGUAGES,
    Phrasebook,
    Sentence,
    is_reserved,
    load_phrasebook,
    tables_digest,
)
from xlt.data.dataset.schema import Dataset

VERSION = 2
"""Raised when the same options and tables give other documents."""


class Options(CorpusOptions):
    """Sizes and kinds of the generated documents."""

    corpus: Literal["phrasebook"] = "phrasebook"
    """This corpus."""
    num_documents: int = pydantic.Field(default=8000, gt=0)
    """English documents, and as many Japanese ones."""
    num_mixed: int = pydantic.Field(default=16000, gt=0)
    """Documents in both languages."""
    num_sentences: int = pydantic.Field(default=2, gt=1)
    """Sentences a document, all about one topic."""
    translated_share: float = pydantic.Field(default=0.5, ge=0, le=1)
    """Share of the mixed documents that give sentences in both languages; the rest code-mixes."""
    num_keywords: int = pydantic.Field(default=8, ge=0)
    """Concepts of the topic listed below a document, as news archives do; 0: no list."""
    switch_share: float = pydantic.Field(default=0.4, ge=0, le=1)
    """Share of the phrases in the other language, in code-mixed documents."""


def content_digest(options: CorpusOptions) -> str:
    """Version and hash of the phrase tables."""
    del options
    return f"{VERSION}:{tables_digest()}"


def uses_dataset(options: CorpusOptions) -> bool:
    """Never: documents come from the tables alone."""
    del options
    return False


def documents(
    options: CorpusOptions, dataset: Dataset, held_out: frozenset[str]
) -> list[tuple[str, str]]:
    """2 x num_documents + num_mixed of (text, lang), kind by kind."""
    del dataset, held_out  # reserved sentences are skipped, and all headlines are reserved
    settings = cast(Options, options)
    book = load_phrasebook()
    rows = []
    for kind in (*LANGUAGES, MIXED):
        rng = random.Random(derive_seed(settings.seed, "phrasebook", kind))
        for _ in range(settings.num_mixed if kind == MIXED else settings.num_documents):
            topic = rng.choice(sorted(book.topics))
            lines = _document(book, rng, kind, topic, settings)
            if settings.num_keywords:
                lines.append(_keywords(book, rng, kind, topic, settings.num_keywords))
            rows.append(("\n".join(lines), kind))
    return rows


def _document(
    book: Phrasebook, rng: random.Random, kind: str, topic: str, settings: Options
) -> list[str]:
    """The sentences of a document."""
    if kind != MIXED:
        return [_sentence(book, rng, topic, kind, 0.0) for _ in range(settings.num_sentences)]
    sentences: list[str] = []
    if rng.random() < settings.translated_share:
        while len(sentences) < settings.num_sentences - 1:
            sentences += _translated(book, rng, topic)
    else:
        while len(sentences) < settings.num_sentences:
            lang = rng.choice(LANGUAGES)
            sentences.append(_sentence(book, rng, topic, lang, settings.switch_share))
    return sentences


def _keywords(book: Phrasebook, rng: random.Random, kind: str, topic: str, num: int) -> str:
    """Concepts of a topic, in a mixed document each in either language."""
    concepts = rng.sample(book.topics[topic], num)
    return "、".join(
        concept.text(rng.choice(LANGUAGES) if kind == MIXED else kind) for concept in concepts
    )


def _sentence(
    book: Phrasebook, rng: random.Random, topic: str, lang: str, switch_share: float
) -> str:
    """A sentence that is no headline."""
    other = LANGUAGES[1 - LANGUAGES.index(lang)]
    while True:
        sentence = book.draw(rng, topic)
        switched = {slot: other for slot in sorted(sentence.fillers) if rng.random() < switch_share}
        text = sentence.text(lang, switched)
        if not is_reserved(text):
            return text


def _translated(book: Phrasebook, rng: random.Random, topic: str) -> list[str]:
    """A sentence in both languages, in either order."""
    while True:
        sentence: Sentence = book.draw(rng, topic)
        texts = [sentence.text(lang) for lang in rng.sample(LANGUAGES, len(LANGUAGES))]
        if not any(is_reserved(text) for text in texts):
            return texts
