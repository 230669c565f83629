"""BASE_MODELS: the five base models of the paper and their miniatures.

Any hub id or local folder can be a base model, too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import pydantic

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.registries import Registry
from xlt.data.core.settings import Settings
from xlt.data.dataset.languages import parse_all
from xlt.trainables.models.architectures import ModelKind
from xlt.trainables.spec.adapters import Lora, Peft
from xlt.trainables.spec.methods import (
    BASELINES,
    OWN_METHODS,
    WITHOUT_BASE_MODEL,
    Embed,
    Method,
    Ngram,
    list_methods,
)
from xlt.trainables.spec.prompt import Prompt
from xlt.trainables.spec.resources import Resources

MINIATURE = "miniature:"
METHOD_OF: dict[ModelKind, Method] = {"encoder": "full", "decoder": "lora"}
"""Kind of model -> default method (paper, section 3.3)."""
LEARNING_RATE_OF: dict[Method, float] = {"full": 5e-5, "lora": 5e-4, "bitfit": 1e-3, "head": 1e-3}
"""Method -> default peak learning rate: full and lora from the paper, section 3.3; bitfit the
default of its authors' code (run_glue.py in github.com/benzakenelad/BitFit); head the same, which
is also the default of Adam (Kingma and Ba 2015, arXiv 1412.6980): it can destroy nothing that was
pre-trained. Baselines have none, and base models with another method give one."""


class BaseModel(Settings):
    """A pre-trained model that trials start from, and its default settings."""

    name: str
    """Name in experiments and tables."""
    path: str = ""
    """Hub id, local folder, or ``miniature:<name>``; empty for a method without base model."""
    revision: str | None = None
    """Commit of the hub repository, so that a push to the hub changes no result. None: the newest
    commit when the sweep is planned."""
    languages: tuple[str, ...] | None = None
    """Languages of pre-training (BCP-47); None: many. Only base models that know the source
    language are trained on source rows (paper, table 2). A baseline without base model trains on
    rows of these languages."""
    kind: ModelKind | None = None
    """Encoder or decoder; None: derived from config.json."""
    method: Method | None = None
    """Full fine-tuning, low-rank adapters or a baseline; None: the default of its kind,
    :data:`METHOD_OF`."""
    learning_rate: float | None = pydantic.Field(default=None, gt=0, strict=True)
    """Peak learning rate unless an override sets another; None: the default of its method,
    :data:`LEARNING_RATE_OF`."""
    lora: Lora = Lora()
    """Settings of adapters, for ``method: lora``."""
    peft: Peft = Peft()
    """Type and settings of adapters, for ``method: peft``."""
    embed: Embed = Embed()
    """Settings of embeddings, for ``method: embed``."""
    ngram: Ngram = Ngram()
    """Settings of n-grams, for ``method: ngram``."""
    prompt: Prompt = Prompt()
    """Settings of prompts, for ``method: prompt``."""
    pad_token: str | None = None
    """Token that pads batches; None: the tokenizer's own, or a special token that ends no text."""
    resources: Resources = Resources()
    """Hardware of its trials."""
    size: str = ""
    """Number of parameters, as a text for tables."""

    @pydantic.field_validator("method")
    @classmethod
    def _known_method(cls, method: str | None) -> str | None:
        if method is not None and method not in OWN_METHODS and method not in list_methods():
            raise InputError(unknown("method", method, list_methods()))
        return method

    @pydantic.model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        if self.has_base_model and not self.path:
            raise ValueError("path: is required; give a hub id or a folder")
        if not self.has_base_model and self.path:
            raise ValueError(
                f"method {self.method} reads no base model; remove path, and give a name that is "
                "no known base model"
            )
        if self.miniature and self.revision:
            raise ValueError("revision: miniatures are made on this machine; remove it")
        for name in () if self.has_base_model else ("revision", "kind", "pad_token"):
            if getattr(self, name):
                raise ValueError(f"{name}: method {self.method} reads no base model; remove it")
        if self.method in BASELINES and self.learning_rate is not None:
            raise ValueError(f"method {self.method} has no learning_rate; remove it")
        if self.method == "peft" and not self.peft.peft_type:
            raise ValueError("method peft needs a type; add peft: {peft_type: IA3}, or another")
        for name in ("peft", *BASELINES):
            if name != self.method and getattr(self, name) != type(getattr(self, name))():
                raise ValueError(f"{name} settings are given without method: {name}; add it")
        return self

    @property
    def has_base_model(self) -> bool:
        """Whether trials load a checkpoint."""
        return self.method not in WITHOUT_BASE_MODEL

    def choose_resources(self, given: Resources | None) -> Resources:
        """Choose what each trial reserves.

        A baseline is one process, and without a base model it needs no GPU.

        Args:
            given: Resources of the experiment; None: those of the base model.
        """
        resources = given or self.resources
        if self.method in BASELINES:
            resources = resources.model_copy(update={"workers": 1})
        if not self.has_base_model:
            resources = resources.model_copy(update={"gpus": 0.0, "accelerator_type": None})
        return resources

    def with_codes(self) -> Self:
        """Copy the settings with the code of each language (:func:`parse_all`).

        This is no part of the validation, because the list of base models is made in every command
        and the names of languages take longer to read than that.

        Raises:
            InputError: A language is unknown, or a mapping has one twice.
        """
        if self.languages is None and self.prompt == Prompt():
            return self
        try:
            langs = self.languages and parse_all(self.languages)
        except InputError as error:
            raise InputError(f"languages: {problem}" for problem in error.problems) from error
        return self.model_copy(update={"languages": langs, "prompt": self.prompt.with_codes()})

    def knows(self, lang: str) -> bool:
        """Whether the model was pre-trained on a language."""
        return self.languages is None or lang in self.languages

    @property
    def miniature(self) -> str | None:
        """Name in MINIATURES; None for other base models."""
        return self.path.removeprefix(MINIATURE) if self.path.startswith(MINIATURE) else None


