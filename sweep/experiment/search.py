"""The ``search`` block of an experiment: what is tried, on which dev rows, and for how long."""

from __future__ import annotations

import math
from typing import Any, Literal, Self

import pydantic

from xlt.data.core.settings import Settings
from xlt.data.dataset.dev import Dev, SourceDev, TargetFold
from xlt.data.dataset.patterns import Pattern
from xlt.trainables.spec.trial_spec import Lora, Training

DEFAULT_FACTOR = 32.0
"""The default range reaches from the base model's own rate divided by this to it times this."""
FEW_ROWS = 32
"""Up to so many target rows are cut into 4 folds, more into 5, unless ``num_folds`` says so."""


class LearningRates(Settings):
    """A range of learning rates, evenly spaced in their logarithms."""

    low: float = pydantic.Field(gt=0, strict=True)
    """Smallest."""
    high: float = pydantic.Field(gt=0, strict=True)
    """Largest."""
    log: bool = True
    """Must stay true: rates differ by factors."""

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
        """The range beyond one end, half as wide in logarithms."""
        factor = math.sqrt(self.high / self.low)
        if upwards:
            return LearningRates(low=self.high, high=self.high * factor)
        return LearningRates(low=self.low / factor, high=self.low)


Rates = LearningRates | tuple[float, ...]
"""A range, or the rates themselves."""


class Search(Settings):
    """How the learning rate of a cell is chosen."""

    learning_rate: Rates | None = None
    """A range, or the rates themselves. None: a range around the base model's own rate."""
    training: dict[str, tuple[Any, ...]] = pydantic.Field(default={})
    """Other settings of ``training`` to try: name -> values, e.g. num_train_epochs: [5, 10]."""
    lora: dict[str, tuple[Any, ...]] = pydantic.Field(default={})
    """Settings of ``lora`` to try: name -> values, e.g. r: [8, 16]; for LoRA trials."""
    searcher: str = "grid"
    """grid, random or tpe (sweep/search/searchers.py)."""
    num_configs: int = pydantic.Field(default=11, gt=0)
    """Configs a cell tries; of a grid, its number of learning rates."""
    early_stopping: Literal["asha", "none"] = "asha"
    """asha: a config goes on to more folds and seeds only if it is among the best so far."""
    reduction_factor: int = pydantic.Field(default=2, gt=1)
    """One in so many goes on at each rung of asha, and a rung has so many times more replicates."""
    min_dev_rows: int = pydantic.Field(default=4, gt=0)
    """asha judges no config on fewer dev rows than these."""
    seeds: tuple[int, ...] = pydantic.Field(default=(1000, 1001), min_length=1)
    """Of the trials that are searched with; others than those of the experiment."""
    reuse_seeds: bool = False
    """Allow seeds of the experiment here: final scores then are those of seeds chosen on."""
    dev: Literal["auto", "source", "target", "both"] = "auto"
    """auto: folds of the target rows where there are any, else source rows."""
    dev_rows: int = pydantic.Field(default=256, gt=0)
    """Source rows to choose on."""
    num_folds: int | None = pydantic.Field(default=None, gt=1)
    """Parts that the target rows are cut into, for each seed anew."""
    one_standard_error: bool = False
    """Take the smallest rate within a standard error of the best (Breiman et al. 1984)."""
    max_trials: int | None = pydantic.Field(default=None, gt=0)
    """Stop after so many trials of the whole search; a config is tried in several."""
    max_epochs: int | None = pydantic.Field(default=None, gt=0)
    """Stop after so many trial-epochs of the whole search."""
    max_gpu_hours: float | None = pydantic.Field(default=None, gt=0, strict=True)
    """Stop after so many hours of trials, summed over slots (GPUs, or CPU slots without)."""

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
        for block, model in (("training", Training), ("lora", Lora)):
            for name, values in getattr(self, block).items():
                if not values:
                    raise ValueError(f"{block}.{name} names no value to try")
                for value in values:
                    model.parse({name: value}, f"{block}.{name}")
        return self

    @pydantic.field_validator("seeds")
    @classmethod
    def _no_doubles(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("a seed is given more than once")
        return seeds

    def rates(self, own_rate: float) -> Rates:
        """The rates of a cell whose base model has ``own_rate``."""
        if self.learning_rate is not None:
            return self.learning_rate
        return LearningRates(low=own_rate / DEFAULT_FACTOR, high=own_rate * DEFAULT_FACTOR)

    def replicates(self, pattern: Pattern) -> list[tuple[Dev, int]]:
        """Dev rows and seed of each trial of a config on this cell, in the order they are run.

        Every seed cuts the target rows anew; folds change slower than seeds, so that the first
        trials differ in both.
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
