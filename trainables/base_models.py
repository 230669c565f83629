"""BASE_MODELS: the paper's five, their miniatures, and any other hub id or local folder."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Literal

import platformdirs
import pydantic

from data.errors import InputError, unknown
from data.settings import Settings
from trainables.spec import Lora, Resources

MINIATURE = "miniature:"


class BaseModel(Settings):
    """A pre-trained model that trials start from, and how it is fine-tuned by default."""

    name: str
    """Name in experiments and tables."""
    path: str
    """Hub id, local folder, or ``miniature:<name>``."""
    revision: str | None = None
    """Commit of the hub repository, so that a push to the hub changes no result; None: the newest
    commit at the time the sweep is planned."""
    languages: tuple[str, ...] | None = None
    """Languages of pre-training (BCP-47). None: many. Source rows are given only to base models
    that know the source language (paper, table 2)."""
    method: Literal["full", "lora"]
    """Full fine-tuning, or low-rank adapters."""
    learning_rate: float = pydantic.Field(gt=0, strict=True)
    """Peak learning rate unless an override sets another."""
    lora: Lora = Lora()
    """Adapter settings; used with ``method: lora``."""
    resources: Resources = Resources()
    """What a trial reserves."""
    size: str = ""
    """Parameters, for people."""

    def knows(self, lang: str) -> bool:
        """Whether the language was in pre-training."""
        return self.languages is None or lang in self.languages

    @property
    def miniature(self) -> str | None:
        """Name in MINIATURES, or None."""
        return self.path.removeprefix(MINIATURE) if self.path.startswith(MINIATURE) else None


def _decoder(
    name: str, path: str, revision: str | None, languages: tuple[str, ...] | None
) -> BaseModel:
    return BaseModel(
        name=name, path=path, revision=revision, languages=languages, method="lora",
        learning_rate=5e-4, size="7B",
    )  # fmt: skip


def _encoder(
    name: str, path: str, revision: str | None, languages: tuple[str, ...] | None
) -> BaseModel:
    return BaseModel(
        name=name, path=path, revision=revision, languages=languages, method="full",
        learning_rate=5e-5, size="small",
    )  # fmt: skip


def _miniature(name: str, languages: tuple[str, ...], method: Any, rate: float) -> BaseModel:
    return BaseModel(
        name=name, path=MINIATURE + name, languages=languages, method=method,
        learning_rate=rate, size="miniature",
    )  # fmt: skip


BASE_MODELS: dict[str, BaseModel] = {
    model.name: model
    for model in (
        _decoder("elyza", "elyza/ELYZA-japanese-Llama-2-7b-fast-instruct", None, None),
        _decoder(
            "llama2", "meta-llama/Llama-2-7b-hf", "01c7f73d771dfac7d292323805ebc428287df4f9", None
        ),
        _encoder(
            "mbert",
            "google-bert/bert-base-multilingual-cased",
            "3f076fdb1ab68d5b2880cb87a0886f315b8146f8",
            None,
        ),
        _decoder(
            "opencalm",
            "cyberagent/open-calm-7b",
            "276a5fb67510554e11ef191a2da44c919acccdf5",
            ("ja",),
        ),
        _encoder("bert-ja", "tohoku-nlp/bert-base-japanese-v2", None, ("ja",)),
        _miniature("mini-elyza", ("en", "ja"), "lora", 5e-3),
        _miniature("mini-llama2", ("en", "ja"), "lora", 5e-3),
        _miniature("mini-mbert", ("en", "ja"), "full", 5e-4),
        _miniature("mini-mbert-untrained", ("en", "ja"), "full", 5e-4),
        _miniature("mini-opencalm", ("ja",), "lora", 5e-3),
        _miniature("mini-bert-ja", ("ja",), "full", 1e-3),
    )
}
"""Name -> base model. Paper, table 1 and section 3.3."""


def find_base_model(name: str) -> BaseModel:
    """The registry's entry; an unknown name is told with the nearest and all known ones."""
    if name not in BASE_MODELS:
        raise InputError(
            unknown("base model", name, BASE_MODELS)
            + " For another one give {name, path, method, learning_rate}."
        )
    return BASE_MODELS[name]


def cache_dir() -> Path:
    """The user's cache folder, for miniatures and verified results; ``XLT_CACHE`` overrides it."""
    override = os.environ.get("XLT_CACHE")
    return Path(override).absolute() if override else Path(platformdirs.user_cache_dir("xlt-sweep"))


def identity(model: BaseModel) -> str:
    """What enters a trial id for a hub id or a local folder: never a path.

    Args:
        model: With its revision resolved; for a miniature see
            :func:`trainables.miniatures.miniature_identity`.

    Returns:
        ``hub:<id>@<revision>`` or ``sha256:<hex>`` over names and contents of the folder's files.

    Raises:
        InputError: The path looks like a folder but is none.
    """
    folder = Path(model.path).expanduser()
    if folder.is_dir():
        digest = hashlib.sha256()
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            digest.update(str(file.relative_to(folder)).encode() + b"\0")
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        return f"sha256:{digest.hexdigest()}"
    if model.path.startswith((".", "/", "~")):
        raise InputError(f"base model {model.name!r}: no folder {model.path!r}; mend the path")
    return f"hub:{model.path}@{model.revision or 'main'}"