def _miniature(name: str, languages: tuple[str, ...], kind: ModelKind, rate: float) -> BaseModel:
    return BaseModel(
        name=name, path=MINIATURE + name, languages=languages, kind=kind, learning_rate=rate,
        size="miniature",
    )  # fmt: skip


_OWN = {
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


def _check_base_model(name: str, model: Any) -> str:
    if not isinstance(model, BaseModel):
        return "it is no xlt.trainables.models.base_models.BaseModel"
    return "" if model.name == name else f"its base model has another name, {model.name!r}"


BASE_MODELS = Registry[BaseModel]("xlt.models", _OWN, _check_base_model)
"""Name -> base model. Source: paper, table 1 and section 3.3."""


def find_base_model(name: str) -> BaseModel:
    """Look up a base model by its name.

    Raises:
        InputError: The name is unknown; the error lists the known names and the nearest.
    """
    if name not in BASE_MODELS:
        raise InputError(
            unknown("base model", name, BASE_MODELS)
            + " For another base model give its hub id (org/name) or its folder."
        )
    return BASE_MODELS[name]


def derive_name(path: str) -> str:
    """Name of a base model that was given as a hub id or a folder: the last part of the path."""
    return Path(path).expanduser().name


def find_local_folder(path: str) -> Path | None:
    """Folder of a base model; None if its path is a hub id.

    Raises:
        InputError: The path looks like a folder, but there is no such folder.
    """
    folder = Path(path).expanduser()
    if folder.is_dir():
        return folder
    if path.startswith((".", "/", "~")):
        raise InputError(f"no folder {path!r}; correct the path")
    return None


def identify(model: BaseModel) -> str:
    """Identity of a base model's weights, which enters the trial id. It never contains a path.

    Args:
        model: A base model from the hub, with its revision resolved, or from a local folder. For a
            miniature see :func:`identify_miniature`.

    Returns:
        ``hub:<id>@<revision>`` or ``sha256:<hex>`` of names and contents of the folder's files.

    Raises:
        InputError: The path looks like a folder, but there is no such folder.
    """
    folder = find_local_folder(model.path)
    if folder:
        # Imported here because it writes into the user's cache folder.
        from xlt.trainables.models.folder_digest import hash_folder

        return f"sha256:{hash_folder(folder)}"
    return f"hub:{model.path}@{model.revision or 'main'}"
