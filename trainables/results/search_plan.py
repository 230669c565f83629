"""What a search tried, as it lies beside the results: every config with its trials."""

from __future__ import annotations

from typing import Any

import pydantic

from xlt.data.core.settings import Settings
from xlt.trainables.spec.cell_key import CellKey


class SearchedConfig(Settings):
    """Settings that were tried on a cell."""

    learning_rate: float
    """Peak learning rate."""
    training: dict[str, Any] = pydantic.Field(default={})
    """Settings of ``training`` that were tried with it."""
    lora: dict[str, Any] = pydantic.Field(default={})
    """Settings of ``lora`` that were tried with it."""
    trial_ids: tuple[str, ...]
    """One a replicate, in the order of :attr:`SearchedCell.replicates`."""
    num_tried: int = 0
    """On how many of them it was tried; others may lie there from another search."""

    def tried_with(self, config: dict[str, Any]) -> bool:
        """Whether these are its settings."""
        return self.model_dump(include=set(config)) == config

    def __str__(self) -> str:
        """As people say it, e.g. ``0.005, r 16``."""
        others = {**self.training, **self.lora}
        return ", ".join([f"{self.learning_rate:g}", *(f"{k} {v}" for k, v in others.items())])


class Replicate(Settings):
    """Dev rows and seed of one trial of each config."""

    seed: int
    """The trial's seed."""
    dev: str
    """source, or target: which language its dev rows are of."""
    name: str
    """Which dev rows, e.g. ``dev-target0.3``."""


class SearchedCell(Settings):
    """A base model on a pattern."""

    base_model: str
    """Name in tables."""
    pattern: str
    """Name in tables."""
    base_identity: str
    """Identity of the base model's weights."""
    own_rate: float
    """Learning rate that the base model has without a search."""
    replicates: tuple[Replicate, ...]
    """What each config is tried on."""
    configs: tuple[SearchedConfig, ...] = ()
    """In the order in which they were tried."""
    low: float
    """Smallest learning rate that could be tried."""
    high: float
    """Largest learning rate that could be tried."""
    was_widened: bool = False
    """Whether the best was at an end of the range, which was widened then."""

    @property
    def key(self) -> CellKey:
        """The cell's name."""
        return CellKey(self.base_model, self.pattern)

    @property
    def name(self) -> str:
        """The cell's name in messages."""
        return str(self.key)


class SearchPlan(Settings):
    """A search, finished or not."""

    experiment: str
    """Name of the experiment."""
    search_id: str
    """Hash of the settings, the data and the cells: another one is another search."""
    settings: dict[str, Any]
    """The experiment's ``search`` block."""
    data_fingerprint: str
    """SHA-256 of the data set's rows, test rows included."""
    metric: str
    """What is maximised on dev rows."""
    is_finished: bool = False
    """Whether everything was tried that the settings ask for."""
    why_stopped: str = ""
    """What ended it early: a budget."""
    cells: tuple[SearchedCell, ...]
    """The cells that are searched."""
