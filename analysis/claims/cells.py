"""Where the seeds of a claim's cells come from: result folders, or the published tables."""

from __future__ import annotations

import math
from typing import Protocol

from analysis import paper
from analysis.cells import TableCell, aggregate, first_line
from analysis.collect import Collected
from analysis.welch import Sample
from data.errors import InputError, unknown


class Cells(Protocol):
    """Anything that has cells with seeds."""

    def sample(self, metric: str, cell: str) -> Sample:
        """The seeds of a cell, named as base model/pattern.

        Raises:
            InputError: It has no value, and why.
        """


class ResultCells:
    """The cells of an experiment; a miniature answers for the model that it stands in for."""

    def __init__(self, collected: Collected) -> None:
        self.collected = collected
        self._rows = collected.table.to_pylist()

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
        plan = self.collected.plan
        model, pattern = name.rsplit("/", 1)
        model = self.base_model(model)
        if metric not in self.collected.metrics:
            raise InputError(unknown("metric", metric, self.collected.metrics))
        found = [c for c in plan.cells if (c.base_model, c.pattern) == (model, pattern)]
        if not found:
            raise InputError(unknown("pattern", pattern, plan.patterns))
        rows = [r for r in self._rows if (r["base_model"], r["pattern"]) == (model, pattern)]
        return aggregate(found[0], rows, metric)

    def sample(self, metric: str, cell: str) -> Sample:
        """See :class:`Cells`."""
        found = self.cell(metric, cell)
        if found.mean is None:
            why = first_line(found.note) or "; ".join(found.problems)
            raise InputError(f"{found.base_model}/{found.pattern} has no value: {why}")
        return Sample(found.mean, found.std, found.n)


class PublishedCells:
    """The paper's Tables 3 and 4: mean and std of 3 runs.

    Args:
        ddof: What the paper's std was divided by, n - ddof; the paper does not say.
    """

    def __init__(self, ddof: int = 1) -> None:
        self.ddof = ddof

    def sample(self, metric: str, cell: str) -> Sample:
        """See :class:`Cells`."""
        if metric not in paper.TABLES:
            raise InputError(f"the paper has no table of {metric}")
        model, pattern = cell.rsplit("/", 1)
        value = paper.published(metric, model, pattern)
        if value is None:
            raise InputError(f"the paper has no value of {cell}")
        n = paper.NUM_RUNS
        return Sample(value.mean, value.std * math.sqrt((n - self.ddof) / (n - 1)), n)
