"""Real text: a file of sentence pairs, and the data set's own texts without their labels."""

from __future__ import annotations

import hashlib
import random
from typing import Any, Literal, cast

import pydantic

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.seeds import derive_seed
from xlt.data.corpora.corpus import MIXED, CorpusOptions
from xlt.data.dataset.schema import Dataset, text_key
from xlt.data.tables.files import find_files
from xlt.data.tables.whole import read_records

VERSION = 1
"""Raised when the same options and file give other documents."""


class Options(CorpusOptions):
    """Which file, and what becomes of its pairs."""

    corpus: Literal["parallel"]
    """Name in CORPORA."""
    path: str
    """csv, tsv, jsonl or parquet, plain or .gz; local path or pyarrow.fs URI."""
    languages: tuple[str, str] = ("en", "ja")
    """The two languages (BCP-47); also the names of their columns."""
    mixed_share: float = pydantic.Field(default=0.6, ge=0, le=1)
    """Share of the pairs that become a document with both sentences; of the others one half
    gives its first sentence alone and one half its second."""
    use_dataset: bool = True
    """Add the data set's texts, but for those of test rows, as documents of their own."""


def content_digest(options: CorpusOptions) -> str:
    """Version and hash of the file."""
    digest = hashlib.sha256()
    for file in find_files(cast(Options, options).path, None):
        with file.fs.open_input_stream(file.place, compression=None) as stream:
            digest.update(stream.read())
    return f"{VERSION}:{digest.hexdigest()}"


def uses_dataset(options: CorpusOptions) -> bool:
    """Whether texts of the data set are documents too."""
    return cast(Options, options).use_dataset


def documents(
    options: CorpusOptions, dataset: Dataset, held_out: frozenset[str]
) -> list[tuple[str, str]]:
    """One document a pair or sentence, then one a text of the data set; none is held out.

    Raises:
        InputError: The file cannot be read, or lacks a column.
    """
    settings = cast(Options, options)
    rng = random.Random(derive_seed(settings.seed, "parallel"))
    langs = settings.languages
    rows: list[tuple[str, str]] = []
    for pair in _pairs(settings):
        if any(text_key(text) in held_out for text in pair):
            continue
        if rng.random() < settings.mixed_share:
            rows.append(("\n".join(rng.sample(pair, 2)), MIXED))
        else:
            side = rng.randrange(2)
            rows.append((pair[side], langs[side]))
    if settings.use_dataset:
        texts = (dataset.table[column].to_pylist() for column in ("text", "lang"))
        for text, lang in zip(*texts, strict=True):
            if text_key(text) not in held_out:
                rows.append((" ".join(text.split()), lang))
    return rows


def _pairs(settings: Options) -> list[tuple[str, ...]]:
    """Sentence pairs with text on both sides."""
    columns: list[list[Any]] = [[], []]
    for file in find_files(settings.path, None):
        records = read_records(file, settings.languages, quoting=True)
        missing = [name for name in settings.languages if name not in records.columns]
        if missing:
            told = [unknown("column", name, records.header) for name in missing]
            raise InputError(told, f"{settings.path}: {file.name}")
        for values, name in zip(columns, settings.languages, strict=True):
            values += records.columns[name]
    pairs = (tuple(" ".join(str(t or "").split()) for t in p) for p in zip(*columns, strict=True))
    return [pair for pair in pairs if all(pair)]
