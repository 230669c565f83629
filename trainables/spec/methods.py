"""Names of methods, and the settings of baselines."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import pydantic

from xlt.data.core.registries import PLUGIN_NAME, list_plugins
from xlt.data.core.settings import Settings

Method = Annotated[str, pydantic.Field(pattern=PLUGIN_NAME.pattern)]
"""How a trial learns: one of :func:`list_methods`. Results keep the names of methods whose plug-in
is not installed here."""
METHOD_GROUP = "xlt.methods"
"""Group of the entry points of plug-ins."""

BASELINES: dict[str, tuple[str, ...]] = {
    "embed": ("max_length", "precision"),
    "ngram": (),
    "prompt": ("max_length", "precision"),
}
"""Method -> settings of ``training`` that it uses. A baseline fits logistic regression to features
that do not change, or prompts a language model, so it has neither epochs nor a learning rate, and
keeps no model."""

OF_A_PART = ("lora", "peft", "bitfit", "head")
"""Methods that train adapters, or a small part of the weights, which ``keep_models: adapters``
keeps."""

KeepModels = Literal["none", "adapters", "all", "best"]
"""Weights that trials keep: none; adapters: those of :data:`OF_A_PART`; all; best: those of the
trial with the lowest training loss in each cell."""

OWN_METHODS = ("full", *OF_A_PART, *BASELINES)

WITHOUT_BASE_MODEL = frozenset({"ngram"})
"""Methods that read texts alone, without a checkpoint and without a GPU."""


class Embed(Settings):
    """Settings of ``method: embed``: mean-pooled embeddings of the frozen base model."""

    prefix: str = ""
    """Text before each text, as some embedding models expect, e.g. ``"query: "`` for e5."""


class Ngram(Settings):
    """Settings of ``method: ngram``: TF-IDF of character n-grams.

    Characters need no words, which Japanese text does not separate. One character is a word or a
    morpheme in Japanese, and four reach the stems of English words.
    """

    min_n: int = pydantic.Field(default=1, gt=0)
    """Number of characters of the shortest n-grams."""
    max_n: int = pydantic.Field(default=4, gt=0)
    """Number of characters of the longest n-grams."""

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_n > self.max_n:
            raise ValueError(f"min_n {self.min_n} is more than max_n {self.max_n}; exchange them")
        return self


def list_methods() -> tuple[str, ...]:
    """List full fine-tuning, :data:`OF_A_PART`, :data:`BASELINES`, and methods of plug-ins."""
    return (*OWN_METHODS, *(plugin.name for plugin in list_plugins(METHOD_GROUP)))


def keep_used_training(method: str, training: dict[str, Any]) -> dict[str, Any]:
    """Drop the settings of ``training`` that a method does not use, so that they change no id."""
    if method not in BASELINES:
        return training
    return {name: value for name, value in training.items() if name in BASELINES[method]}


def keeps_model(keep_models: KeepModels, method: str) -> bool:
    """Whether a trial of a method writes its weights."""
    return keep_models in {"all", "best"} or (keep_models == "adapters" and method in OF_A_PART)
