"""The predictions of an experiment as arrays: num_runs x num_items for every cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.predictions import TestRows
from xlt.analysis.trials.trial_names import Run, has_draws, run_name
from xlt.data.core.errors import InputError
from xlt.data.core.text import first_line
from xlt.trainables.metrics.arrays import Labels, Scores
from xlt.trainables.spec.cell_key import CellKey


@dataclass(frozen=True)
class CellScores:
    """What the done trials of a cell predicted, on the same items in the same order.

    Attributes:
        base_model: Table row.
        pattern: Table column.
        runs: num_runs (draw of training rows, seed), the rows of ``scores`` in the order of the
            plan.
        gaps: Planned runs without predictions, a phrase each, e.g. ``seed 1 missing``.
        ids: num_items ids of test rows, sorted; equal for cells that share test rows.
        y_true: num_items, 0 or 1.
        scores: num_runs x num_items, probability of class 1.
    """

    base_model: str
    pattern: str
    runs: tuple[Run, ...]
    gaps: tuple[str, ...]
    ids: tuple[str, ...]
    y_true: Labels
    scores: Scores

    @property
    def key(self) -> CellKey:
        """The cell's name."""
        return CellKey(self.base_model, self.pattern)

    @property
    def trial_names(self) -> tuple[str, ...]:
        """What figures call the runs."""
        with_draw = has_draws([draw_index for draw_index, _ in self.runs])
        return tuple(run_name(run, with_draw) for run in self.runs)


@dataclass(frozen=True)
class ExperimentScores:
    """The cells of an experiment that intervals and comparisons can be made of.

    Attributes:
        cells: Predictions, in the order of the plan.
        left_out: Why a cell is not in ``cells``.
    """

    cells: Mapping[CellKey, CellScores]
    left_out: Mapping[CellKey, str]


def load_scores(collected: Collected) -> ExperimentScores:
    """Read the predictions of every done trial.

    A cell whose predictions cannot be used is left out with the reason, and the rest goes on: no
    run is done, more than two classes, a file without the columns, an id twice, scores that are
    not probabilities, or runs that were tested on different rows.

    Args:
        collected: The trials, see :func:`collect`.
    """
    cells: dict[CellKey, CellScores] = {}
    left_out: dict[CellKey, str] = {}
    for planned in collected.plan.cells:
        key = planned.key
        rows = collected.by_cell[key]
        if not rows:
            left_out[key] = first_line(planned.skipped) or "no trials planned"
            continue
        with_draw = has_draws([row.draw_index for row in rows])
        named = [(run_name(row.run, with_draw), row) for row in rows]
        gaps = tuple(f"{name} {row.state}" for name, row in named if not row.is_done)
        done = [(name, row) for name, row in named if row.is_done]
        try:
            if len(collected.plan.classes) > 2:
                raise InputError("more than two classes; intervals and comparisons are of two")
            if not done:
                raise InputError(", ".join(gaps))
            read = [_read(collected, row.trial_id, name) for name, row in done]
            ids, y_true = _shared(read, [name for name, _ in done])
        except InputError as error:
            left_out[key] = str(error)
            continue
        scores = np.stack([rows.y_score for rows in read])
        runs = tuple(row.run for _, row in done)
        cells[key] = CellScores(*key, runs, gaps, ids, y_true, scores)
    return ExperimentScores(cells, left_out)


def _read(collected: Collected, trial_id: str, run: str) -> TestRows:
    """A trial's test rows; what is wrong with them is told with the run."""
    try:
        return collected.predictions.of(trial_id)
    except InputError as error:
        raise InputError(f"{run}: {error}") from error


def _shared(read: list[TestRows], runs: list[str]) -> tuple[tuple[str, ...], Labels]:
    """The ids and labels that all runs agree on."""
    ids, y_true = read[0].ids, read[0].y_true
    for run, rows in zip(runs, read, strict=True):
        if ids != rows.ids:
            differ = len(set(ids) ^ set(rows.ids))
            raise InputError(
                f"{runs[0]} and {run} were tested on different rows ({differ} ids in one)"
            )
        if not np.array_equal(y_true, rows.y_true):
            raise InputError(f"{runs[0]} and {run} have different labels for a test row")
    return ids, y_true
