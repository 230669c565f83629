"""The corpus ``phrasebook``: generated documents in English and Japanese.

A document has sentences on one topic that are not headlines of the data set. There are three kinds
of documents. Monolingual documents show which concepts belong together. Code-mixed documents have
sentences with single phrases in the other language. Translated documents give a sentence in both
languages. The last two connect the languages, as loan words, bilingual pages and parallel text do
in web-scale pre-training.
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
"""Version of the documents; raise it if the same options and tables give other documents."""


class Options(CorpusOptions):
    """Numbers and kinds of the generated documents."""

    corpus: Literal["phrasebook"] = "phrasebook"
    """Name in CORPORA."""
    num_documents: int = pydantic.Field(default=8000, gt=0)
    """Number of English documents, and of Japanese documents."""
    num_mixed: int = pydantic.Field(default=16000, gt=0)
    """Number of documents in both languages."""
    num_sentences: int = pydantic.Field(default=2, gt=1)
    """Sentences in a document, all about one topic."""
    translated_share: float = pydantic.Field(default=0.5, ge=0, le=1)
    """Share of translated documents among those in both languages; the others are code-mixed."""
    num_keywords: int = pydantic.Field(default=8, ge=0)
    """Concepts of the topic that are listed below a document, as in news archives; 0: no list."""
    switch_share: float = pydantic.Field(default=0.4, ge=0, le=1)
    """Share of phrases in the other language, in code-mixed documents."""


def content_digest(options: CorpusOptions) -> str:
    """Give the version of the documents and the hash of the phrase tables."""
    del options
    return f"{VERSION}:{tables_digest()}"


def uses_dataset(options: CorpusOptions) -> bool:
    """Whether texts of the data set are added: never."""
    del options
    return False


def documents(
    options: CorpusOptions, dataset: Dataset, held_out: frozenset[str]
) -> list[tuple[str, str]]:
    """Generate (text, lang) of 2 x num_documents + num_mixed documents, by language."""
    del dataset, held_out  # all headlines are reserved sentences, which are skipped
    settings = cast(Options, options)
    book = load_phrasebook()
    rows = []
    for lang in (*LANGUAGES, MIXED):
        rng = random.Random(derive_seed(settings.seed, "phrasebook", lang))
        for _ in range(settings.num_mixed if lang == MIXED else settings.num_documents):
            topic = rng.choice(sorted(book.topics))
            lines = _document(book, rng, lang, topic, settings)
            if settings.num_keywords:
                lines.append(_keywords(book, rng, lang, topic, settings.num_keywords))
            rows.append(("\n".join(lines), lang))
    return rows


def _document(
    book: Phrasebook, rng: random.Random, lang: str, topic: str, settings: Options
) -> list[str]:
    """Generate the sentences of a document in one language, or in both if ``lang`` is MIXED."""
    if lang != MIXED:
        return [_sentence(book, rng, topic, lang, 0.0) for _ in range(settings.num_sentences)]
    sentences: list[str] = []
    if rng.random() < settings.translated_share:
        while len(sentences) < settings.num_sentences - 1:
            sentences += _translated(book, rng, topic)
    else:
        while len(sentences) < settings.num_sentences:
            main = rng.choice(LANGUAGES)
            sentences.append(_sentence(book, rng, topic, main, settings.switch_share))
    return sentences


def _keywords(book: Phrasebook, rng: random.Random, lang: str, topic: str, num: int) -> str:
    """List concepts of a topic; in a document of both languages, each in a random language."""
    concepts = rng.sample(book.topics[topic], num)
    return "、".join(
        concept.text(rng.choice(LANGUAGES) if lang == MIXED else lang) for concept in concepts
    )


def _sentence(
    book: Phrasebook, rng: random.Random, topic: str, lang: str, switch_share: float
) -> str:
    """Generate a sentence that is not a headline."""
    other = LANGUAGES[1 - LANGUAGES.index(lang)]
    while True:
        sentence = book.draw(rng, topic)
        switched = {slot: other for slot in sorted(sentence.fillers) if rng.random() < switch_share}
        text = sentence.text(lang, switched)
        if not is_reserved(text):
            return text


def _translated(book: Phrasebook, rng: random.Random, topic: str) -> list[str]:
    """Generate a sentence in both languages, in random order."""
    while True:
        sentence: Sentence = book.draw(rng, topic)
        texts = [sentence.text(lang) for lang in rng.sample(LANGUAGES, len(LANGUAGES))]
        if not any(is_reserved(text) for text in texts):
            return texts
