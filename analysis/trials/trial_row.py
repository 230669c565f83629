"""TrialRow: one planned trial and the content of its result folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow as pa

from xlt.analysis.trials.training_state import TrainingState
from xlt.analysis.trials.trial_names import Run
from xlt.trainables.spec.cell_key import CellKey

RowState = Literal["done", "failed", "missing", "corrupt"]

COLUMNS = pa.schema(
    [
        pa.field("experiment", pa.string(), nullable=False),
        pa.field("base_model", pa.string(), nullable=False),
        pa.field("pattern", pa.string(), nullable=False),
        pa.field("draw_index", pa.int64(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("trial_id", pa.string(), nullable=False),
        pa.field("state", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
        # null unless the trial is done, from here on
        pa.field("method", pa.string()),
        pa.field("learning_rate", pa.float64()),
        pa.field("num_train_rows", pa.int64()),
        pa.field("num_target_rows", pa.int64()),
        pa.field("num_test_rows", pa.int64()),
        pa.field("device", pa.string()),
        pa.field("fit_seconds", pa.float64()),
        pa.field("training", pa.string()),
        pa.field("training_evidence", pa.string()),
    ]
)
"""Columns of the table of trials, explained in :class:`TrialRow`. A float64 column for each metric
follows them."""


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One planned trial. Fields with the default None are known of done trials only.

    Attributes:
        experiment: Name of the experiment.
        cell: Table row and column.
        draw_index: Number of the draw of training rows.
        seed: Seed of the trial.
        trial_id: Folder below ``trials/``.
        state: State of the result folder.
        detail: Why the trial failed or is corrupt; else empty.
        method: full, lora, or a baseline: embed, ngram or prompt.
        learning_rate: Peak learning rate; None also for a baseline.
        num_train_rows: Training rows in source and target language.
        num_target_rows: Training rows in the target language.
        num_test_rows: Test rows.
        device: Name of the processor, ``cpu:<name>`` or ``cuda:<name>``.
        fit_seconds: Seconds of training; None also where trial.json does not say.
        training: Whether the trial trained (training_state.py).
        training_evidence: Why it did not train; empty if it trained.
        metrics: Metrics on the test rows, by name, fractions of 1. A trial without a test row of
            each class lacks some.
    """

    experiment: str
    cell: CellKey
    draw_index: int
    seed: int
    trial_id: str
    state: RowState
    detail: str = ""
    method: str | None = None
    learning_rate: float | None = None
    num_train_rows: int | None = None
    num_target_rows: int | None = None
    num_test_rows: int | None = None
    device: str | None = None
    fit_seconds: float | None = None
    training: TrainingState | None = None
    training_evidence: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        """Whether the trial has a verified result."""
        return self.state == "done"

    @property
    def run(self) -> Run:
        """Draw and seed, which distinguish the trials of a cell."""
        return self.draw_index, self.seed

    def columns(self) -> dict[str, Any]:
        """The values of :data:`COLUMNS`, then those of the metrics that the trial has."""
        own = [name for name in COLUMNS.names if name not in CellKey._fields]
        values = self.cell._asdict() | {name: getattr(self, name) for name in own}
        return {name: values[name] for name in COLUMNS.names} | dict(self.metrics)
