"""CORPORA: what miniatures are pre-trained on; documents without labels."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Protocol, cast

import pyarrow as pa

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.load_entry import load_entry
from xlt.data.corpora.corpus import CORPUS_SCHEMA, Corpus, CorpusOptions
from xlt.data.dataset.schema import Dataset

CORPORA: dict[str, str] = {
    "phrasebook": "xlt.data.corpora.phrasebook",
    "parallel": "xlt.data.corpora.parallel",
}
"""Name -> module with ``Options``, ``content_digest``, ``uses_dataset`` and ``documents``."""


class _Module(Protocol):
    """What a corpus module offers."""

    Options: type[CorpusOptions]

    def content_digest(self, options: CorpusOptions) -> str:
        """Hash of everything but the options and the data set that the documents depend on."""

    def uses_dataset(self, options: CorpusOptions) -> bool:
        """Whether texts of the data set enter."""

    def documents(
        self, options: CorpusOptions, dataset: Dataset, held_out: frozenset[str]
    ) -> list[tuple[str, str]]:
        """(text, lang) of each document."""


def parse_corpus(values: dict[str, Any]) -> CorpusOptions:
    """Validate the ``pretraining`` block of an experiment.

    Args:
        values: ``corpus``, a name in :data:`CORPORA`, and that corpus's options.

    Raises:
        InputError: An unknown corpus or option, told with the nearest known one.
    """
    name = values.get("corpus")
    if name not in CORPORA:
        raise InputError(unknown("corpus", str(name), CORPORA), "pretraining")
    return _module(str(name)).Options.parse(values, "pretraining")


def corpus_identity(
    options: CorpusOptions, dataset_fingerprint: str, held_out: frozenset[str] = frozenset()
) -> str:
    """Name what a corpus holds, without generating it.

    Args:
        options: Of the corpus; where its files lie does not matter, what they hold does.
        dataset_fingerprint: Of the data set; it and ``held_out`` matter only to a corpus that
            uses the data set's texts.
        held_out: As in :func:`load_corpus`.

    Returns:
        ``<name>:<64 hex digits>``.
    """
    module = _module(options.corpus)
    parts = {
        "options": options.model_dump(mode="json", exclude={"path"}),
        "content": module.content_digest(options),
    }
    if module.uses_dataset(options):
        parts["dataset"] = dataset_fingerprint
        parts["held_out"] = hashlib.sha256("\n".join(sorted(held_out)).encode()).hexdigest()
    canonical = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return f"{options.corpus}:{hashlib.sha256(canonical.encode()).hexdigest()}"


def load_corpus(options: CorpusOptions, dataset: Dataset, held_out: frozenset[str]) -> Corpus:
    """Read or generate the documents.

    Args:
        options: Of the corpus.
        dataset: Its texts (never its labels) may enter.
        held_out: Texts of all test rows, as :func:`text_key` has them; none may enter.
    """
    rows = _module(options.corpus).documents(options, dataset, held_out)
    texts, langs = zip(*rows, strict=True) if rows else ((), ())
    table = pa.table({"text": list(texts), "lang": list(langs)}, schema=CORPUS_SCHEMA)
    return Corpus(table, options)


def _module(name: str) -> _Module:
    return cast(_Module, load_entry(CORPORA, name))
