"""INTERVALS: 95 % intervals of a mean over runs and of a difference of two means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from xlt.analysis.metrics.one_thread import one_thread
from xlt.analysis.trials.scores import CellScores, ExperimentScores
from xlt.analysis.trials.trial_names import Run
from xlt.analysis.uncertainty.collapse import describe_collapse
from xlt.analysis.uncertainty.few_alarms import FEW, count_false_alarms
from xlt.analysis.uncertainty.mean_variance import components, mean
from xlt.analysis.uncertainty.runs import MetricRuns, Runs
from xlt.analysis.uncertainty.trial_units import has_several_draws, num_units
from xlt.analysis.uncertainty.variance_components import VarianceComponents, variance_components
from xlt.data.core.errors import InputError, unknown
from xlt.trainables.spec.cell_key import CellKey

CONFIDENCE = 0.95
ONE_DRAW = "on one draw of training rows: other draws may lie outside"
"""Clause of captions about results on one draw."""
FEW_UNITS = 10
"""Number of seeds or draws below which captions warn. The standard deviation over S normal values
has a relative error of about 1 / sqrt(2 (S - 1)): a quarter for S = 10, a half for S = 3."""


@dataclass(frozen=True)
class Interval:
    """A confidence interval of a mean over runs or of a difference of two, fractions of 1.

    Attributes:
        low: Lower end.
        high: Upper end.
    """

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether a value lies within the interval."""
        return self.low <= value <= self.high


def interval_ends(interval: Interval | None) -> tuple[float | None, float | None]:
    """Ends of an interval for a record; None without one."""
    return (interval.low, interval.high) if interval else (None, None)


def t_interval(groups: Sequence[Runs]) -> Interval:
    """Mean plus and minus :meth:`Components.half_width`.

    With few units Student's t has few degrees of freedom, so the interval is wide: with 3 seeds or
    3 draws (2 degrees of freedom), their part of the half-width is 4.3 standard errors.
    """
    half = components(groups).half_width((1 + CONFIDENCE) / 2)
    return Interval(mean(groups) - half, mean(groups) + half)


INTERVALS: dict[str, Callable[[Sequence[Runs]], Interval]] = {"t": t_interval}
"""Name -> function of independent groups of runs, whose means are added."""


def check_method(name: str) -> None:
    """Raise InputError unless the name is in :data:`INTERVALS`."""
    if name not in INTERVALS:
        raise InputError(unknown("interval", name, INTERVALS))


@dataclass(frozen=True)
class CellIntervals:
    """Intervals of all cells of an experiment.

    Attributes:
        scores: Predictions of the cells.
        method: Name in :data:`INTERVALS`.
        prevalence: Share of class 1 at which metrics are computed; None: that of the test rows.
    """

    scores: ExperimentScores
    method: str = "t"
    prevalence: float | None = None
    _metric_runs: dict[str, MetricRuns] = field(default_factory=dict, repr=False, compare=False)

    @one_thread
    def of(self, metric: str) -> tuple[dict[CellKey, tuple[float, float]], dict[CellKey, str]]:
        """Ends of the interval of each cell, clipped to [0, 1], and why other cells have none.

        Raises:
            InputError: The metric has no intervals, or the method is unknown.
        """
        ends: dict[CellKey, tuple[float, float]] = {}
        without = dict(self.scores.left_out)
        check_method(self.method)
        if not self.scores.cells:
            return ends, without
        metric_runs = self.runs_of(metric)
        for key, cell in self.scores.cells.items():
            try:
                runs = metric_runs.of(cell)
                if collapse := describe_collapse(cell, metric, runs.values):
                    raise InputError(collapse)
                interval = INTERVALS[self.method]([runs])
            except InputError as error:
                without[key] = str(error)
                continue
            interval = self._widened(interval, cell, metric)
            ends[key] = max(interval.low, 0.0), min(interval.high, 1.0)
        return ends, without

    def _widened(self, interval: Interval, cell: CellScores, metric: str) -> Interval:
        """Extend an interval at a prevalence to the worst value that few false alarms allow."""
        if self.prevalence is None or not (seen := count_false_alarms(cell)).are_few:
            return interval
        worst = seen.worst_values(self.prevalence, (1 + CONFIDENCE) / 2)
        if metric not in worst:
            return interval
        return Interval(min(interval.low, worst[metric]), max(interval.high, worst[metric]))

    def components(self, metric: str) -> dict[CellKey, VarianceComponents]:
        """Sources of variance of each cell that has an interval."""
        metric_runs, parts = self.runs_of(metric), {}
        for key, cell in self.scores.cells.items():
            try:
                parts[key] = variance_components(metric_runs.of(cell))
            except InputError:  # reported as the reason for the missing interval
                continue
        return parts

    def runs_of(self, metric: str) -> MetricRuns:
        """Values and influences of a metric; InputError for one without intervals."""
        if metric not in self._metric_runs:
            num_classes = self.scores.num_classes
            self._metric_runs[metric] = MetricRuns(metric, None, self.prevalence, num_classes)
        return self._metric_runs[metric]

    def describe(self) -> str:
        """A sentence for a caption."""
        runs = [cell.runs for cell in self.scores.cells.values()]
        over = "draws of training rows, seeds" if any(map(has_several_draws, runs)) else "seeds"
        few = (
            f"; with fewer than {FEW} false alarms it reaches to the value at the highest "
            "false-alarm rate that these allow (Clopper-Pearson)"
        )
        stories = any(cell.stories is not None for cell in self.scores.cells.values())
        together = ", all rows of a story together," * stories
        return (
            f"[low, high]: 95 % interval of the mean over {over} and test rows{together} "
            f"(method {self.method}){describe_units(runs)}{few * (self.prevalence is not None)}."
        )


def describe_units(runs: Iterable[Sequence[Run]]) -> str:
    """The limits of an interval over one or few draws or seeds, as clauses; empty for many.

    Args:
        runs: Runs of each cell.
    """
    runs = list(runs)
    counts: dict[str, set[int]] = {"seeds": set(), "draws": set()}
    for runs_of_cell in runs:
        unit = "draws" if has_several_draws(runs_of_cell) else "seeds"
        counts[unit].add(num_units(runs_of_cell))
    clauses = ""
    for unit, numbers in counts.items():
        if any(1 < number < FEW_UNITS for number in numbers):
            few = "draws or seeds" if unit == "draws" else unit
            clauses += f"; with fewer than {FEW_UNITS} {few} their variance is poorly known"
    if 1 in counts["seeds"]:
        clauses += "; with one seed its variance is unknown and the interval is of test rows alone"
    if not all(map(has_several_draws, runs)):
        clauses += f"; {ONE_DRAW}"
    return clauses
