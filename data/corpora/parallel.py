"""The corpus ``parallel``: a file of sentence pairs, and texts of the data set."""

from __future__ import annotations

import hashlib
import random
from typing import Any, Literal, cast

import pydantic

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.seeds import derive_seed
from xlt.data.corpora.corpus import MIXED, CorpusOptions
from xlt.data.dataset.languages import parse_language
from xlt.data.dataset.schema import Dataset, text_key
from xlt.data.tables.files import find_files
from xlt.data.tables.whole import read_records

VERSION = 1
"""Version of the documents; raise it if the same options and file give other documents."""


class Options(CorpusOptions):
    """The file, and the way in which its pairs become documents."""

    corpus: Literal["parallel"]
    """Name in CORPORA."""
    path: str
    """File in csv, tsv, jsonl or parquet, plain or .gz; local path or pyarrow.fs URI."""
    languages: tuple[str, str] = ("en", "ja")
    """The two languages; also the names of their columns."""
    mixed_share: float = pydantic.Field(default=0.6, ge=0, le=1)
    """Share of the pairs that become a document with both sentences; each other pair becomes a
    document with one of its sentences, chosen at random."""
    use_dataset: bool = True
    """Whether texts of the data set, without test rows, are added as documents."""


def content_digest(options: CorpusOptions) -> str:
    """Give the version of the documents and the hash of the file."""
    digest = hashlib.sha256()
    for file in find_files(cast(Options, options).path, None):
        with file.fs.open_input_stream(file.path, compression=None) as stream:
            digest.update(stream.read())
    return f"{VERSION}:{digest.hexdigest()}"


def uses_dataset(options: CorpusOptions) -> bool:
    """Whether texts of the data set are added."""
    return cast(Options, options).use_dataset


def documents(
    options: CorpusOptions, dataset: Dataset, held_out: frozenset[str]
) -> list[tuple[str, str]]:
    """Read the documents: first those of the file, then those of the data set.

    Returns:
        (text, lang) of each document; texts of ``held_out`` are left out.

    Raises:
        InputError: The file cannot be read, or lacks a column.
    """
    settings = cast(Options, options)
    rng = random.Random(derive_seed(settings.seed, "parallel"))
    langs = tuple(map(parse_language, settings.languages))
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
    """Read the pairs in which both sentences have text."""
    columns: list[list[Any]] = [[], []]
    for file in find_files(settings.path, None):
        records = read_records(file, settings.languages, quoting=True)
        missing = [name for name in settings.languages if name not in records.columns]
        if missing:
            problems = [unknown("column", name, records.header) for name in missing]
            raise InputError(problems, f"{settings.path}: {file.name}")
        for values, name in zip(columns, settings.languages, strict=True):
            values += records.columns[name]
    pairs = (tuple(" ".join(str(t or "").split()) for t in p) for p in zip(*columns, strict=True))
    return [pair for pair in pairs if all(pair)]
