"""The plan of an experiment as it lies beside its results: every cell, its trials or its reason."""

from __future__ import annotations

import pydantic

from xlt.data.core.errors import InputError
from xlt.data.core.settings import Settings
from xlt.data.dataset.schema import BINARY
from xlt.trainables.spec.cell_key import CellKey
from xlt.trainables.spec.selection import parse_selection


class PlannedTrial(Settings):
    """One seed of a cell."""

    trial_id: str
    """Names the trial's folder."""
    seed: int
    """The trial's seed."""
    draw_index: int = 0
    """Which draw of training rows it learns from."""


class PlannedCell(Settings):
    """One table entry: all seeds of a base model on a pattern."""

    base_model: str
    """Name in tables."""
    pattern: str
    """Name in tables."""
    target_lang: str = ""
    """Language of its test rows; empty in the plans of early versions."""
    trials: tuple[PlannedTrial, ...] = ()
    """One a draw and seed, in their order; none for a cell that cannot exist."""
    skipped: str = ""
    """Why the cell cannot exist; empty for one that can."""
    note: str = ""
    """Why the cell's settings differ from the rest (an override's ``why``); a table footnote."""
    chosen: str = ""
    """How its learning rate was chosen on dev rows; empty: it was not searched."""
    replaced: tuple[PlannedTrial, ...] = ()
    """Trials that did not train and were run again with a searched learning rate."""

    @property
    def key(self) -> CellKey:
        """The cell's name."""
        return CellKey(self.base_model, self.pattern)


class Plan(Settings):
    """What an experiment consists of; written before anything runs.

    The cells are ordered as in the experiment: base models are table rows, patterns columns.
    """

    experiment: str
    """Name of the experiment."""
    title: str = ""
    """What tables are headed with, e.g. that the base models are miniatures."""
    positive: str = "positive"
    """What class 1 is called, if there are two classes."""
    classes: tuple[str, ...] = BINARY
    """Name of each label."""
    data_fingerprint: str = ""
    """SHA-256 of the data set's rows."""
    data_warnings: tuple[str, ...] = ()
    """What the gate found, told below every table."""
    cells: tuple[PlannedCell, ...] = pydantic.Field(min_length=1)
    """base models x patterns."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """What people call each class; class 0 of a task that names its class 1 alone: not it."""
        if self.classes == BINARY and self.positive != BINARY[1]:
            return f"not {self.positive}", self.positive
        return self.classes

    def select(self, only: str) -> Plan:
        """Keep the cells that a text such as ``model=elyza,pattern=ja16`` selects.

        Raises:
            InputError: Unknown names, or no cell is selected.
        """
        selection = parse_selection(only, self.base_models, self.patterns)
        cells = tuple(cell for cell in self.cells if selection.has(cell.key))
        if not cells:
            raise InputError(f"{only!r} selects no cell of {self.experiment}", "--only")
        return self.model_copy(update={"cells": cells})

    @property
    def base_models(self) -> list[str]:
        """Table rows, in order."""
        return list(dict.fromkeys(cell.base_model for cell in self.cells))

    @property
    def patterns(self) -> list[str]:
        """Table columns, in order."""
        return list(dict.fromkeys(cell.pattern for cell in self.cells))

    @property
    def target_langs(self) -> list[str]:
        """Languages of the test rows, in order."""
        return list(dict.fromkeys(cell.target_lang for cell in self.cells))

    @property
    def seeds(self) -> list[int]:
        """Every seed, in order."""
        return list(dict.fromkeys(trial.seed for cell in self.cells for trial in cell.trials))

    @property
    def draws(self) -> list[int]:
        """Every draw of training rows, in order."""
        trials = (trial for cell in self.cells for trial in cell.trials)
        return list(dict.fromkeys(trial.draw_index for trial in trials))

    @property
    def trial_ids(self) -> list[str]:
        """Every trial, cell by cell."""
        return [trial.trial_id for cell in self.cells for trial in cell.trials]
