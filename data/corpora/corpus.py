"""The text that miniatures are pre-trained on, and the settings that every corpus has."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pydantic

from xlt.data.core.settings import Settings

CORPUS_SCHEMA = pa.schema(
    [
        pa.field("text", pa.string(), nullable=False),  # one sentence a line
        pa.field("lang", pa.string(), nullable=False),  # BCP-47, or "mul" for mixed text
    ]
)
MIXED = "mul"
"""ISO 639-2 code of a document in more than one language."""


class CorpusOptions(Settings):
    """What every corpus can be told; each corpus adds its own."""

    corpus: str
    """Name in CORPORA."""
    vocab_size: int = pydantic.Field(default=3200, ge=1600)
    """Entries of the tokenizers that are trained on the corpus; open text needs more."""
    step_factor: float = pydantic.Field(default=1.0, gt=0)
    """Pre-training steps as a multiple of what each miniature's recipe says."""
    seed: int = 0
    """Root seed of every draw."""


@dataclass(frozen=True)
class Corpus:
    """Documents without labels.

    Attributes:
        table: num_documents x 2 columns of :data:`CORPUS_SCHEMA`.
        options: What it was made from.
    """

    table: pa.Table
    options: CorpusOptions
