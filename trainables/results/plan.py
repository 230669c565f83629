"""The plan of an experiment: its cells, with their trials or the reason why they have none."""

from __future__ import annotations

from typing import Annotated

import pydantic

from xlt.data.core.errors import InputError
from xlt.data.core.settings import Settings, added_later
from xlt.data.core.text import shorten
from xlt.data.dataset.patterns import TranslatedRows
from xlt.data.dataset.schema import BINARY
from xlt.trainables.results.layout import EXPERIMENT_NAME, TRIAL_ID
from xlt.trainables.spec.cell_key import CellKey
from xlt.trainables.spec.cost import Cost
from xlt.trainables.spec.selection import parse_selection


def _is_folder(trial_id: str) -> str:
    if not TRIAL_ID.fullmatch(trial_id):
        raise ValueError(f"{shorten(trial_id)!r} is no name of a folder")
    return trial_id


TrialId = Annotated[str, pydantic.AfterValidator(_is_folder)]


class PlannedTrial(Settings):
    """One seed of a cell."""

    trial_id: TrialId
    """Name of the trial's folder."""
    seed: int
    """The trial's seed."""
    draw_index: int = 0
    """Number of the draw of training rows."""
    extends: str = added_later("")
    """Id of the finished trial whose kept model predicts in more test languages; empty: none."""


class PlannedCell(Settings):
    """One table entry: all trials of a base model on a pattern."""

    base_model: str
    """Name in tables."""
    pattern: str
    """Name in tables."""
    target_lang: str = ""
    """Language of the test rows; empty in plans of early versions."""
    translate: TranslatedRows | None = added_later(None)
    """Rows that are read in translation; None: none."""
    source_langs: tuple[str, ...] = added_later(())
    """Languages of the source rows of its pattern; empty: those of all cells are in one language,
    or the pattern has none."""
    test_langs: tuple[str, ...] = added_later(())
    """Languages in which its trials are tested; empty: ``target_lang``."""
    names: dict[str, str] = added_later({})
    """Target language -> name of another pattern that trains on the same rows, e.g. de0."""
    trials: tuple[PlannedTrial, ...] = ()
    """One trial for each draw and seed, in this order; none for an impossible cell."""
    skipped: str = ""
    """Reason why the cell is impossible; empty if it is possible."""
    note: str = ""
    """Table footnote: reason why the cell's settings differ (an override's ``why``)."""
    chosen: str = ""
    """Account of the choice of its learning rate on dev rows; empty if it was not searched."""
    replaced: tuple[PlannedTrial, ...] = ()
    """Trials that did not train and were run again with a searched learning rate."""

    @property
    def key(self) -> CellKey:
        """The cell's name."""
        return CellKey(self.base_model, self.pattern)

    def tested_in(self, lang: str) -> PlannedCell | None:
        """The cell under its name in a test language; None if it is not tested there."""
        if lang not in (self.test_langs or (self.target_lang,)):
            return None
        if lang not in self.names:
            return self
        return self.model_copy(update={"pattern": self.names[lang], "target_lang": lang})


class Plan(Settings):
    """The cells and trials of an experiment; written before the first trial runs.

    The cells are ordered as in the experiment: base models are table rows, patterns columns.
    """

    experiment: str
    """Name of the experiment."""
    title: str = ""
    """Heading of tables, e.g. that the base models are miniatures."""
    positive: str = "positive"
    """Name of class 1, if there are two classes."""
    classes: tuple[str, ...] = BINARY
    """Name of each label."""
    prevalence: float | None = added_later(None)
    """Share of class 1 among the texts that the task is about; None: not known."""
    cost: Cost | None = added_later(None)
    """Prices of the hardware, with which reports compute money; None: not known."""
    data_fingerprint: str = ""
    """SHA-256 of the data set's rows."""
    data_warnings: tuple[str, ...] = ()
    """Warnings of the data audit, printed below every table."""
    same_story: tuple[tuple[str, ...], ...] = pydantic.Field(
        default=(), exclude_if=lambda groups: not groups
    )
    """Ids of the test rows of each story that has several."""
    wrong_labels: tuple[str, ...] = pydantic.Field(default=(), exclude_if=lambda ids: not ids)
    """Ids of the test rows whose label is known to be wrong."""
    translations: tuple[str, ...] = added_later(())
    """Sentence for each kind of translation that patterns read: what is read, and its origin."""
    cells: tuple[PlannedCell, ...] = pydantic.Field(min_length=1)
    """All base models x all patterns."""

    @pydantic.field_validator("experiment")
    @classmethod
    def _is_name(cls, name: str) -> str:
        if not EXPERIMENT_NAME.fullmatch(name):
            raise ValueError(f"{shorten(name)!r} is no name of an experiment")
        return name

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each class; class 0 is "not <class 1>" if the task names only class 1."""
        if self.classes == BINARY and self.positive != BINARY[1]:
            return f"not {self.positive}", self.positive
        return self.classes

    def select(self, only: str) -> Plan:
        """Keep the cells that a text such as ``model=elyza,pattern=ja16`` selects.

        Raises:
            InputError: Unknown names, or no cell is selected.
        """
        patterns = [name for cell in self.cells for name in (cell.pattern, *cell.names.values())]
        selection = parse_selection(only, self.base_models, patterns)
        cells = tuple(
            cell
            for cell in self.cells
            if any(
                selection.has(CellKey(cell.base_model, name))
                for name in (cell.pattern, *cell.names.values())
            )
        )
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
        """Target languages, in order."""
        return list(dict.fromkeys(cell.target_lang for cell in self.cells))

    @property
    def test_langs(self) -> list[str]:
        """Languages in which every trial is tested, in order; none: each in its target language."""
        return list(dict.fromkeys(lang for cell in self.cells for lang in cell.test_langs))

    @property
    def seeds(self) -> list[int]:
        """Seeds, in order."""
        return list(dict.fromkeys(trial.seed for cell in self.cells for trial in cell.trials))

    @property
    def draws(self) -> list[int]:
        """Numbers of the draws of training rows, in order."""
        trials = (trial for cell in self.cells for trial in cell.trials)
        return list(dict.fromkeys(trial.draw_index for trial in trials))

    @property
    def trial_ids(self) -> list[str]:
        """Ids of all trials, cell by cell."""
        return [trial.trial_id for cell in self.cells for trial in cell.trials]
