"""Settings of training by steps: optimiser, schedule, epochs, and the weight of rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Annotated, Any, Literal, Self

import pydantic

from xlt.data.core.settings import MAX_INT, Settings, added_later
from xlt.data.dataset.languages import ByLanguage
from xlt.data.dataset.patterns import Pattern
from xlt.data.dataset.source_langs import SourceLang
from xlt.trainables.spec.early_stopping import EarlyStopping


class Optimizer(Settings):
    """Settings of AdamW and its schedule, for fine-tuning and for pre-training of miniatures."""

    lr_schedule: Literal["linear", "constant"] = "linear"
    """Schedule after the warm-up: linear decay to zero (paper, section 3.3), or constant."""
    warmup_ratio: float = pydantic.Field(default=0.0, ge=0, lt=1, strict=True)
    """Share of the steps during which the learning rate rises linearly from zero."""
    weight_decay: float = pydantic.Field(default=0.01, ge=0, strict=True)
    """Decoupled weight decay of matrices and of DoRA's magnitudes, not of biases and norms."""
    max_grad_norm: float = pydantic.Field(default=1.0, gt=0, strict=True)
    """Global L2 norm to which gradients are clipped."""


Weight = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]
ClassWeights = Literal["balanced"] | dict[str, Weight] | None
"""Weights of classes in the loss, see :attr:`Training.class_weights`."""
LossWeights = Literal["balanced"] | ByLanguage[Weight] | None
"""Weights of languages in the loss, see :attr:`Training.loss_weights`."""
Share = Annotated[float, pydantic.Field(gt=0, lt=1, strict=True)]


class Average(Settings):
    """Mean of the weights of several epochs, in the place of the weights of the last one."""

    last_k: int = pydantic.Field(gt=1)
    """Number of epochs: the weights after each of the last ``last_k`` epochs are averaged."""


Regime = Literal["joint", "sequential", "multistage"]
"""Order in which source and target rows are trained on. Schmidt et al. 2022 (EMNLP main.736)
compare joint and sequential training."""


class TargetStage(Settings):
    """Settings of the stage that trains on the target rows alone."""

    num_train_epochs: int | None = pydantic.Field(default=None, gt=0)
    """Passes over the target rows; None: as many as ``training.num_train_epochs``."""
    learning_rate: float | None = pydantic.Field(default=None, gt=0, strict=True)
    """Peak learning rate; None: that of the trial."""


