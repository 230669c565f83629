"""Everything that the card of an exported model is about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from xlt.analysis.tables.cells import TableCell
from xlt.analysis.tables.metric_cells import collect_metric_cells
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.scores import load_scores
from xlt.analysis.trials.test_lang import by_test_lang
from xlt.analysis.uncertainty.intervals import CellIntervals
from xlt.data.core.errors import InputError
from xlt.sweep.export.choose import ChosenRun
from xlt.sweep.predict.threshold import Threshold
from xlt.trainables.inference.save import SavedClassifier
from xlt.trainables.metrics.registry import METRICS, reported_metrics
from xlt.trainables.results.find_trial import FinishedTrial
from xlt.trainables.results.layout import TrialTable
from xlt.trainables.results.plan import PlannedCell
from xlt.trainables.results.result import Results

SPLITS: tuple[tuple[str, TrialTable, str], ...] = (
    ("train", "train_rows", "label"),
    ("test", "predictions", "y_true"),
)
"""Name of a split, its table, and the column of its classes."""


@dataclass(frozen=True)
class ScoreLine:
    """A metric of the cell in a test language.

    Attributes:
        lang: Language of the test rows.
        metric: Name of the metric.
        cell: Mean, standard deviation and interval over the cell's runs.
        own: Value of the exported run; None: it has none.
        without_interval: Why the mean has no interval; empty if it has one.
    """

    lang: str
    metric: str
    cell: TableCell
    own: float | None
    without_interval: str

    @property
    def label(self) -> str:
        """Name of the metric in tables."""
        return METRICS[self.metric].label


@dataclass(frozen=True)
class Subject:
    """An exported model with its cell.

    Attributes:
        collected: The trials of its cell alone.
        trial: The exported trial.
        run: Name in the cell, and why it was chosen.
        saved: Weights in the folder, and their comparison with the trial.
        threshold: Threshold for two classes; None: the label is the most probable class.
        about_threshold: Sentence on a threshold that a rule chose; else empty.
        command: Command that made the folder.
        repository: Hub id of the folder; empty: none.
        hub_data: Hub id of the data set and its revision; None: the data are not from the hub.
    """

    collected: Collected
    trial: FinishedTrial
    run: ChosenRun
    saved: SavedClassifier
    threshold: Threshold | None
    about_threshold: str
    command: str
    repository: str = ""
    hub_data: tuple[str, str | None] | None = None

    @property
    def cell(self) -> PlannedCell:
        """The cell in the plan."""
        return self.collected.plan.cells[0]

    @property
    def record(self) -> Mapping[str, Any]:
        """Content of trial.json."""
        return self.collected.records[self.trial.trial_id]

    @cached_property
    def scores(self) -> list[ScoreLine]:
        """The reported metrics of the cell, in each test language."""
        lines = []
        for tested in by_test_lang(self.collected):
            lang = tested.test_lang or self.trial.spec.pattern.target_lang
            intervals = CellIntervals(load_scores(tested))
            own = next(row for row in tested.rows if row.trial_id == self.trial.trial_id).metrics
            for metric in reported_metrics(len(tested.plan.classes)):
                cells = collect_metric_cells(tested, metric, None, intervals)
                (cell,) = cells.cells
                why = cells.without_interval.get(cell.key, "")
                lines.append(ScoreLine(lang, metric, cell, own.get(metric), why))
        return lines

    @cached_property
    def counts(self) -> dict[tuple[str, str], Counter[int]]:
        """Split and language -> number of rows of each class."""
        location, trial_id = Results(self.collected.uri), self.trial.trial_id
        counted: dict[tuple[str, str], Counter[int]] = {}
        for split, name, label in SPLITS:
            table = location.read_table(trial_id, name, ["lang", label])
            if {"lang", label} - {*table.column_names}:
                raise InputError(f"{name} of trial {trial_id} lack lang or {label}; run it again")
            for lang, number in zip(
                table["lang"].to_pylist(), table[label].to_pylist(), strict=True
            ):
                counted.setdefault((split, lang), Counter())[number] += 1
        return counted

    @property
    def trained_langs(self) -> list[str]:
        """Languages of the training rows."""
        return [lang for split, lang in self.counts if split == "train"]

    @property
    def tested_langs(self) -> list[str]:
        """Languages of the test rows."""
        return [lang for split, lang in self.counts if split == "test"]
