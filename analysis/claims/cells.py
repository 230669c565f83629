"""Sources of differences for claims: result folders, or the published tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from xlt.analysis.claims.published_difference import difference_to_published
from xlt.analysis.claims.schema import signed_cells
from xlt.analysis.comparisons.compare import signed_groups
from xlt.analysis.tables import paper
from xlt.analysis.tables.cells import TableCell, aggregate
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.scores import load_scores
from xlt.analysis.trials.trial_row import TrialRow
from xlt.analysis.uncertainty.collapse import describe_collapse
from xlt.analysis.uncertainty.differences import Difference, runs_difference
from xlt.analysis.uncertainty.runs import MetricRuns, Runs
from xlt.analysis.uncertainty.trial_units import (
    has_several_draws,
    mean_variances,
    num_units,
    units_of,
)
from xlt.analysis.uncertainty.welch import Sample, welch, welch_sum
from xlt.data.core.errors import InputError, unknown
from xlt.data.core.text import first_line
from xlt.trainables.metrics.registry import resampled_metrics
from xlt.trainables.results.plan import PlannedCell
from xlt.trainables.spec.cell_key import CellKey


class Cells(Protocol):
    """A source of cells that can be compared."""

    def difference(self, metric: str, first: str, second: str) -> Difference:
        """First minus second.

        Args:
            metric: Name of a metric.
            first: Cell as base model/pattern, or a difference of two, see :func:`signed_cells`.
            second: Cell or difference that is subtracted.

        Raises:
            InputError: A cell has no value, or the error of the difference is unknown.
        """


class ResultCells:
    """The cells of an experiment. A miniature stands in for its model if that is not there.

    Args:
        collected: The trials, not at a prevalence.
    """

    def __init__(self, collected: Collected) -> None:
        if collected.prevalence is not None:
            raise InputError("claims are about test rows as drawn, not about another prevalence")
        self.collected = collected
        self.scores = load_scores(collected)
        self._resampled = resampled_metrics(self.scores.num_classes)
        self._metric_runs: dict[str, MetricRuns] = {}

    def base_model(self, name: str) -> str:
        """The base model of the experiment with a name, or its miniature.

        Raises:
            InputError: The experiment has neither of them.
        """
        models = self.collected.plan.base_models
        if name in models:
            return name
        small = f"{paper.MINIATURE_PREFIX}{name}"
        if small not in models:
            raise InputError(unknown("base model", name, models))
        return small

    def cell(self, metric: str, name: str) -> TableCell:
        """The table entry of a cell in any state.

        Raises:
            InputError: The cell is not in the plan, or no trial reports the metric.
        """
        planned, rows = self._planned(metric, name)
        return aggregate(planned, rows, metric)

    def sample(self, metric: str, cell: str) -> Sample:
        """The independent units of a cell, for a test that takes the test rows as fixed.

        With several draws of training rows, n is the smaller number of draws and of seeds, and std
        is chosen so that std^2 / n is the variance of the mean.

        Raises:
            InputError: The cell has no value; the error gives the reason.
        """
        entry = self.cell(metric, cell)
        if entry.mean is None:
            why = first_line(entry.note) or "; ".join(entry.problems)
            raise InputError(f"{entry.key.path} has no value: {why}")
        rows = [row for row in self._planned(metric, cell)[1] if metric in row.metrics]
        runs = [row.run for row in rows]
        if not has_several_draws(runs):
            return Sample(entry.mean, entry.std, entry.n)
        values = np.array([row.metrics[metric] for row in rows])
        by_factor, rest = mean_variances(values, units_of(runs))
        n = num_units(runs)
        return Sample(entry.mean, math.sqrt(max(float(sum(by_factor) - rest), 0.0) * n), n)

    def difference(self, metric: str, first: str, second: str) -> Difference:
        """See :class:`Cells`; over runs and test rows, or Welch's t if rows cannot be used."""
        samples = _samples(self.sample, metric, first, second)
        try:
            if self.without_rows(metric, first, second):
                return welch_sum(samples)
            return runs_difference(self._groups(metric, first, second))
        except InputError as error:
            raise InputError(f"{first} - {second}: {error}") from error

    def difference_to_published(self, metric: str, name: str) -> Difference:
        """A cell minus its published value, over runs and test rows of both.

        It is Welch's t over seeds if the test rows of the cell cannot be used.

        Raises:
            InputError: The paper or the cell has no value, the error is unknown, or only some runs
                of the cell collapsed, so that its mean has no interval.
        """
        published = PublishedCells().sample(metric, name)
        ours = self.sample(metric, name)
        cell = self.scores.cells.get(self._key(name))
        if cell is None or metric not in self._resampled:
            return welch(ours, published)
        if collapse := self.collapse(metric, name):
            raise InputError(collapse)
        runs = self._runs_of(metric).of(cell)
        return difference_to_published(runs, len(cell.ids), published, paper.NUM_TEST_ROWS)

    def without_rows(self, metric: str, first: str, second: str) -> str:
        """Why a difference of two cells is not over test rows; empty if it is."""
        if metric not in self._resampled:
            return f"{metric} is a metric of another number of classes"
        for _, name in signed_cells(first, second):
            if why := self.scores.left_out.get(self._key(name)):
                return f"{name}: {why}"
        try:
            self._groups(metric, first, second)
        except InputError as error:
            return f"{first} - {second}: {error}"
        return ""

    def collapse(self, metric: str, name: str) -> str:
        """The runs of a cell that collapsed if others did not; empty if the cell has no such runs.

        Raises:
            InputError: The cell is not in the experiment.
        """
        cell = self.scores.cells.get(self._key(name))
        if cell is None or metric not in self._resampled:
            return ""
        return describe_collapse(cell, metric, self._runs_of(metric).of(cell).values)

    def _groups(self, metric: str, first: str, second: str) -> list[Runs]:
        """Independent groups of runs that add up to the difference."""
        terms = signed_cells(first, second)
        cells = [(sign, self.scores.cells[self._key(name)]) for sign, name in terms]
        return signed_groups(cells, self._runs_of(metric))[0]

    def _key(self, name: str) -> CellKey:
        named = CellKey.parse(name)
        return CellKey(self.base_model(named.base_model), named.pattern)

    def _planned(self, metric: str, name: str) -> tuple[PlannedCell, Sequence[TrialRow]]:
        """A cell of the plan and its rows."""
        plan, key = self.collected.plan, self._key(name)
        if metric not in self.collected.metrics:
            raise InputError(unknown("metric", metric, self.collected.metrics))
        planned = [cell for cell in plan.cells if cell.key == key]
        if not planned:
            raise InputError(unknown("pattern", key.pattern, plan.patterns))
        return planned[0], self.collected.by_cell[key]

    def _runs_of(self, metric: str) -> MetricRuns:
        if metric not in self._metric_runs:
            self._metric_runs[metric] = MetricRuns(metric, self._resampled)
        return self._metric_runs[metric]


