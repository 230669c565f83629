"""MINIATURES: recipes of small stand-ins for the paper's base models, pre-trained locally.

They have the paper's architectures, objectives and languages, not its sizes: two layers instead
of thirty-two, a vocabulary of a few thousand entries. What they know of Japanese they learn
from documents without labels, so what carries over in fine-tuning is measured, not put in.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal

import pydantic

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.settings import Settings
from xlt.data.core.user_cache import cache_dir
from xlt.trainables.models.base_models import MINIATURE

MINIATURE_FORMAT = 3
"""Raised when the same recipe and corpus give another model; old folders are then not used."""


class Miniature(Settings):
    """How a miniature is built and pre-trained."""

    name: str
    """Name in MINIATURES."""
    architecture: Literal["llama", "gpt_neox", "bert"]
    """Model class of transformers; decoders learn the next token, BERT learns masked ones."""
    languages: tuple[str, ...] = ("en", "ja")
    """Documents in other languages are left out; mixed ones need both."""
    japanese_share: float = pydantic.Field(default=0.5, ge=0, le=1)
    """Share of the documents that hold Japanese, wholly or mixed; the others are English."""
    num_japanese: int = pydantic.Field(default=12000, gt=0)
    """Different documents that hold Japanese; they are read again where steps ask for more."""
    vocab_factor: float = pydantic.Field(default=1.0, gt=0)
    """Tokenizer entries as a multiple of the corpus's ``vocab_size``."""
    hidden_size: int = pydantic.Field(default=64, gt=0, multiple_of=8)
    """Width of the residual stream."""
    intermediate_size: int = pydantic.Field(default=256, gt=0)
    """Width of the MLP."""
    num_layers: int = pydantic.Field(default=2, gt=0)
    """Transformer blocks."""
    num_heads: int = pydantic.Field(default=4, gt=0)
    """Attention heads a block."""
    initializer_range: float = pydantic.Field(default=0.02, gt=0)
    """Standard deviation of fresh weights, in pre-training and of a trial's new head."""
    dropout: float = pydantic.Field(default=0.0, ge=0, lt=1)
    """BERT's, on hidden states and attention; the decoders have none."""
    max_tokens: int = pydantic.Field(default=96, gt=8)
    """Tokens that a document is cut to."""
    num_steps: int = pydantic.Field(ge=0)
    """Optimiser steps; 0 leaves the weights as drawn."""
    batch_size: int = pydantic.Field(default=32, gt=0)
    """Documents a step."""
    learning_rate: float = pydantic.Field(default=3e-3, gt=0)
    """AdamW's, at its peak."""
    warmup_ratio: float = pydantic.Field(default=0.05, ge=0, lt=1)
    """Share of the steps with rising learning rate."""
    weight_decay: float = pydantic.Field(default=0.01, ge=0)
    """AdamW's decoupled decay."""
    mask_share: float = pydantic.Field(default=0.15, gt=0, lt=1)
    """Share of the tokens that BERT has to restore."""
    next_sentence_weight: float = pydantic.Field(default=0.0, ge=0)
    """Weight of BERT's next-sentence loss beside the masked-token loss; 0 leaves it out."""
    seed: int = 0
    """Root seed of weights, batches and masks."""


MINIATURES: dict[str, Miniature] = {
    recipe.name: recipe
    for recipe in (
        Miniature(name="mini-elyza", architecture="llama", japanese_share=0.9, num_steps=600),
        Miniature(name="mini-llama2", architecture="llama", japanese_share=0.09, num_steps=600),
        Miniature(name="mini-mbert", architecture="bert", num_steps=1400, initializer_range=0.1,
                  learning_rate=2e-3, mask_share=0.2),
        Miniature(name="mini-mbert-untrained", architecture="bert", num_steps=0,
                  initializer_range=0.1),
        Miniature(name="mini-opencalm", architecture="gpt_neox", languages=("ja",),
                  japanese_share=1.0, num_steps=400),
        Miniature(name="mini-bert-ja", architecture="bert", languages=("ja",), japanese_share=1.0,
                  num_steps=1000, initializer_range=0.1, learning_rate=2e-3, mask_share=0.2),
    )
}  # fmt: skip
"""Name -> recipe. ``mini-mbert-untrained`` is mini-mbert's twin without pre-training, the floor."""


def find_miniature(name: str) -> Miniature:
    """The registry's entry; an unknown name is told with the nearest and all known ones."""
    if name not in MINIATURES:
        raise InputError(unknown("miniature", name, MINIATURES))
    return MINIATURES[name]


def miniature_identity(name: str, corpus_identity: str) -> str:
    """What enters a trial id for a miniature, before it is pre-trained.

    Args:
        name: Name in MINIATURES.
        corpus_identity: From :func:`corpus_identity`.

    Returns:
        ``miniature:<name>:<16 hex digits>`` over recipe, corpus and format version.
    """
    parts = [MINIATURE_FORMAT, find_miniature(name).model_dump(mode="json"), corpus_identity]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return f"{MINIATURE}{name}:{digest[:16]}"


def miniature_folder(identity: str) -> Path:
    """Where the miniature of an identity lies, or will lie, in the user's cache."""
    return cache_dir() / "miniatures" / identity.removeprefix(MINIATURE).replace(":", "-")
