"""CORPORA: the corpora on which miniatures are pre-trained, by name."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Protocol, cast

import pyarrow as pa

from xlt.data.core.errors import read_name
from xlt.data.core.registries import load_entry
from xlt.data.corpora.corpus import CORPUS_SCHEMA, Corpus, CorpusOptions
from xlt.data.dataset.schema import Dataset

CORPORA: dict[str, str] = {
    "phrasebook": "xlt.data.corpora.phrasebook",
    "parallel": "xlt.data.corpora.parallel",
}
"""Name -> module with ``Options``, ``content_digest``, ``uses_dataset`` and ``documents``."""


class _Module(Protocol):
    """The functions of a corpus module."""

    Options: type[CorpusOptions]

    def content_digest(self, options: CorpusOptions) -> str:
        """Hash the inputs of the documents, without the options and the data set."""

    def uses_dataset(self, options: CorpusOptions) -> bool:
        """Whether the corpus contains texts of the data set."""

    def documents(
        self, options: CorpusOptions, dataset: Dataset, held_out: frozenset[str]
    ) -> list[tuple[str, str]]:
        """Read or generate (text, lang) of each document."""


def parse_corpus(values: dict[str, Any]) -> CorpusOptions:
    """Validate the ``pretraining`` block of an experiment.

    Args:
        values: ``corpus``, a name in :data:`CORPORA`, and the options of that corpus.

    Raises:
        InputError: The corpus is missing or unknown, or an option is unknown or wrong.
    """
    name = read_name("corpus", values, CORPORA, "pretraining")
    return _module(name).Options.parse(values, "pretraining")


def corpus_identity(
    options: CorpusOptions, dataset_fingerprint: str, held_out: frozenset[str] = frozenset()
) -> str:
    """Identify the content of a corpus, without generating it.

    Args:
        options: Options of the corpus; the content of its files counts, and not their path.
        dataset_fingerprint: Fingerprint of the data set. It and ``held_out`` count only for a
            corpus with texts of the data set.
        held_out: Text keys that the corpus must not contain, see :func:`load_corpus`.

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
    """Read or generate the documents of a corpus.

    Args:
        options: Options of the corpus.
        dataset: The data set, whose texts (never its labels) a corpus may contain.
        held_out: :func:`text_key` of all test rows; no document contains these texts.
    """
    rows = _module(options.corpus).documents(options, dataset, held_out)
    texts, langs = zip(*rows, strict=True) if rows else ((), ())
    table = pa.table({"text": list(texts), "lang": list(langs)}, schema=CORPUS_SCHEMA)
    return Corpus(table, options)


def _module(name: str) -> _Module:
    return cast(_Module, load_entry(CORPORA, name))