class Training(Optimizer):
    """Settings of fine-tuning; the defaults are those of the paper where it reports them."""

    num_train_epochs: int = pydantic.Field(default=10, gt=0)
    """Passes over the training rows. The model after the last pass counts, unless ``average``
    or ``early_stopping`` says otherwise."""
    batch_size: int = pydantic.Field(default=16, gt=0)
    """Rows of an optimiser step."""
    max_length: int = pydantic.Field(default=128, gt=1)
    """Number of tokens to which a text is cut, including special tokens."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Number format of the computation; auto: bf16 on a GPU, fp32 on a CPU."""
    class_weights: ClassWeights = added_later(None)
    """Weights of classes in the loss, as in ``torch.nn.CrossEntropyLoss(weight=...)``: weights by
    the name of the class; balanced: inverse to the numbers of training rows. None: none."""
    loss_weights: LossWeights = added_later(None)
    """Weights of languages in the loss, by the language in which a row is read, times those of
    classes; balanced: inverse to the numbers of rows that an epoch trains on. None: none."""
    target_share: Share | None = added_later(None)
    """Share of target rows in each batch. An epoch is then one pass over the source rows, and
    repeats the target rows. None: an epoch has each row once."""
    average: Average | None = added_later(None)
    """Epochs whose mean weights are tested and kept. None: the weights of the last epoch."""
    early_stopping: EarlyStopping | None = added_later(None)
    """Dev rows that end the last stage before all of its epochs, and choose the epoch whose weights
    are tested and kept. None: every epoch is trained."""
    init_seed: int | None = added_later(None)
    """Seed of the initial values of head and adapters; None: the seed of the trial."""
    average_seeds: bool = added_later(False)
    """Average the kept weights of the trials that differ in their seeds, in the place of training:
    a cell has one trial then. They must have one ``init_seed``."""
    regime: Regime = added_later("joint")
    """Stages of the training. joint: one stage on all rows together. sequential: the source rows,
    then the target rows. multistage: all rows together, then the target rows. Each stage has its
    own AdamW and schedule."""
    target_stage: TargetStage | None = added_later(None)
    """Epochs and learning rate of the stage on the target rows; None: as in the other stage."""

    @pydantic.field_validator("target_stage")
    @classmethod
    def _one_spelling(cls, value: TargetStage | None) -> TargetStage | None:
        return None if value == TargetStage() else value

    @pydantic.model_validator(mode="after")
    def _one_model(self) -> Self:
        if self.average and self.early_stopping:
            raise ValueError(
                "average and early_stopping both choose the weights that count; set one of them to "
                "null"
            )
        if self.target_share and self.regime == "sequential":
            raise ValueError(
                "target_share is for batches of source and target rows, and regime sequential has "
                "none; set target_share to null, or regime to multistage"
            )
        numbers = {"num_train_epochs": self.num_train_epochs}
        if self.target_stage and self.target_stage.num_train_epochs:
            numbers["target_stage.num_train_epochs"] = self.target_stage.num_train_epochs
        for name, num_epochs in numbers.items():
            if self.average and self.average.last_k > num_epochs:
                raise ValueError(
                    f"average.last_k {self.average.last_k} is more than {name} {num_epochs}; "
                    "lower it, or train longer"
                )
        return self

    @classmethod
    def check_changes(cls, changes: dict[str, Any], where: str = "") -> None:
        """Validate settings that replace some of others, whose number of epochs is not known.

        Raises:
            InputError: All problems together.
        """
        cls.parse({"num_train_epochs": MAX_INT} | changes, where)

    @property
    def has_stages(self) -> bool:
        """Whether two stages follow each other."""
        return self.regime != "joint"

    def refuse_rows(self, pattern: Pattern, num_target_rows: int) -> None:
        """Refuse settings that the training rows of a trial cannot have.

        Args:
            pattern: The rows that the trial trains on.
            num_target_rows: Number of its different target rows, without dev rows.

        Raises:
            ValueError: The share of target rows or a stage needs rows that are missing.
        """
        if self.target_share and not (pattern.source_rows and num_target_rows):
            raise ValueError("training.target_share needs source and target rows; remove it")
        if self.has_stages and not (pattern.source_rows and pattern.target_rows):
            raise ValueError(
                f"regime {self.regime} needs source rows and target rows, and {pattern.name} has "
                "rows of one kind; set it to joint"
            )
        if self.target_stage and not self.has_stages:
            raise ValueError("target_stage is given but the regime is joint; remove it")

    def drop_without_effect(self, pattern: Pattern, source_lang: SourceLang) -> Self:
        """Leave out what changes nothing in a cell, so that its trials have the plain ids.

        Args:
            pattern: The rows that the cell trains on.
            source_lang: Language of its source rows, or several.
        """
        has_both = bool(pattern.source_rows and pattern.target_rows)
        regime = self.regime if has_both else "joint"
        left_out = ("target_rows", "source_rows") if regime == "sequential" else ()
        stages = [pattern.model_copy(update={name: 0}) for name in left_out] or [pattern]
        in_stages = [stage.list_train_langs(source_lang) for stage in stages]
        uneven = [langs for langs in in_stages if self._is_uneven(langs)]
        weights: LossWeights = self.loss_weights
        if isinstance(weights, dict):
            langs = [lang for langs in uneven for lang in langs]
            weights = {lang: weights[lang] for lang in langs if weights.get(lang, 1.0) != 1}
        changes = {
            "regime": regime,
            "target_stage": self.target_stage if regime != "joint" else None,
            "target_share": self.target_share if has_both else None,
            "loss_weights": weights if uneven else None,
        }
        return self.model_copy(update=changes)

    def _is_uneven(self, langs: Sequence[str]) -> bool:
        """Whether rows in these languages have different weights."""
        weights = self.loss_weights
        if isinstance(weights, dict):
            return len({weights.get(lang, 1.0) for lang in langs}) > 1
        return len(langs) > 1

    def count_target_rows(self, source_rows: int, target_rows: int) -> int:
        """Count the target rows of an epoch.

        With ``target_share`` they are repeated: the smallest number that is at least this share of
        all rows of the epoch.
        """
        if self.target_share is None:
            return target_rows
        share = Fraction(str(self.target_share))  # 0.1 exactly, so that no rounding adds a row
        return math.ceil(source_rows * share / (1 - share))

    def count_epoch_steps(self, source_rows: int, target_rows: int) -> int:
        """Count the optimiser steps of an epoch."""
        num_rows = source_rows + self.count_target_rows(source_rows, target_rows)
        return math.ceil(num_rows / self.batch_size)
