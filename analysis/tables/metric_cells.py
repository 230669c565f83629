"""The cells of one metric in the layout of the paper: base models x patterns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from xlt.analysis.tables.cells import TableCell, aggregate
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.scored_rows import TestRows, read_test_rows
from xlt.analysis.uncertainty.intervals import CellIntervals
from xlt.data.core.errors import InputError, unknown
from xlt.trainables.metrics.registry import METRICS
from xlt.trainables.results.plan import PlannedCell
from xlt.trainables.results.result import Results
from xlt.trainables.spec.cell_key import CellKey


@dataclass(frozen=True)
class MetricCells:
    """Cells of a metric, aggregated over runs.

    Attributes:
        collected: The trials.
        metric: Name of the metric.
        target_lang: Language of the test rows, if an experiment has several; else empty.
        patterns: Names of the patterns, num_patterns.
        cells: num_base_models x num_patterns, row by row, in the order of the experiment.
        interval_note: Sentence about the intervals of the cells; empty: they have none.
        without_interval: Reasons why cells with a value have no interval.
    """

    collected: Collected
    metric: str
    target_lang: str
    patterns: tuple[str, ...]
    cells: tuple[TableCell, ...]
    interval_note: str = ""
    without_interval: Mapping[CellKey, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of a table of these cells."""
        lang = self.target_lang or self.collected.test_lang
        return "-".join(filter(None, (self.metric, lang)))

    @cached_property
    def test_rows(self) -> TestRows | None:
        """Test rows of a done trial; None without a usable one.

        All patterns of a target language have the same test rows.
        """
        keys = {cell.key for cell in self.cells if cell.mean is not None}
        done = (row for row in self.collected.rows if row.is_done and row.cell in keys)
        if not (first := next(done, None)):
            return None
        location, num_classes = Results(self.collected.uri), len(self.collected.plan.classes)
        try:
            lang = self.collected.predictions.langs.get(first.trial_id, "")
            return read_test_rows(location, first.trial_id, lang=lang, num_classes=num_classes)
        except InputError:
            return None  # the predictions are damaged, and tables of metrics do not need them

    @property
    def num_seeds(self) -> int | None:
        """Number of runs planned for each cell; None if cells have unequal numbers."""
        counts = {cell.num_planned for cell in self.cells if cell.state != "impossible"}
        return counts.pop() if len(counts) == 1 else None


def collect_metric_cells(
    collected: Collected,
    metric: str,
    target_lang: str | None = None,
    intervals: CellIntervals | None = None,
) -> MetricCells:
    """Aggregate the runs of every cell of an experiment.

    Args:
        collected: The trials.
        metric: Name of a metric.
        target_lang: Only the patterns of this language; None: all.
        intervals: Confidence intervals to add to the cells; None: no intervals.

    Raises:
        InputError: The metric is neither defined nor reported by any trial, or it has no intervals.
    """
    known = {*collected.metrics, *METRICS}
    if metric not in known:
        raise InputError(unknown("metric", metric, known), f"results {collected.uri}")
    plan = collected.plan
    planned = {cell.key: cell for cell in plan.cells if target_lang in (None, cell.target_lang)}
    patterns = tuple(dict.fromkeys(key.pattern for key in planned))
    cells = []
    for model in plan.base_models:
        for pattern in patterns:
            key = CellKey(model, pattern)
            none = PlannedCell(base_model=model, pattern=pattern, skipped="not in the plan")
            cells.append(aggregate(planned.get(key, none), collected.by_cell.get(key, ()), metric))
    lang = target_lang or ""
    if not intervals:
        return MetricCells(collected, metric, lang, patterns, tuple(cells))
    by_cell, without = intervals.of(metric)
    several = len(plan.draws) > 1
    parts = intervals.components(metric) if several and intervals.scores.cells else {}
    cells = [replace(c, interval=by_cell.get(c.key), components=parts.get(c.key)) for c in cells]
    return MetricCells(
        collected, metric, lang, patterns, tuple(cells), intervals.describe(), without
    )
