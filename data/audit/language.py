"""Rows whose text is not in the language that they claim.

The detector is lingua (n-gram models of short text). Its quick mode passes the rows whose language
it confirms, and its accurate one, half as fast, judges the others: the quick one alone takes 3.6%
of the English built-in headlines for another language.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from xlt.data.audit.example_rows import example_rows
from xlt.data.audit.used_rows import UsedRows
from xlt.data.core.finding import Finding
from xlt.data.dataset.schema import Dataset

if TYPE_CHECKING:
    from lingua import Language

COMMON = ("ar", "de", "en", "es", "fr", "it", "ja", "ko", "nl", "pt", "ru", "zh")
"""Languages that texts may turn out to be in, besides those of the data."""
MAX_CONFIDENCE = 0.1
"""How likely the claimed language may be, of all that are considered, for a row to be told. It is
0 for another script; at 0.02 only a third of the English built-in headlines under a German code
would be told, at 0.1 93%."""
MIN_LETTERS = 20
"""Letters of a text that is judged; Japanese, Chinese and Korean ones count twice. Tickers and
names (Toyota Motor Corp, Volkswagen AG, 日経平均株価) have fewer."""
MIN_HAN_LETTERS = 60
"""The same for Japanese rows that seem Chinese: Japanese headlines of ideographs alone, an
institution's name and what it announced, have up to 24 characters."""
MAX_SHARE = 0.01
"""Of a language's rows, or of its drawn ones, that may seem to be in another before it is a
warning. At most 0.4% of correct rows are told, foreign names and rows of markup most of them: false
alarms and recall as benchmarks/gate_accuracy.py measures them are in docs/benchmarks.md."""
NUM_ALLOWED = 2
"""Rows that are no warning however few a language has."""
NUM_CHARACTERS = 200
"""Of a text that are read; more only cost time."""
_CHUNK_ROWS = 50_000
_WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7af]")


def check(dataset: Dataset, used_rows: UsedRows) -> list[Finding]:
    """Detect the language of every row, and tell those whose own is as good as ruled out.

    More than :data:`MAX_SHARE` of a language's rows, or of those that cells use, are a warning if
    they are more than :data:`NUM_ALLOWED`; fewer are an info, for no detector is
    always right. Languages that lingua does not know are told and not judged.
    """
    known = _languages()
    findings = []
    columns = dataset.table.select(["id", "text", "lang"])
    for lang, rows in dataset.by_lang.items():
        if _base(lang) not in known:
            findings.append(
                Finding(
                    "language",
                    "info",
                    f"no detector for {lang}: its rows were not judged",
                    "read some of them",
                    count=len(rows),
                )
            )
    odd = misread(columns.to_pydict(), set(dataset.by_lang))
    for lang, read in odd.items():
        num_rows = len(dataset.by_lang[lang])
        used = [row_id for row_id in read if used_rows.uses(row_id)]
        num_used = sum(used_rows.uses(row.id) for row in dataset.by_lang[lang])
        many = any(
            num > max(NUM_ALLOWED, MAX_SHARE * out_of)
            for num, out_of in ((len(read), num_rows), (len(used), num_used))
        )
        others = ", ".join(f"{num} {other}" for other, num in Counter(read.values()).most_common(3))
        drawn = f", {len(used)} of them among the {num_used} drawn" if used_rows.draws else ""
        findings.append(
            Finding(
                "language",
                "warning" if many else "info",
                f"{len(read)} of {num_rows} {lang} rows seem to be in another language "
                f"({others}){drawn}",
                "correct the language of these rows, or remove them",
                count=len(read),
                examples=example_rows(dataset, used or read),
            )
        )
    return findings


def misread(columns: dict[str, list[str]], langs: Iterable[str]) -> dict[str, dict[str, str]]:
    """Rows that seem to be in another language than they claim.

    Args:
        columns: ``id``, ``text`` and ``lang`` (as claimed), num_rows values each.
        langs: Every language that is claimed; these and :data:`COMMON` are told apart.

    Returns:
        Claimed language -> id -> the language that the row seems to be in.
    """
    from lingua import LanguageDetectorBuilder

    known = _languages()
    considered = {known[base] for base in (*map(_base, langs), *COMMON) if base in known}
    builder = LanguageDetectorBuilder.from_languages(*considered)
    accurate, quick = builder.build(), builder.with_low_accuracy_mode().build()
    codes = {language: language.iso_code_639_1.name.lower() for language in considered}
    found: dict[str, dict[str, str]] = {}
    for start in range(0, len(columns["text"]), _CHUNK_ROWS):
        ids, texts, claims = (
            columns[name][start : start + _CHUNK_ROWS] for name in ("id", "text", "lang")
        )
        texts = [text[:NUM_CHARACTERS] for text in texts]
        guesses = quick.detect_languages_in_parallel_of(texts)
        unsure = [
            n
            for n, (guess, claim) in enumerate(zip(guesses, claims, strict=True))
            if guess is not None and known.get(_base(claim)) not in (None, guess)
        ]
        confidences = accurate.compute_language_confidence_values_in_parallel(
            [texts[n] for n in unsure]
        )
        for n, values in zip(unsure, confidences, strict=True):
            claimed, best = codes[known[_base(claims[n])]], codes[values[0].language]
            confidence = next(value.value for value in values if codes[value.language] == claimed)
            is_long = _num_letters(texts[n]) >= _num_needed(claimed, best)
            if best != claimed and confidence < MAX_CONFIDENCE and is_long:
                found.setdefault(claims[n], {})[ids[n]] = best
    return {lang: found[lang] for lang in sorted(found)}


def _languages() -> dict[str, Language]:
    """ISO 639-1 and 639-3 code -> the language of the detector."""
    from lingua import Language

    languages = {language.iso_code_639_3.name.lower(): language for language in Language.all()}
    return languages | {lang.iso_code_639_1.name.lower(): lang for lang in languages.values()}


def _base(lang: str) -> str:
    """``zh`` of ``zh-Hant``."""
    return lang.split("-")[0]


def _num_letters(text: str) -> int:
    return sum(map(str.isalpha, text)) + len(_WIDE.findall(text))


def _num_needed(claimed: str, seeming: str) -> int:
    return MIN_HAN_LETTERS if (claimed, seeming) == ("ja", "zh") else MIN_LETTERS
