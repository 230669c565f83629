"""Predictions of an experiment as arrays: num_runs x num_items (x num_classes) for each cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.scored_rows import TestRows, number_stories
from xlt.analysis.trials.trial_names import Run, has_draws, run_name
from xlt.data.core.errors import InputError
from xlt.data.core.text import first_line
from xlt.trainables.metrics.arrays import Labels, Scores
from xlt.trainables.spec.cell_key import CellKey


@dataclass(frozen=True)
class CellScores:
    """Predictions of the done trials of a cell, on the same test rows in the same order.

    Attributes:
        base_model: Table row.
        pattern: Table column.
        runs: num_runs pairs of draw and seed, in the order of the plan.
        gaps: One phrase for each planned run without predictions, e.g. ``seed 1 missing``.
        ids: num_items ids of test rows, sorted; equal for cells with the same test rows.
        y_true: num_items class numbers.
        scores: num_runs x num_items probabilities of class 1, or with more than two classes
            num_runs x num_items x num_classes probabilities.
        untrained: Runs that did not train (training_state.py).
        stories: num_items numbers of the story that each row belongs to; None: each row has its
            own.
    """

    base_model: str
    pattern: str
    runs: tuple[Run, ...]
    gaps: tuple[str, ...]
    ids: tuple[str, ...]
    y_true: Labels
    scores: Scores
    untrained: frozenset[Run] = frozenset()
    stories: NDArray[np.intp] | None = None

    @property
    def key(self) -> CellKey:
        """The cell's name."""
        return CellKey(self.base_model, self.pattern)

    @property
    def trial_names(self) -> tuple[str, ...]:
        """Names of the runs in figures."""
        with_draw = has_draws([draw_index for draw_index, _ in self.runs])
        return tuple(run_name(run, with_draw) for run in self.runs)


@dataclass(frozen=True)
class ExperimentScores:
    """Predictions of all cells of an experiment, for intervals and comparisons.

    Attributes:
        cells: Cells with usable predictions, in the order of the plan.
        left_out: The reason for each of the other cells.
        num_classes: Number of classes.
    """

    cells: Mapping[CellKey, CellScores]
    left_out: Mapping[CellKey, str]
    num_classes: int = 2


def load_scores(collected: Collected) -> ExperimentScores:
    """Read the predictions of all done trials.

    A cell is left out, with the reason, if none of its runs is done, if :func:`read_test_rows`
    refuses a file, or if runs were tested on different rows.

    Args:
        collected: The experiment.
    """
    cells: dict[CellKey, CellScores] = {}
    left_out: dict[CellKey, str] = {}
    stories: dict[tuple[str, ...], NDArray[np.intp] | None] = {}
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
            if not done:
                raise InputError(", ".join(gaps))
            test_rows = [_read(collected, row.trial_id, name) for name, row in done]
            ids, y_true = _shared(test_rows, [name for name, _ in done])
        except InputError as error:
            left_out[key] = str(error)
            continue
        scores = np.stack([rows.y_score for rows in test_rows])
        runs = tuple(row.run for _, row in done)
        untrained = frozenset(row.run for _, row in done if row.training != "trained")
        if ids not in stories:
            stories[ids] = number_stories(ids, collected.plan.same_story)
        cells[key] = CellScores(*key, runs, gaps, ids, y_true, scores, untrained, stories[ids])
    return ExperimentScores(cells, left_out, len(collected.plan.classes))


def _read(collected: Collected, trial_id: str, run: str) -> TestRows:
    """The test rows of a trial; errors begin with the name of the run."""
    try:
        return collected.predictions.of(trial_id)
    except InputError as error:
        raise InputError(f"{run}: {error}") from error


def _shared(test_rows: list[TestRows], runs: list[str]) -> tuple[tuple[str, ...], Labels]:
    """The ids and labels, which must be equal for all runs."""
    ids, y_true = test_rows[0].ids, test_rows[0].y_true
    for run, rows in zip(runs, test_rows, strict=True):
        if ids != rows.ids:
            differ = len(set(ids) ^ set(rows.ids))
            raise InputError(
                f"{runs[0]} and {run} were tested on different rows ({differ} ids in one)"
            )
        if not np.array_equal(y_true, rows.y_true):
            raise InputError(f"{runs[0]} and {run} have different labels for a test row")
    return ids, y_true
