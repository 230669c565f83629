"""The check ``language``: finds texts that are not in the language that their row claims.

The detector is lingua (n-gram models of short texts). Its quick mode confirms most rows, and its
accurate mode, half as fast, judges the others, because the quick mode alone detects another
language for 3.6% of the English built-in headlines.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from xlt.data.audit.example_rows import example_rows
from xlt.data.audit.sample_rows import sample_rows
from xlt.data.audit.used_rows import UsedRows
from xlt.data.core.finding import Finding
from xlt.data.dataset.languages import parse_language
from xlt.data.dataset.schema import Dataset

if TYPE_CHECKING:
    from lingua import Language

COMMON = ("ar", "de", "en", "es", "fr", "it", "ja", "ko", "nl", "pt", "ru", "zh")
"""Languages that are detected besides those of the data set."""
MAX_CONFIDENCE = 0.1
"""Probability of the claimed language below which a row is reported. The probability is 0 for
another script. If English built-in headlines claim to be German, the limit 0.1 reports 93% of them
and 0.02 only a third."""
MIN_LETTERS = 20
"""Fewest letters of a text that is judged; Japanese, Chinese and Korean letters count twice.
Tickers and names (Toyota Motor Corp, Volkswagen AG, 日経平均株価) have fewer."""
MIN_HAN_LETTERS = 60
"""Fewest letters of a Japanese text that may be reported as Chinese. Japanese headlines of Chinese
characters, such as names of an institution and its plan, have up to 24."""
MAX_SHARE = 0.01
"""Share of reported rows in a language, or in its drawn rows, above which they are a warning. At
most 0.4% of correct rows are reported, mostly foreign names and markup; docs/benchmarks.md has the
false alarms and the recall that benchmarks/gate_accuracy.py measures."""
NUM_ALLOWED = 2
"""Reported rows that are never a warning, even in a small language."""
NUM_CHARACTERS = 200
"""Characters of a text that are used; more take time and do not help."""
_CHUNK_ROWS = 50_000
_WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7af]")


def check(dataset: Dataset, used_rows: UsedRows) -> list[Finding]:
    """Detect the language of rows, and report rows that hardly have their claimed language.

    They are a warning if they are more than :data:`NUM_ALLOWED`, and more than :data:`MAX_SHARE`
    of a language's rows or of its used rows. Fewer are an info, because no detector is always
    right. Of a language with very many rows a sample (:func:`sample_rows`) and the used rows are
    judged. An info names the languages that the detector does not know.
    """
    known = _languages()
    findings = []
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
    samples = {lang: {row.id for row in sample_rows(dataset, lang)} for lang in dataset.by_lang}
    judged = [
        row.id
        for lang, rows in dataset.by_lang.items()
        for row in rows
        if row.id in samples[lang] or (used_rows.draws and used_rows.uses(row.id))
    ]
    columns = dataset.rows(judged).select(["id", "text", "lang"]).to_pydict()
    for lang, read in misread(columns, set(dataset.by_lang)).items():
        num_rows, sample = len(dataset.by_lang[lang]), samples[lang]
        seen = [row_id for row_id in read if row_id in sample]
        used = [row_id for row_id in read if used_rows.uses(row_id)]
        num_used = sum(used_rows.uses(row.id) for row in dataset.by_lang[lang])
        many = any(
            num > max(NUM_ALLOWED, MAX_SHARE * out_of)
            for num, out_of in ((len(seen), len(sample)), (len(used), num_used))
        )
        others = ", ".join(f"{num} {other}" for other, num in Counter(read.values()).most_common(3))
        what = f"{len(seen)} of {len(sample)} {lang} rows"
        drawn = f", {len(used)} of them among the {num_used} drawn" if used_rows.draws else ""
        if len(sample) < num_rows:
            what += f", a sample of {num_rows},"
            drawn = f", and {len(used)} of the {num_used} drawn" if used_rows.draws else ""
        findings.append(
            Finding(
                "language",
                "warning" if many else "info",
                f"{what} seem to be in another language ({others}){drawn}",
                "correct the language of these rows, or remove them",
                count=len(read),
                examples=example_rows(dataset, used or read),
            )
        )
    return findings


def misread(columns: dict[str, list[str]], langs: Iterable[str]) -> dict[str, dict[str, str]]:
    """Find rows that seem to be in another language than they claim.

    Args:
        columns: ``id``, ``text`` and ``lang`` (the claimed language), num_rows values each.
        langs: All claimed languages; the detector knows these and :data:`COMMON`.

    Returns:
        Claimed language -> id -> detected language.
    """
    from lingua import LanguageDetectorBuilder

    known = _languages()
    considered = {known[base] for base in (*map(_base, langs), *COMMON) if base in known}
    builder = LanguageDetectorBuilder.from_languages(*considered)
    accurate, quick = builder.build(), builder.with_low_accuracy_mode().build()
    codes = {language: code for code, language in known.items()}
    detected: dict[str, dict[str, str]] = {}
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
                detected.setdefault(claims[n], {})[ids[n]] = best
    accurate.unload_language_models()  # type: ignore[no-untyped-call]  # 200 MB, shared by quick
    return {lang: detected[lang] for lang in sorted(detected)}


def _languages() -> dict[str, Language]:
    """List the languages of the detector: code of our rows -> language."""
    from lingua import Language

    return {parse_language(lang.iso_code_639_3.name.lower()): lang for lang in Language.all()}


def _base(lang: str) -> str:
    """Give the language of a code without its script or region: ``zh`` for ``zh-Hant``."""
    return lang.split("-")[0]


def _num_letters(text: str) -> int:
    return sum(map(str.isalpha, text)) + len(_WIDE.findall(text))


def _num_needed(claimed: str, seeming: str) -> int:
    return MIN_HAN_LETTERS if (claimed, seeming) == ("ja", "zh") else MIN_LETTERS
