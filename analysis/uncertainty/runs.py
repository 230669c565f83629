"""The values of a metric for the runs of a cell, and how much each test row moves them.

A run is one trial of a cell: a seed, or a seed on a draw of training rows where there are several
draws. Runs and test rows are crossed: every run is tested on the same rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xlt.analysis.trials.scores import CellScores
from xlt.analysis.trials.trial_names import Run
from xlt.data.core.errors import InputError, unknown
from xlt.trainables.metrics.arrays import Values, count_classes
from xlt.trainables.metrics.prevalence import resampled_at
from xlt.trainables.metrics.registry import undefined
from xlt.trainables.metrics.resampled import Resampled, weight_type
from xlt.trainables.spec.cell_key import CellKey


@dataclass(frozen=True)
class Runs:
    """A metric for the runs of a cell, or differences of paired runs.

    Attributes:
        values: num_runs values on the test rows.
        influence: num_runs x num_items deviations, scaled so that the sum of squares of a run
            estimates the variance of its value over test rows; items are rows or stories.
        runs: num_runs pairs of draw and seed.
    """

    values: Values
    influence: Values
    runs: tuple[Run, ...]

    def __mul__(self, factor: float) -> Runs:
        """Multiply the values and influences of all runs."""
        return Runs(factor * self.values, factor * self.influence, self.runs)

    def __neg__(self) -> Runs:
        """Change the sign."""
        return self * -1.0

    def __add__(self, other: Runs) -> Runs:
        """Add another metric or cell with the same runs, run by run."""
        return Runs(self.values + other.values, self.influence + other.influence, self.runs)

    def chosen(self, rows: Sequence[int]) -> Runs:
        """Select runs by position, in the given order."""
        runs = tuple(self.runs[row] for row in rows)
        return Runs(self.values[rows], self.influence[rows], runs)


def sum_by_story(influence: Values, stories: NDArray[np.intp]) -> Values:
    """Influences of whole stories, because rows of one story are not independent.

    The sum of squares of the sums over clusters estimates the variance of a value over clusters
    (Liang & Zeger 1986, Biometrika 73:13), with the factor G / (G - 1) for G clusters in place of
    n / (n - 1) for n rows.

    Args:
        influence: num_runs x num_rows influences of rows.
        stories: num_rows numbers of stories, from 0.

    Returns:
        num_runs x num_stories.

    Raises:
        InputError: There is only one story.
    """
    num_rows, num_stories = len(stories), int(stories.max()) + 1
    if num_stories < 2:
        raise InputError("all test rows are of one story, so no error is known")
    sums = np.array([np.bincount(stories, run, num_stories) for run in influence])
    factor = num_stories / (num_stories - 1) * (num_rows - 1) / num_rows
    scaled: Values = np.sqrt(factor) * sums
    return scaled


def find_resampled(metric: str, known: Mapping[str, Resampled], num_classes: int) -> Resampled:
    """Look up the functions of a metric; InputError for a name that is not known."""
    if metric not in known:
        classes = "two classes" if num_classes == 2 else f"{num_classes} classes"
        raise InputError(unknown(f"metric of {classes}", metric, known))
    return known[metric]


class MetricRuns:
    """Computes a metric for the runs of each cell once and keeps the result.

    Args:
        metric: Name in ``known``.
        known: Functions of each metric or measure, by name; None: those of metrics.
        prevalence: Share of class 1 at which a metric is computed; None: that of the test rows.
        num_classes: Number of classes.

    Raises:
        InputError: The metric is not in ``known``.
    """

    def __init__(
        self,
        metric: str,
        known: Mapping[str, Resampled] | None = None,
        prevalence: float | None = None,
        num_classes: int = 2,
    ) -> None:
        if known is None:
            known = resampled_at(prevalence, num_classes)
        self.metric, self.prevalence = metric, prevalence
        self._resampled = find_resampled(metric, known, num_classes)
        self._by_row: dict[CellKey, Runs] = {}
        self._runs: dict[CellKey, Runs] = {}

    def of(self, cell: CellScores, values: Values | None = None) -> Runs:
        """Values of the runs of a cell, and influences of its rows, or of its stories.

        Args:
            cell: Scores of the runs.
            values: num_runs values of the metric, if the caller has them.

        Raises:
            InputError: The metric has no value on the test rows of the cell.
        """
        if cell.key not in self._runs:
            runs = self.by_row(cell, values)
            if cell.stories is not None:
                runs = Runs(runs.values, sum_by_story(runs.influence, cell.stories), runs.runs)
            self._runs[cell.key] = runs
        return self._runs[cell.key]

    def by_row(self, cell: CellScores, values: Values | None = None) -> Runs:
        """Values of the runs of a cell, and influences of single rows; see :meth:`of`."""
        if cell.key not in self._by_row:
            if reason := undefined(self.metric, cell.y_true, count_classes(cell.scores)):
                raise InputError(reason)
            if values is None:
                once_each = np.ones((len(cell.y_true), 1), weight_type(len(cell.y_true)))
                values = self._resampled.weighted(cell.y_true, cell.scores, once_each)[:, 0]
            influence = self._resampled.influences(cell.y_true, cell.scores)
            self._by_row[cell.key] = Runs(values, influence, cell.runs)
        return self._by_row[cell.key]
