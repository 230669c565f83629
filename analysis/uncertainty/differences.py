"""Difference: an estimated difference of two means with its error, for tests of claims."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from xlt.analysis.uncertainty.mean_variance import Components, components, mean
from xlt.analysis.uncertainty.runs import Runs
from xlt.data.core.errors import InputError

SMALLEST_P = 1e-12
"""p values below it are reported as 0, because quantiles lose their precision."""


@dataclass(frozen=True)
class Difference(ABC):
    """An estimated difference.

    Attributes:
        estimate: First mean minus second mean.
    """

    estimate: float
    made_with: ClassVar[str]
    """Name of the method in tables."""

    @abstractmethod
    def quantile(self, probability: float) -> float:
        """Quantile of the error (estimate minus truth) at a probability of at least 0.5."""

    @abstractmethod
    def tail(self, distance: float) -> float:
        """Probability that the error (estimate minus truth) is at least a distance."""

    def interval(self, alpha: float = 0.05) -> tuple[float, float]:
        """Two-sided confidence interval at level 1 - alpha."""
        half = self.quantile(1 - alpha / 2)
        return self.estimate - half, self.estimate + half

    def p_not_above(self, value: float = 0.0) -> float:
        """One-sided p of the hypothesis that the truth is at most ``value``."""
        return self.tail(self.estimate - value)

    def p_not_below(self, value: float = 0.0) -> float:
        """One-sided p of the hypothesis that the truth is at least ``value``."""
        return self.tail(value - self.estimate)

    def p_equal(self, value: float = 0.0) -> float:
        """Two-sided p of the hypothesis that the truth is ``value``."""
        return min(1.0, 2 * min(self.p_not_above(value), self.p_not_below(value)))


@dataclass(frozen=True)
class RunsDifference(Difference):
    """A difference over runs and test rows, with the interval ``t`` and the p that belongs to it.

    Attributes:
        parts: Components of the variance of the difference.
    """

    parts: Components
    made_with = "runs x test rows"

    def quantile(self, probability: float) -> float:
        """See :meth:`Components.half_width`."""
        return self.parts.half_width(probability)

    def tail(self, distance: float) -> float:
        """Inverse of :meth:`quantile`: p < alpha if the interval excludes the value."""
        from scipy.optimize import brentq

        if distance < 0:
            return 1 - self.tail(-distance)
        if distance >= self.quantile(1 - SMALLEST_P):
            return 0.0
        return float(
            brentq(lambda p: self.quantile(1 - p) - distance, SMALLEST_P, 0.5, xtol=SMALLEST_P)
        )


def runs_difference(groups: Sequence[Runs]) -> RunsDifference:
    """Add the means of independent groups of runs.

    Raises:
        InputError: The error is unknown, because a group has fewer than two units or nothing
            varies.
    """
    return with_known_error(mean(groups), components(groups))


def with_known_error(estimate: float, parts: Components) -> RunsDifference:
    """Make a difference of an estimate and its variance components.

    Raises:
        InputError: See :func:`runs_difference`.
    """
    if parts.num_units < 2:
        raise InputError("one seed gives no error; each cell needs 2 or more")
    difference = RunsDifference(estimate, parts)
    if difference.quantile(1 - SMALLEST_P) <= SMALLEST_P:
        raise InputError("no spread between the runs of either cell, so no error is known")
    return difference