class PublishedCells:
    """The paper's Tables 3 and 4: mean and std of 3 runs for each cell.

    Args:
        ddof: Delta degrees of freedom of the published std, which the paper does not state.
    """

    def __init__(self, ddof: int = 1) -> None:
        self.ddof = ddof

    def sample(self, metric: str, cell: str) -> Sample:
        """The runs of a cell.

        Raises:
            InputError: The paper has no value of the cell.
        """
        if metric not in paper.TABLES:
            raise InputError(f"the paper has no table of {metric}")
        value = paper.find_published(metric, CellKey.parse(cell))
        if value is None:
            raise InputError(f"the paper has no value of {cell}")
        n = paper.NUM_RUNS
        return Sample(value.mean, value.std * math.sqrt((n - self.ddof) / (n - 1)), n)

    def difference(self, metric: str, first: str, second: str) -> Difference:
        """See :class:`Cells`; Welch's t, because only means and stds are published."""
        return welch_sum(_samples(self.sample, metric, first, second))


def _samples(
    sample: Callable[[str, str], Sample], metric: str, first: str, second: str
) -> list[tuple[int, Sample]]:
    """Signs and samples of all cells; one error lists all that is missing."""
    samples, missing = [], []
    for sign, name in signed_cells(first, second):
        try:
            samples.append((sign, sample(metric, name)))
        except InputError as error:
            missing.append(f"{name}: {error}".rstrip("."))
    if missing:
        raise InputError("; ".join(dict.fromkeys(missing)))
    return samples
