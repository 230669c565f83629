"""Translate the rows of a data set, as a step of `xlt data prepare`."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from xlt.data.core.errors import InputError, unknown
from xlt.data.dataset.schema import Dataset
from xlt.data.dataset.translations import Direction
from xlt.data.sources.translations.add import Given, add_translations
from xlt.data.sources.translations.cache import TranslationCache
from xlt.data.sources.translations.model import Translate
from xlt.trainables.translation.translator import Translator

Progress = Callable[[int, int], None]
"""Function that is called with (texts translated, texts to translate)."""


@dataclass(frozen=True)
class TranslationReport:
    """The translations that a step made.

    Attributes:
        direction: The languages.
        origin: The model and the settings of the generation.
        max_length: Number of tokens to which texts and translations are cut.
        num_rows: Number of rows that it translated.
        num_cached: Number of different texts that an earlier call had translated.
        num_texts: Number of different texts.
        num_sources_cut: Number of different texts that were longer than ``max_length``.
        num_cut: Number of translations that reached ``max_length``, so that their end may be
            missing.
        num_empty: Number of rows that are left without a translation, because it is empty.
    """

    direction: Direction
    origin: str
    max_length: int
    num_rows: int
    num_cached: int
    num_texts: int
    num_sources_cut: int
    num_cut: int
    num_empty: int

    def describe(self) -> str:
        """Format the report as lines of text."""
        lines = [
            f"Translated {self.direction}: {self.num_rows:,} rows, {self.num_texts:,} different "
            f"texts, {self.num_cached:,} of them from the cache, by {self.origin}"
        ]
        if self.num_sources_cut:
            lines.append(
                f"  {self.num_sources_cut:,} texts were cut to {self.max_length} tokens before "
                "they were translated; a larger max_length keeps them whole"
            )
        if self.num_cut:
            lines.append(
                f"  {self.num_cut:,} translations reached {self.max_length} tokens, so that their "
                "end may be missing"
            )
        if self.num_empty:
            lines.append(f"  {self.num_empty:,} rows have none, because the model wrote nothing")
        return "\n".join(lines)


def translate_rows(
    dataset: Dataset,
    settings: Translate,
    ids: Collection[str] | None = None,
    progress: Progress = lambda num_texts, num_texts_in_all: None,
) -> tuple[Dataset, TranslationReport]:
    """Translate the rows that have no translation yet.

    Each batch goes to the cache, so that a call after an interruption resumes.

    Args:
        dataset: The data set; it is not changed.
        settings: The model and the direction.
        ids: Ids of the rows to translate; None: all rows of the language.
        progress: Function that receives the progress.

    Returns:
        The data set with the translations, and the report.

    Raises:
        InputError: No row has the language, or the model cannot be used, see :class:`Translator`.
    """
    direction = settings.direction
    if direction.source not in dataset.by_lang:
        raise InputError(unknown("language", direction.source, dataset.by_lang), "translate.from")
    known = dataset.translations.find(direction)
    new = [
        row.id
        for row in dataset.by_lang[direction.source]
        if row.id not in known and (ids is None or row.id in ids)
    ]
    rows = dataset.rows(new)
    texts, pairs = rows["text"].to_pylist(), rows["text_pair"].to_pylist()
    translator = Translator(settings)
    cache = TranslationCache(translator.origin)
    wanted = list(dict.fromkeys(text for text in (*texts, *pairs) if text is not None))
    missing = [text for text in wanted if text not in cache.translations]
    num_cached = num_done = len(wanted) - len(missing)
    progress(num_done, len(wanted))
    for batch in translator.translate(missing):
        cache.add(batch)
        num_done += len(batch)
        progress(num_done, len(wanted))
    translated = [cache.translations[text] for text in wanted]
    given = []
    for row_id, text, pair in zip(new, texts, pairs, strict=True):
        first, second = (None if t is None else cache.translations[t].text for t in (text, pair))
        if all(t is None or t.strip() for t in (first, second)):
            given.append(
                Given(row_id, direction.target, first or "", second, translator.origin, row_id)
            )
    report = TranslationReport(
        direction, translator.origin, settings.max_length, len(given), num_cached, len(wanted),
        sum(text.source_was_cut for text in translated), sum(text.was_cut for text in translated),
        len(new) - len(given),
    )  # fmt: skip
    if given:
        dataset = add_translations(dataset, given, f"translate {direction}")
    return dataset, report
