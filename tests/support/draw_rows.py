"""Rows to draw from, with and without texts that return."""

from __future__ import annotations

import datetime
from typing import Any

import pyarrow as pa

from xlt.data.dataset.patterns import Pattern
from xlt.data.dataset.schema import HEADLINE_SCHEMA, Dataset

FIRST = datetime.date(2022, 1, 1)


def make_rows(num_rows: int, langs: tuple[str, ...] = ("en", "ja")) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{lang}-{number:03d}",
            "text": f"{lang} text {number}",
            "lang": lang,
            "label": number % 2,
            "published": FIRST + datetime.timedelta(number),
            "source": "test",
        }
        for lang in langs
        for number in range(num_rows)
    ]


def make_dataset(rows: list[dict[str, Any]]) -> Dataset:
    return Dataset.from_table(pa.Table.from_pylist(rows, schema=HEADLINE_SCHEMA))


def pattern(target_rows: int, source_rows: int = 8, lang: str = "ja") -> Pattern:
    name = f"{lang}{target_rows}"
    return Pattern(name=name, target_lang=lang, target_rows=target_rows, source_rows=source_rows)


PLAIN = make_dataset(make_rows(60))


# Texts twice: same label, other label, in other letters, and in the other language.
TWINS = make_rows(60)
