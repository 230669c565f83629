"""Small data sets of pairs and of three classes."""

from __future__ import annotations

import random

import pyarrow as pa
from tiny_data import WORDS, make_dataset

from xlt.data.dataset.schema import Dataset

CLASSES = ("markets", "sport", "waste")


PATTERN = {"name": "few", "target_lang": "ja", "target_rows": 60, "source_rows": 90}


def three_classes() -> Dataset:
    """Rows whose class is their number modulo three; each class has its own word."""
    table = make_dataset(num_rows=300).table
    rows = table.to_pylist()
    for number, row in enumerate(rows):
        row["label"] = number % 3
        row["text"] = f"{WORDS[row['lang']][0][number % 3]} {number}"
    return Dataset.from_table(pa.Table.from_pylist(rows, schema=table.schema), classes=CLASSES)


def pairs() -> Dataset:
    """Rows whose second text alone tells the label."""
    table = make_dataset(num_rows=300).table
    rows = table.to_pylist()
    rng = random.Random(0)
    for row in rows:
        words = WORDS[row["lang"]]
        row["text_pair"] = f"{rng.choice(words[0 if row['label'] else 1])} {row['id']}"
        row["text"] = f"{rng.choice(words[0] + words[1])} {row['id']}"
    return Dataset.from_table(pa.Table.from_pylist(rows, schema=table.schema))
