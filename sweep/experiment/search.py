"""The ``search`` block of an experiment: configs to try, dev rows, and budgets."""

from __future__ import annotations

import math
from typing import Any, Literal, Self

import pydantic

from xlt.data.core.settings import Settings
from xlt.data.dataset.dev import Dev, SourceDev, TargetFold
from xlt.data.dataset.patterns import Pattern
from xlt.trainables.spec.adapters import Lora
from xlt.trainables.spec.training import Training

DEFAULT_FACTOR = 32.0
"""The default range is the base model's own rate divided and multiplied by this factor."""
FEW_ROWS = 32
"""Up to this many target rows are cut into 4 folds, more into 5, unless ``num_folds`` is given."""


class LearningRates(Settings):
    """A range of learning rates on a logarithmic scale."""

    low: float = pydantic.Field(gt=0, strict=True)
    """Smallest rate."""
    high: float = pydantic.Field(gt=0, strict=True)
    """Largest rate."""
    log: bool = True
    """Must be true, because good rates differ by factors."""

    @pydantic.model_validator(mode="after")
    def _a_range(self) -> Self:
        if self.low >= self.high:
            raise ValueError(
                f"low {self.low:g} is not below high {self.high:g}; swap or widen them"
            )
        if not self.log:
            raise ValueError(
                "log: false spreads rates evenly, nearly all of them within a factor of two of "
                f"{self.high:g}; drop it"
            )
        return self

    def widened(self, upwards: bool) -> LearningRates:
        """Return the range beyond one end, half as wide on the logarithmic scale."""
        factor = math.sqrt(self.high / self.low)
        if upwards:
            return LearningRates(low=self.high, high=self.high * factor)
        return LearningRates(low=self.low / factor, high=self.low)


Rates = LearningRates | tuple[float, ...]
"""A range, or the rates themselves."""


class Search(Settings):
    """How a search chooses the learning rate of each cell."""

    learning_rate: Rates | None = None
    """A range, or the rates themselves. None: a range around the base model's own rate."""
    training: dict[str, tuple[Any, ...]] = pydantic.Field(default={})
    """Other settings of ``training`` to try: name -> values, e.g. num_train_epochs: [5, 10]."""
    lora: dict[str, tuple[Any, ...]] = pydantic.Field(default={})
    """Settings of ``lora`` to try: name -> values, e.g. r: [8, 16]; for LoRA trials."""
    searcher: str = "grid"
    """Name of the searcher: grid, random or tpe (sweep/search/searchers.py)."""
    num_configs: int = pydantic.Field(default=11, gt=0)
    """Number of configs for each cell; for a grid, the number of learning rates."""
    early_stopping: Literal["asha", "none"] = "asha"
    """asha: a config continues on more folds and seeds only if it is among the best so far."""
    reduction_factor: int = pydantic.Field(default=2, gt=1)
    """At each rung of asha, one in this many configs continues, on this many times as many
    replicates."""
    min_dev_rows: int = pydantic.Field(default=4, gt=0)
    """Least number of dev rows before asha stops a config."""
    seeds: tuple[int, ...] = pydantic.Field(default=(1000, 1001), min_length=1)
    """Seeds of the trials of the search; they must not be seeds of the experiment."""
    reuse_seeds: bool = False
    """Allow seeds of the experiment; its final scores then use seeds on which rates were chosen."""
    dev: Literal["auto", "source", "target", "both"] = "auto"
    """Dev rows. auto: folds of the target rows if there are any, else source rows."""
    dev_rows: int = pydantic.Field(default=256, gt=0)
    """Number of source rows to choose on."""
    num_folds: int | None = pydantic.Field(default=None, gt=1)
    """Number of folds of the target rows; each seed cuts them differently."""
    one_standard_error: bool = False
    """Choose the smallest rate within one standard error of the best (Breiman et al. 1984)."""
    max_trials: int | None = pydantic.Field(default=None, gt=0)
    """Stop after this many trials of the whole search; a config needs several."""
    max_epochs: int | None = pydantic.Field(default=None, gt=0)
    """Stop after this many epochs, summed over all trials of the search."""
    max_gpu_hours: float | None = pydantic.Field(default=None, gt=0, strict=True)
    """Stop after this many hours, summed over all trials, which run on one GPU or CPU slot each."""

    @pydantic.field_validator("learning_rate")
    @classmethod
    def _positive(cls, value: Any) -> Any:
        if isinstance(value, tuple):
            if not value:
                raise ValueError("names no rate; give a list, or {low, high}")
            if bad := [rate for rate in value if not rate > 0 or not math.isfinite(rate)]:
                raise ValueError(f"{bad[0]!r} is not a positive number")
        return value

    @pydantic.model_validator(mode="after")
    def _known_settings(self) -> Self:
        for block, check in (("training", Training.check_changes), ("lora", Lora.parse)):
            for name, values in getattr(self, block).items():
                if not values:
                    raise ValueError(f"{block}.{name} names no value to try")
                for value in values:
                    check({name: value}, f"{block}.{name}")
        return self

    @pydantic.field_validator("seeds")
    @classmethod
    def _no_doubles(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("a seed is given more than once")
        return seeds

    def rates(self, own_rate: float) -> Rates:
        """Return the rates to try in a cell whose base model has ``own_rate``."""
        if self.learning_rate is not None:
            return self.learning_rate
        return LearningRates(low=own_rate / DEFAULT_FACTOR, high=own_rate * DEFAULT_FACTOR)

    def replicates(self, pattern: Pattern) -> list[tuple[Dev, int]]:
        """Return dev rows and seed of each trial of a config in a cell, in the order of running.

        Each seed cuts the target rows differently. Seeds change first, then folds, so that the
        first trials differ in both.
        """
        source = [(SourceDev(rows=self.dev_rows), seed) for seed in self.seeds]
        num_folds = self.num_folds or (4 if pattern.target_rows <= FEW_ROWS else 5)
        target: list[tuple[Dev, int]] = [
            (TargetFold(num_folds=num_folds, fold=fold, repeat=repeat), seed)
            for fold in range(num_folds)
            for repeat, seed in enumerate(self.seeds)
        ]
        kind = self.dev
        if kind == "auto":
            kind = "target" if pattern.target_rows else "source"
        return [*(source if kind != "target" else ()), *(target if kind != "source" else ())]
