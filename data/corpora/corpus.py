"""Corpora: unlabelled documents for pre-training, and the options of every corpus."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pydantic

from xlt.data.core.settings import Settings

CORPUS_SCHEMA = pa.schema(
    [
        pa.field("text", pa.string(), nullable=False),  # one sentence on each line
        pa.field("lang", pa.string(), nullable=False),  # BCP-47, or "mul" for mixed text
    ]
)
MIXED = "mul"
"""ISO 639-2 code of a document in more than one language."""


class CorpusOptions(Settings):
    """Options of every corpus; each corpus adds its own."""

    corpus: str
    """Name in CORPORA."""
    vocab_size: int = pydantic.Field(default=3200, ge=1600)
    """Entries of the tokenizers that are trained on the corpus; real text needs more."""
    step_factor: float = pydantic.Field(default=1.0, gt=0)
    """Factor of the number of pre-training steps in the recipe of each miniature."""
    seed: int = 0
    """Root seed of the documents."""


@dataclass(frozen=True)
class Corpus:
    """Documents without labels.

    Attributes:
        table: num_documents x 2 columns of :data:`CORPUS_SCHEMA`.
        options: Options of the corpus.
    """

    table: pa.Table
    options: CorpusOptions
