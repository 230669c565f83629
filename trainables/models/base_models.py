"""BASE_MODELS: the paper's five, their miniatures, and any other hub id or local folder."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pydantic

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.settings import Settings
from xlt.trainables.models.architectures import ModelKind
from xlt.trainables.spec.trial_spec import Lora, Resources

MINIATURE = "miniature:"
Method = Literal["full", "lora"]
METHOD_OF: dict[ModelKind, Method] = {"encoder": "full", "decoder": "lora"}
"""How a base model of a kind is fine-tuned by default (paper, section 3.3)."""
LEARNING_RATE_OF: dict[Method, float] = {"full": 5e-5, "lora": 5e-4}
"""Peak learning rate of a method by default (paper, section 3.3)."""


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
    kind: ModelKind | None = None
    """Encoder or decoder; None: derived from its config.json."""
    method: Method | None = None
    """Full fine-tuning, or low-rank adapters; None: :data:`METHOD_OF` its kind."""
    learning_rate: float | None = pydantic.Field(default=None, gt=0, strict=True)
    """Peak learning rate unless an override sets another; None: :data:`LEARNING_RATE_OF` its
    method."""
    lora: Lora = Lora()
    """Adapter settings; used with ``method: lora``."""
    pad_token: str | None = None
    """Pads batches; None: the tokenizer's own, or a special token that ends no text."""
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


def _miniature(name: str, languages: tuple[str, ...], kind: ModelKind, rate: float) -> BaseModel:
    return BaseModel(
        name=name, path=MINIATURE + name, languages=languages, kind=kind, learning_rate=rate,
        size="miniature",
    )  # fmt: skip


BASE_MODELS: dict[str, BaseModel] = {
    model.name: model
    for model in (
        BaseModel(
            name="elyza", path="elyza/ELYZA-japanese-Llama-2-7b-fast-instruct", kind="decoder",
            size="7B",
        ),
        BaseModel(
            name="llama2", path="meta-llama/Llama-2-7b-hf", kind="decoder", size="7B",
            revision="01c7f73d771dfac7d292323805ebc428287df4f9",
        ),
        BaseModel(
            name="mbert", path="google-bert/bert-base-multilingual-cased", kind="encoder",
            size="small", revision="3f076fdb1ab68d5b2880cb87a0886f315b8146f8",
        ),
        BaseModel(
            name="opencalm", path="cyberagent/open-calm-7b", kind="decoder", size="7B",
            languages=("ja",), revision="276a5fb67510554e11ef191a2da44c919acccdf5",
        ),
        BaseModel(
            name="bert-ja", path="tohoku-nlp/bert-base-japanese-v2", kind="encoder", size="small",
            languages=("ja",),
        ),
        _miniature("mini-elyza", ("en", "ja"), "decoder", 5e-3),
        _miniature("mini-llama2", ("en", "ja"), "decoder", 5e-3),
        _miniature("mini-mbert", ("en", "ja"), "encoder", 5e-4),
        _miniature("mini-mbert-untrained", ("en", "ja"), "encoder", 5e-4),
        _miniature("mini-opencalm", ("ja",), "decoder", 5e-3),
        _miniature("mini-bert-ja", ("ja",), "encoder", 1e-3),
    )
}  # fmt: skip
"""Name -> base model. Paper, table 1 and section 3.3."""


def find_base_model(name: str) -> BaseModel:
    """The registry's entry; an unknown name is told with the nearest and all known ones."""
    if name not in BASE_MODELS:
        raise InputError(
            unknown("base model", name, BASE_MODELS)
            + " For another one give its hub id (org/name) or its folder."
        )
    return BASE_MODELS[name]


def named_by_path(path: str) -> str:
    """What a base model is called that was given as a hub id or a folder: its last part."""
    return Path(path).expanduser().name


def local_folder(path: str) -> Path | None:
    """The folder that a base model's path names; None: it is a hub id.

    Raises:
        InputError: It looks like a folder but is none.
    """
    folder = Path(path).expanduser()
    if folder.is_dir():
        return folder
    if path.startswith((".", "/", "~")):
        raise InputError(f"no folder {path!r}; mend the path")
    return None


def identity(model: BaseModel) -> str:
    """What enters a trial id for a hub id or a local folder: never a path.

    Args:
        model: With its revision resolved; for a miniature see
            :func:`miniature_identity`.

    Returns:
        ``hub:<id>@<revision>`` or ``sha256:<hex>`` over names and contents of the folder's files.

    Raises:
        InputError: The path looks like a folder but is none.
    """
    folder = local_folder(model.path)
    if folder:
        from xlt.trainables.models.folder_digest import (
            folder_digest,  # it keeps hashes in cache_dir()
        )

        return f"sha256:{folder_digest(folder)}"
    return f"hub:{model.path}@{model.revision or 'main'}"
