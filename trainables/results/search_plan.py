"""The plan of a learning-rate search: all configs that were tried, with their trials."""

from __future__ import annotations

from typing import Any

import pydantic

from xlt.data.core.settings import Settings
from xlt.trainables.results.plan import TrialId
from xlt.trainables.spec.cell_key import CellKey


class SearchedConfig(Settings):
    """A config: settings that were tried on a cell."""

    learning_rate: float
    """Peak learning rate."""
    training: dict[str, Any] = pydantic.Field(default={})
    """Settings of ``training`` that were tried with it."""
    lora: dict[str, Any] = pydantic.Field(default={})
    """Settings of ``lora`` that were tried with it."""
    trial_ids: tuple[TrialId, ...]
    """One trial for each replicate, in the order of :attr:`SearchedCell.replicates`."""
    num_tried: int = 0
    """Number of replicates on which this search tried it; another search may have tried more."""

    def tried_with(self, config: dict[str, Any]) -> bool:
        """Whether these settings are those of this config."""
        return self.model_dump(include=set(config)) == config

    def __str__(self) -> str:
        """Short text, e.g. ``0.005, r 16``."""
        others = {**self.training, **self.lora}
        return ", ".join([f"{self.learning_rate:g}", *(f"{k} {v}" for k, v in others.items())])


class Replicate(Settings):
    """Seed and dev rows on which each config is tried once."""

    seed: int
    """The trial's seed."""
    dev: str
    """Language of the dev rows: source or target."""
    name: str
    """Name of the dev rows, e.g. ``dev-target0.3``."""


class SearchedCell(Settings):
    """A cell, with the configs that were tried on it."""

    base_model: str
    """Name in tables."""
    pattern: str
    """Name in tables."""
    base_identity: str
    """Identity of the base model's weights."""
    own_rate: float
    """Learning rate of the base model without a search."""
    replicates: tuple[Replicate, ...]
    """Seeds and dev rows on which each config is tried."""
    configs: tuple[SearchedConfig, ...] = ()
    """Configs in the order in which they were tried."""
    low: float
    """Smallest learning rate that could be tried."""
    high: float
    """Largest learning rate that could be tried."""
    was_widened: bool = False
    """Whether the range was widened because the best config was at one of its ends."""

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
    """Hash of the settings, the data and the cells; it tells searches apart."""
    settings: dict[str, Any]
    """The experiment's ``search`` block."""
    data_fingerprint: str
    """SHA-256 of the data set's rows, test rows included."""
    metric: str
    """Metric that is maximised on dev rows."""
    is_finished: bool = False
    """Whether all requested configs were tried."""
    why_stopped: str = ""
    """Budget that ended the search early; empty if none did."""
    cells: tuple[SearchedCell, ...]
    """Cells of the search."""
