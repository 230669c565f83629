"""Sentences on languages that a pattern needs and that cannot be drawn."""

from __future__ import annotations

from xlt.data.core.errors import unknown
from xlt.data.dataset.patterns import Pattern
from xlt.data.dataset.schema import Dataset
from xlt.data.dataset.source_langs import SourceLang, join_source_langs, list_source_langs


def language_problems(dataset: Dataset, source_lang: SourceLang, pattern: Pattern) -> list[str]:
    """Write a sentence for each language that the pattern needs and the data set lacks.

    Also for rows of one language that would be drawn both as source and as target rows, and for
    fewer source rows than every language needs.
    """
    target_lang, num_classes = pattern.target_lang, len(dataset.classes)
    sources = list_source_langs(source_lang) if pattern.source_rows else ()
    if target_lang in sources and (pattern.target_rows or pattern.translate):
        return [refuse_same_language(pattern)]
    problems = [
        f"{pattern.name}: " + unknown(kind, lang, dataset.by_lang)
        for kind, langs in (("target language", [target_lang]), ("source language", sources))
        for lang in langs
        if lang not in dataset.by_lang
    ]
    least = len(sources) * num_classes if len(sources) > 1 else 0
    if pattern.source_rows < least:
        problems.append(
            f"{pattern.name}: {pattern.source_rows} source rows give not every class a row in each "
            f"of {join_source_langs(source_lang)}; set source_rows to {least} or more"
        )
    return problems


def refuse_same_language(pattern: Pattern) -> str:
    """Write the sentence for a pattern whose source and target rows are in one language."""
    return (
        f"{pattern.name}: source and target language are both {pattern.target_lang!r}; "
        "set source_rows: 0 and give the number of all rows as target_rows"
    )
