"""Where the seeds of a claim's cells come from: result folders, or the published tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from xlt.analysis.comparisons.compare import difference_groups
from xlt.analysis.tables import paper
from xlt.analysis.tables.cells import TableCell, aggregate
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.scores import load_scores
from xlt.analysis.trials.trial_row import TrialRow
from xlt.analysis.uncertainty.differences import Difference, runs_difference
from xlt.analysis.uncertainty.runs import MetricRuns
from xlt.analysis.uncertainty.trial_units import (
    has_several_draws,
    mean_variances,
    num_units,
    units_of,
)
from xlt.analysis.uncertainty.welch import Sample, welch
from xlt.data.core.errors import InputError, unknown
from xlt.data.core.text import first_line
from xlt.trainables.metrics.registry import RESAMPLED_METRICS
from xlt.trainables.results.plan import PlannedCell
from xlt.trainables.spec.cell_key import CellKey


class Cells(Protocol):
    """Anything that has cells to compare."""

    def difference(self, metric: str, first: str, second: str) -> Difference:
        """First less second of two cells, named as base model/pattern.

        Raises:
            InputError: A cell has no value, or their error is not known, and why.
        """


class ResultCells:
    """The cells of an experiment; a miniature answers for the model that it stands in for."""

    def __init__(self, collected: Collected) -> None:
        self.collected = collected
        self.scores = load_scores(collected)
        self._metric_runs: dict[str, MetricRuns] = {}

    def base_model(self, name: str) -> str:
        """The experiment's base model of that name, else its miniature.

        Raises:
            InputError: Neither is in the experiment.
        """
        models = self.collected.plan.base_models
        if name in models:
            return name
        small = f"{paper.MINIATURE_PREFIX}{name}"
        if small not in models:
            raise InputError(unknown("base model", name, models))
        return small

    def cell(self, metric: str, name: str) -> TableCell:
        """The table entry of a cell, whatever its state.

        Raises:
            InputError: It is not in the plan, or no trial reports the metric.
        """
        planned, rows = self._planned(metric, name)
        return aggregate(planned, rows, metric)

    def sample(self, metric: str, cell: str) -> Sample:
        """The independent units of a cell, for a test that knows no test rows.

        With several draws of training rows n is the scarcer of draws and seeds, and the std such
        that its square over n is the variance of the mean.

        Raises:
            InputError: It has no value, and why.
        """
        found = self.cell(metric, cell)
        if found.mean is None:
            why = first_line(found.note) or "; ".join(found.problems)
            raise InputError(f"{found.key.path} has no value: {why}")
        rows = [row for row in self._planned(metric, cell)[1] if metric in row.metrics]
        runs = [row.run for row in rows]
        if not has_several_draws(runs):
            return Sample(found.mean, found.std, found.n)
        values = np.array([row.metrics[metric] for row in rows])
        by_factor, rest = mean_variances(values, units_of(runs))
        n = num_units(runs)
        return Sample(found.mean, math.sqrt(max(float(sum(by_factor) - rest), 0.0) * n), n)

    def difference(self, metric: str, first: str, second: str) -> Difference:
        """See :class:`Cells`: over runs and test rows where both have predictions, else Welch's."""
        samples = _samples(self.sample, metric, first, second)
        try:
            if self.without_rows(metric, first, second):
                return welch(*samples)
            plus, minus = (self.scores.cells[self._key(name)] for name in (first, second))
            return runs_difference(difference_groups(minus, plus, self._runs_of(metric))[0])
        except InputError as error:
            raise InputError(f"{first} - {second}: {error}") from error

    def without_rows(self, metric: str, first: str, second: str) -> str:
        """Why a difference of cells with values is not one over test rows; empty if it is."""
        if metric not in RESAMPLED_METRICS:
            return f"{metric} is not one of two classes"
        for name in (first, second):
            if why := self.scores.left_out.get(self._key(name)):
                return f"{name}: {why}"
        plus, minus = (self.scores.cells[self._key(name)] for name in (first, second))
        try:
            difference_groups(minus, plus, self._runs_of(metric))
        except InputError as error:
            return f"{first} - {second}: {error}"
        return ""

    def _key(self, name: str) -> CellKey:
        named = CellKey.parse(name)
        return CellKey(self.base_model(named.base_model), named.pattern)

    def _planned(self, metric: str, name: str) -> tuple[PlannedCell, Sequence[TrialRow]]:
        """A cell of the plan and its rows of the table."""
        plan, key = self.collected.plan, self._key(name)
        if metric not in self.collected.metrics:
            raise InputError(unknown("metric", metric, self.collected.metrics))
        found = [cell for cell in plan.cells if cell.key == key]
        if not found:
            raise InputError(unknown("pattern", key.pattern, plan.patterns))
        return found[0], self.collected.by_cell[key]

    def _runs_of(self, metric: str) -> MetricRuns:
        return self._metric_runs.setdefault(metric, MetricRuns(metric))


class PublishedCells:
    """The paper's Tables 3 and 4: mean and std of 3 runs.

    Args:
        ddof: What the paper's std was divided by, n - ddof; the paper does not say.
    """

    def __init__(self, ddof: int = 1) -> None:
        self.ddof = ddof

    def sample(self, metric: str, cell: str) -> Sample:
        """The runs of a cell.

        Raises:
            InputError: The paper has none.
        """
        if metric not in paper.TABLES:
            raise InputError(f"the paper has no table of {metric}")
        value = paper.published(metric, *CellKey.parse(cell))
        if value is None:
            raise InputError(f"the paper has no value of {cell}")
        n = paper.NUM_RUNS
        return Sample(value.mean, value.std * math.sqrt((n - self.ddof) / (n - 1)), n)

    def difference(self, metric: str, first: str, second: str) -> Difference:
        """See :class:`Cells`: Welch's, because means and stds are all that is published."""
        return welch(*_samples(self.sample, metric, first, second))


def _samples(
    sample: Callable[[str, str], Sample], metric: str, first: str, second: str
) -> tuple[Sample, Sample]:
    """Of both cells; what is missing of either in one error."""
    found, missing = [], []
    for name in (first, second):
        try:
            found.append(sample(metric, name))
        except InputError as error:
            missing.append(f"{name}: {error}".rstrip("."))
    if missing:
        raise InputError("; ".join(dict.fromkeys(missing)))
    return found[0], found[1]
