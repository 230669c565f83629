"""A difference of two means with its error: what claims are tested with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from xlt.analysis.uncertainty.mean_variance import Components, components, mean
from xlt.analysis.uncertainty.runs import Runs
from xlt.data.core.errors import InputError

SMALLEST_P = 1e-12
"""Below it a p value is told as 0: quantiles lose their digits."""


@dataclass(frozen=True)
class Difference(ABC):
    """An estimated difference.

    Attributes:
        estimate: First mean less second.
    """

    estimate: float
    made_with: ClassVar[str]
    """What tables call the method."""

    @abstractmethod
    def quantile(self, probability: float) -> float:
        """How far the estimate lies above the truth at most, with a probability >= 0.5."""

    @abstractmethod
    def tail(self, distance: float) -> float:
        """Probability that the estimate lies that far above the truth, or farther."""

    def interval(self, alpha: float = 0.05) -> tuple[float, float]:
        """Two-sided confidence interval at level 1 - alpha."""
        half = self.quantile(1 - alpha / 2)
        return self.estimate - half, self.estimate + half

    def p_not_above(self, value: float = 0.0) -> float:
        """One-sided p of "the truth is at most ``value``": small where the estimate is above."""
        return self.tail(self.estimate - value)

    def p_not_below(self, value: float = 0.0) -> float:
        """One-sided p of "the truth is at least ``value``": small where the estimate is below."""
        return self.tail(value - self.estimate)

    def p_equal(self, value: float = 0.0) -> float:
        """Two-sided p of "the truth is ``value``"."""
        return min(1.0, 2 * min(self.p_not_above(value), self.p_not_below(value)))


@dataclass(frozen=True)
class RunsDifference(Difference):
    """A difference over runs and test rows: the interval ``t`` of ``xlt compare`` and its p.

    Attributes:
        parts: Of its variance.
    """

    parts: Components
    made_with = "runs x test rows"

    def quantile(self, probability: float) -> float:
        """See :meth:`Components.half_width`."""
        return self.parts.half_width(probability)

    def tail(self, distance: float) -> float:
        """The probability whose quantile it is, so that p < alpha where the interval excludes."""
        from scipy.optimize import brentq

        if distance < 0:
            return 1 - self.tail(-distance)
        if distance >= self.quantile(1 - SMALLEST_P):
            return 0.0
        return float(
            brentq(lambda p: self.quantile(1 - p) - distance, SMALLEST_P, 0.5, xtol=SMALLEST_P)
        )


def runs_difference(groups: Sequence[Runs]) -> RunsDifference:
    """The sum of the means of independent groups of runs.

    Raises:
        InputError: Fewer than two units in a group, or nothing varies: then no error is known.
    """
    parts = components(groups)
    if parts.num_units < 2:
        raise InputError("one seed tells nothing of others; 2 in each cell are the least")
    found = RunsDifference(mean(groups), parts)
    if found.quantile(1 - SMALLEST_P) <= SMALLEST_P:
        raise InputError("no spread between the runs of either cell, so no error is known")
    return found
