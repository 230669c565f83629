"""TrialSpec: the frozen settings that can change a trial's result, and the trial id."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Self

import pydantic

from xlt.data.core.seeds import derive_seed
from xlt.data.core.settings import Settings, added_later
from xlt.data.dataset.dev import Dev, TargetFold
from xlt.data.dataset.patterns import Pattern, Sampling
from xlt.data.dataset.source_langs import SourceLang
from xlt.trainables.spec.adapters import Lora, Peft
from xlt.trainables.spec.cell_key import CellKey
from xlt.trainables.spec.methods import BASELINES, WITHOUT_BASE_MODEL, Embed, Method, Ngram
from xlt.trainables.spec.prompt import Prompt
from xlt.trainables.spec.resources import Resources
from xlt.trainables.spec.training import TargetStage, Training

RESULT_FORMAT = 2
"""Version of the trial folders. A new version changes all trial ids; older folders are refused."""

NO_BASE_MODEL = "none"
"""Identity of the base model of a method without one."""

NOT_IN_IDENTITY = frozenset({"base_path", "resources"})
"""Fields of TrialSpec that cannot change a result: place of the base model, and hardware."""

METHOD_SETTINGS: dict[str, type[Lora | Peft | Embed | Ngram | Prompt]] = {
    "lora": Lora, "peft": Peft, "embed": Embed, "ngram": Ngram, "prompt": Prompt,
}  # fmt: skip
"""Method -> type of its own settings, in the field of its name."""


class TrialSpec(Settings):
    """One trial: base model x pattern x seed, with all settings resolved."""

    base_model: str
    """Name in tables."""
    base_identity: str
    """Identity of its weights: hub id@revision, SHA-256 of a local folder, the recipe of a
    miniature, or :data:`NO_BASE_MODEL`; never a path."""
    base_path: str
    """Place to load it from: hub id, absolute folder, or ``miniature:<name>``."""
    revision: str | None = None
    """Pinned hub revision."""
    method: Method
    """Full fine-tuning, low-rank adapters on a frozen base, or a baseline."""
    source_lang: SourceLang
    """Language of the source rows, or several among which they are divided evenly."""
    pattern: Pattern
    """Numbers of training rows as used: source_rows is 0 for a monolingual base model and for
    prompts, whose training rows are those in the context."""
    sampling: Sampling
    """Rules for drawing rows."""
    training: Training
    """Optimiser and schedule."""
    learning_rate: float | None = pydantic.Field(gt=0, strict=True)
    """Peak learning rate of AdamW; None for a baseline."""
    lora: Lora | None = None
    """Adapter settings; only with ``method: lora``."""
    peft: Peft | None = added_later(None)
    """Type and settings of adapters; only with ``method: peft``."""
    embed: Embed | None = added_later(None)
    """Settings of embeddings; only with ``method: embed``."""
    ngram: Ngram | None = added_later(None)
    """Settings of n-grams; only with ``method: ngram``."""
    prompt: Prompt | None = added_later(None)
    """Settings of prompts in the target language; only with ``method: prompt``."""
    pad_token: str | None = added_later(None)
    """Token that pads batches; None: the tokenizer's own or a derived one."""
    draw_index: int = 0
    """Number of the draw of training rows; all draws have the same test rows."""
    seed: int
    """Seed of head initialisation, data order and dropout."""
    dev: Dev | None = None
    """Dev rows of a search: the trial is scored on them and has no test rows. None: no search."""
    data_fingerprint: str
    """SHA-256 of the data set's rows."""
    mean_of: tuple[tuple[int, int], ...] | None = added_later(None)
    """Draw and seed of each trial whose kept weights are averaged; None: the trial is trained."""
    translations: str | None = added_later(None)
    """SHA-256 of the translations that the pattern reads, with their origins; None: none."""
    resources: Resources = Resources()
    """Hardware; not part of the identity."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _one_spelling(cls, values: Any) -> Any:
        """Fill in the default settings of the method, so that equal trials have equal ids."""
        if isinstance(values, dict) and (name := values.get("method")) in METHOD_SETTINGS:
            return values | {name: values.get(name) or METHOD_SETTINGS[name]()}
        return values

    @pydantic.model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        for name in METHOD_SETTINGS:
            if name != self.method and getattr(self, name):
                raise ValueError(
                    f"{name} settings are given but the method is {self.method}; remove them"
                )
        if self.peft and not self.peft.peft_type:
            raise ValueError("method peft needs a type; add peft: {peft_type: IA3}, or another")
        if self.is_baseline != (self.learning_rate is None):
            needs = "has no" if self.is_baseline else "needs a"
            raise ValueError(f"method {self.method} {needs} learning_rate")
        if self.prompt and self.pattern.source_rows:
            raise ValueError("method prompt has no place for source rows; set source_rows to 0")
        if not self.prompt:
            self.pattern.refuse_no_rows()
        if self.training.average_seeds:
            raise ValueError(
                "training.average_seeds is a setting of cells; a trial names what it averages in "
                "mean_of"
            )
        self.training.refuse_rows(self.pattern, self.num_target_rows)
        return self

    @property
    def is_baseline(self) -> bool:
        """Whether nothing is trained by steps."""
        return self.method in BASELINES

    @property
    def members(self) -> tuple[Self, ...]:
        """The trials whose kept weights are averaged; empty for a trial that is trained."""
        return tuple(
            self.model_copy(update={"mean_of": None, "draw_index": draw_index, "seed": seed})
            for draw_index, seed in self.mean_of or ()
        )

    @property
    def init_seed(self) -> int:
        """Seed of the initial values of head and adapters."""
        own = self.training.init_seed
        return self.seed if own is None else own

    @property
    def has_base_model(self) -> bool:
        """Whether the trial loads a checkpoint."""
        return self.method not in WITHOUT_BASE_MODEL

    @property
    def quantize_base(self) -> str | None:
        """Quantisation of the frozen base model; None: no quantisation."""
        settings = self.lora or self.prompt
        return settings.quantize_base if settings else None

    @property
    def cell(self) -> CellKey:
        """The cell that the trial belongs to."""
        return CellKey(self.base_model, self.pattern.name)

    @property
    def test_langs(self) -> tuple[str, ...]:
        """Languages in which the trial is tested.

        Prompts, and test rows that are read in translation, are tested in the target language.
        """
        if self.prompt or self.pattern.translate == "test":
            return (self.pattern.target_lang,)
        return self.sampling.list_test_langs(self.pattern)

    @property
    def max_test_rows(self) -> int:
        """Largest number of test rows in all languages, or of dev rows."""
        if self.dev:
            return self.dev.num_rows(self.pattern.target_rows)
        return len(self.test_langs) * self.sampling.test_rows

    @property
    def stopping_dev(self) -> Dev | None:
        """Dev rows that the trial holds out for early stopping; a search's trial uses its own."""
        early_stopping = self.training.early_stopping
        return early_stopping.choose_dev() if early_stopping and not self.dev else None

    @property
    def num_scored_rows(self) -> int:
        """Number of dev rows that early stopping scores after all epochs together, at most."""
        dev = self.stopping_dev or self.dev
        if self.mean_of or not (self.training.early_stopping and dev):
            return 0
        num_epochs = self.stages[-1].training.num_train_epochs
        return num_epochs * dev.num_rows(self.pattern.target_rows)

    @property
    def num_target_rows(self) -> int:
        """Number of different target rows that the trial trains on."""
        target_rows = self.pattern.target_rows
        devs = (dev for dev in (self.dev, self.stopping_dev) if isinstance(dev, TargetFold))
        return target_rows - sum(dev.num_rows(target_rows) for dev in devs)

    @property
    def num_epochs(self) -> int:
        """Number of epochs of all stages."""
        return sum(stage.training.num_train_epochs for stage in self.stages)

    @property
    def num_steps(self) -> int:
        """Number of optimiser steps of the whole trial, at most; 0 if no step is taken."""
        if self.is_baseline or self.mean_of:
            return 0
        if self.training.has_stages:
            return sum(stage.num_steps for stage in self.stages)
        training, pattern = self.training, self.pattern
        source_rows = pattern.num_train_rows - pattern.target_rows
        steps = training.count_epoch_steps(source_rows, self.num_target_rows)
        return steps * training.num_train_epochs

    @property
    def stages(self) -> tuple[Self, ...]:
        """The trainings that follow one another, each as a joint trial on the rows of its stage.

        The second stage has a seed of its own, so that its orders and dropout are not those of the
        first one. Early stopping is for the last stage; the first one leaves out target rows that
        are held out for it.
        """
        training = self.training
        if not training.has_stages:
            return (self,)
        own = training.target_stage or TargetStage()
        epochs = own.num_train_epochs or training.num_train_epochs
        has_target = training.regime == "multistage"
        first = self._make_stage({} if has_target else {"target_rows": 0}, {"early_stopping": None})
        if has_target and isinstance(held_out := self.stopping_dev, TargetFold):
            first = first.model_copy(update={"dev": held_out})
        second = self._make_stage({"source_rows": 0}, {"num_train_epochs": epochs})
        changes = {
            "learning_rate": own.learning_rate or self.learning_rate,
            "seed": derive_seed(self.seed, "target-stage"),
        }
        return first, second.model_copy(update=changes)

    def _make_stage(self, rows: dict[str, int], training: dict[str, Any]) -> Self:
        pattern = self.pattern.model_copy(update=rows)
        joint = {"regime": "joint", "target_stage": None}
        changed = self.training.model_copy(update=joint | training)
        used = changed.drop_without_effect(pattern, self.source_lang)
        return self.model_copy(update={"pattern": pattern, "training": used})

    @property
    def first_stage(self) -> Self | None:
        """The joint trial that the first stage repeats; its pattern keeps the name of this one.

        None for a mean of trials, for a trial of one stage, for a trial of a search, which trains
        without its dev rows, for a stage without the target rows of early stopping, and for
        adapters that may not be kept as they are trained (:attr:`Lora.takes_weights`, and types of
        peft).
        """
        takes_weights = self.peft or (self.lora and self.lora.takes_weights)
        if self.mean_of or not self.training.has_stages or takes_weights:
            return None
        first = self.stages[0]
        return None if first.dev else first

    def tuned(self, learning_rate: float, training: dict[str, Any], lora: dict[str, Any]) -> Self:
        """Copy the trial with another learning rate and other settings of training and lora."""
        changes: dict[str, Any] = {"learning_rate": learning_rate}
        tuned = Training.parse(self.training.model_dump() | training)
        changes["training"] = tuned.drop_without_effect(self.pattern, self.source_lang)
        if self.lora:
            changes["lora"] = Lora.parse(self.lora.model_dump() | lora)
        return self.model_copy(update=changes)

    def training_identity(self) -> str:
        """The identity without what changes neither training rows nor weights.

        These are the names of base model and pattern, and the target language of a pattern that
        has no target rows, if every trial is tested in the same languages.
        """
        values = self.identity()
        del values["base_model"], values["pattern"]["name"]
        pattern = self.pattern
        if self.sampling.test_langs and not (pattern.target_rows or pattern.translate):
            del values["pattern"]["target_lang"]
        return json.dumps(values, sort_keys=True)

    def identity(self) -> dict[str, Any]:
        """Fields that enter the trial id, as JSON values."""
        return self.model_dump(mode="json", exclude=set(NOT_IN_IDENTITY))

    @property
    def trial_id(self) -> str:
        """Readable text and 12 hex digits (48 bits) of the SHA-256 of :meth:`identity`."""
        canonical = json.dumps(
            {"format": RESULT_FORMAT, **self.identity()}, sort_keys=True, ensure_ascii=False
        )
        digest = hashlib.sha256(canonical.encode()).hexdigest()[:12]
        slug = re.sub(r"[^A-Za-z0-9.]+", "-", f"{self.base_model}-{self.pattern.name}")
        dev = f"-{self.dev}" if self.dev else ""
        drawn = f"-d{self.draw_index}" if self.draw_index else ""
        run = f"mean{len(self.mean_of)}" if self.mean_of else f"s{self.seed}"
        return f"{slug}{dev}{drawn}-{run}-{digest}"
