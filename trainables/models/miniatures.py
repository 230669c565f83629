"""MINIATURES: recipes of small models that stand in for the paper's base models.

A miniature has the architecture, objective and languages of a base model of the paper, but two
layers instead of thirty-two and a vocabulary of a few thousand entries. It is pre-trained locally,
and it learns Japanese from documents without labels. So the transfer between languages that
fine-tuning shows is real and not built in.
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
from xlt.trainables.models.architectures import ARCHITECTURES
from xlt.trainables.models.base_models import MINIATURE
from xlt.trainables.models.weights_folder import Checkpoint

MINIATURE_FORMAT = 3
"""Version of the pre-training. It is increased when the same recipe and corpus give another model,
so that older folders in the cache are not used."""
REMOVED_SETTINGS = {"next_sentence_weight": 0.0}
"""Settings that recipes no longer have. They stay in the identity, so that ids of trials stay."""
MAX_POSITIONS = 512
"""Largest number of tokens of a text that a miniature reads."""


class Miniature(Settings):
    """A recipe: how a miniature is built and pre-trained."""

    name: str
    """Name in MINIATURES."""
    architecture: Literal["llama", "gpt_neox", "bert"]
    """Model type in transformers. Decoders learn the next token, BERT learns masked tokens."""
    languages: tuple[str, ...] = ("en", "ja")
    """Languages of the documents; mixed documents need both."""
    japanese_share: float = pydantic.Field(default=0.5, ge=0, le=1)
    """Share of the documents that are Japanese or mixed; the others are English."""
    num_japanese: int = pydantic.Field(default=12000, gt=0)
    """Number of different Japanese or mixed documents; they repeat if the steps need more."""
    vocab_factor: float = pydantic.Field(default=1.0, gt=0)
    """Size of the vocabulary as a multiple of the corpus's ``vocab_size``."""
    hidden_size: int = pydantic.Field(default=64, gt=0, multiple_of=8)
    """Width of the residual stream."""
    intermediate_size: int = pydantic.Field(default=256, gt=0)
    """Width of the MLP."""
    num_layers: int = pydantic.Field(default=2, gt=0)
    """Number of transformer blocks."""
    num_heads: int = pydantic.Field(default=4, gt=0)
    """Number of attention heads of a block."""
    initializer_range: float = pydantic.Field(default=0.02, gt=0)
    """Standard deviation of new weights, in pre-training and in a trial's head."""
    dropout: float = pydantic.Field(default=0.0, ge=0, lt=1)
    """Dropout of BERT's hidden states and attention; decoders have none."""
    max_tokens: int = pydantic.Field(default=96, gt=8)
    """Number of tokens to which a document is cut."""
    num_steps: int = pydantic.Field(ge=0)
    """Number of optimiser steps; 0 keeps the initial random weights."""
    batch_size: int = pydantic.Field(default=32, gt=0)
    """Documents of a step."""
    learning_rate: float = pydantic.Field(default=3e-3, gt=0)
    """Peak learning rate of AdamW."""
    warmup_ratio: float = pydantic.Field(default=0.05, ge=0, lt=1)
    """Share of the steps during which the learning rate rises."""
    weight_decay: float = pydantic.Field(default=0.01, ge=0)
    """Decoupled weight decay of AdamW."""
    mask_share: float = pydantic.Field(default=0.15, gt=0, lt=1)
    """Share of the tokens that BERT has to predict."""
    seed: int = 0
    """Root seed of initial weights, batches and masks."""

    @property
    def checkpoint(self) -> Checkpoint:
        """Facts about its files, which exist only after the pre-training."""
        listed = ARCHITECTURES[self.architecture]
        return Checkpoint(
            model_type=self.architecture,
            kind=listed.kind,
            linear=listed.linear,
            pad_token=None,
            max_positions=MAX_POSITIONS,
            num_layers=self.num_layers,
            has_biases=listed.has_biases,
        )


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
"""Name -> recipe. ``mini-mbert-untrained`` is mini-mbert without pre-training, as a lower bound."""


def find_miniature(name: str) -> Miniature:
    """Look up a recipe by its name.

    Raises:
        InputError: The name is unknown; the error lists the known names and the nearest.
    """
    if name not in MINIATURES:
        raise InputError(unknown("miniature", name, MINIATURES))
    return MINIATURES[name]


def identify_miniature(name: str, corpus_identity: str) -> str:
    """Identity of a miniature, which enters the trial id and is known before the pre-training.

    Args:
        name: Name in MINIATURES.
        corpus_identity: Identity of the corpus, see :func:`corpus_identity`.

    Returns:
        ``miniature:<name>:<16 hex digits>``; the digits hash recipe, corpus and format version.
    """
    recipe = find_miniature(name).model_dump(mode="json") | REMOVED_SETTINGS
    parts = [MINIATURE_FORMAT, recipe, corpus_identity]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return f"{MINIATURE}{name}:{digest[:16]}"


def find_miniature_folder(identity: str) -> Path:
    """Folder of a miniature in the user's cache folder; it may not exist yet."""
    return cache_dir() / "miniatures" / identity.removeprefix(MINIATURE).replace(":", "-")
