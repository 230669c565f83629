"""Welch's t: the difference of two cells from mean, std and number of their seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass

from xlt.analysis.uncertainty.differences import Difference
from xlt.data.core.errors import InputError


@dataclass(frozen=True)
class Sample:
    """Summary of the seeds of a cell.

    Attributes:
        mean: Mean over the seeds.
        std: Sample standard deviation (ddof=1); None for n < 2.
        n: Number of seeds.
    """

    mean: float
    std: float | None
    n: int


@dataclass(frozen=True)
class WelchDifference(Difference):
    """A difference for which (estimate - truth) / se has a t distribution.

    Attributes:
        se: Standard error, positive.
        df: Degrees of freedom.
    """

    se: float
    df: float
    made_with = "Welch"

    def quantile(self, probability: float) -> float:
        """Quantile of the error, see :meth:`Difference.quantile`."""
        from scipy import stats

        return float(stats.t.isf(1 - probability, self.df)) * self.se

    def tail(self, distance: float) -> float:
        """Tail probability of the error, see :meth:`Difference.tail`."""
        from scipy import stats

        return float(stats.t.sf(distance / self.se, self.df))


def welch(first: Sample, second: Sample) -> WelchDifference:
    """Compare independent samples with unequal variances by Welch's t.

    Welch 1947 (Biometrika 34:28) with degrees of freedom by Satterthwaite 1946 (Biometrics Bulletin
    2:110). p is that of ``scipy.stats.ttest_ind_from_stats(equal_var=False)``, which returns
    neither an interval nor degrees of freedom and only tests for a difference of 0.

    Args:
        first: First sample.
        second: Second sample, which is subtracted.

    Raises:
        InputError: The error is unknown, because a sample has fewer than two values or neither
            sample varies.
    """
    if first.std is None or second.std is None or min(first.n, second.n) < 2:
        counts = f"{first.n} and {second.n}"
        raise InputError(f"{counts} seeds with a value; each cell needs 2 or more")
    variances = first.std**2 / first.n, second.std**2 / second.n
    total = sum(variances)
    # The std of equal numbers may not be exactly 0, because their mean is rounded.
    if math.sqrt(total) <= 1e-12 * max(1.0, abs(first.mean), abs(second.mean)):
        raise InputError("no spread between the seeds of either cell, so no error is known")
    # Use shares, because squares of tiny variances would underflow to 0.
    a, b = (variance / total for variance in variances)
    df = 1 / (a**2 / (first.n - 1) + b**2 / (second.n - 1))
    return WelchDifference(first.mean - second.mean, math.sqrt(total), df)


def p_text(p: float) -> str:
    """A p value with three digits, or ``<0.001``."""
    return f"{p:.3f}" if p >= 0.001 else "<0.001"
