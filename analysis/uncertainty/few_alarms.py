"""The worst values that few false alarms allow, where an interval would be too short."""

from __future__ import annotations

from dataclasses import dataclass

from xlt.analysis.trials.scores import CellScores
from xlt.data.core.errors import InputError
from xlt.trainables.metrics.arrays import THRESHOLD
from xlt.trainables.metrics.prevalence import highest_rate, values_from_rates

FEW = 10
"""Mean number of false alarms of a run below which intervals are widened. The jackknife sees only
rows that are in the test: without a false alarm it gives precision no error at all."""


@dataclass(frozen=True)
class FalseAlarms:
    """False alarms of a cell on its test rows.

    Attributes:
        recall: Share of class 1 decided positive, mean over runs.
        num_seen: Rows of class 0 decided positive, mean over runs. All runs are tested on the same
            rows, so more runs are no more evidence.
        num_negatives: Rows of class 0.
    """

    recall: float
    num_seen: float
    num_negatives: int

    @property
    def are_few(self) -> bool:
        """Whether intervals have to be widened."""
        return self.num_seen < FEW

    def highest_rate(self, confidence: float = 0.95) -> float:
        """Upper bound of the false-alarm rate, see :func:`highest_rate`."""
        return highest_rate(self.num_seen, self.num_negatives, confidence)

    def worst_values(self, prevalence: float, confidence: float) -> dict[str, float]:
        """Metrics at the highest false-alarm rate, by the names of :func:`values_from_rates`."""
        return values_from_rates(prevalence, self.recall, self.highest_rate(confidence))


def count_false_alarms(cell: CellScores) -> FalseAlarms:
    """Count the false alarms of a cell whose test rows have both classes."""
    decided = cell.scores >= THRESHOLD
    negatives = decided[:, cell.y_true == 0]
    return FalseAlarms(
        recall=float(decided[:, cell.y_true == 1].mean()),
        num_seen=float(negatives.sum(axis=1).mean()),
        num_negatives=negatives.shape[1],
    )


def check_false_alarms(cell: CellScores, metric: str, prevalence: float | None) -> None:
    """Raise InputError if a metric at a prevalence rests on few false alarms.

    The variance of a difference comes from rows that are in the test, and few false alarms hide
    that other test rows would have more.
    """
    if prevalence is None or metric == "recall":
        return
    seen = count_false_alarms(cell)
    if seen.are_few and metric in seen.worst_values(prevalence, 0.95):
        raise InputError(
            f"{cell.key.path} has {seen.num_seen:.1f} false alarms on {seen.num_negatives} test "
            f"rows, mean over runs; fewer than {FEW} settle no {metric} at a prevalence; "
            "sampling.test_balance tests on more rows of the other class"
        )
