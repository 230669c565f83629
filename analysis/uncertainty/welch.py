"""The difference of two cells from the mean, std and number of their seeds: Welch's t."""

from __future__ import annotations

import math
from dataclasses import dataclass

from xlt.analysis.uncertainty.differences import Difference
from xlt.data.core.errors import InputError


@dataclass(frozen=True)
class Sample:
    """The seeds of a cell.

    Attributes:
        mean: Over the seeds.
        std: Sample standard deviation (ddof=1); None for n < 2.
        n: Seeds.
    """

    mean: float
    std: float | None
    n: int


@dataclass(frozen=True)
class WelchDifference(Difference):
    """A difference over which (estimate - truth) / se has a t distribution.

    Attributes:
        se: Standard error, positive.
        df: Degrees of freedom.
    """

    se: float
    df: float
    made_with = "Welch"

    def quantile(self, probability: float) -> float:
        """See :class:`Difference`."""
        from scipy import stats

        return float(stats.t.isf(1 - probability, self.df)) * self.se

    def tail(self, distance: float) -> float:
        """See :class:`Difference`."""
        from scipy import stats

        return float(stats.t.sf(distance / self.se, self.df))


def welch(first: Sample, second: Sample) -> WelchDifference:
    """Welch's t for independent samples of unequal variances.

    Welch 1947 (Biometrika 34, 28-35), degrees of freedom by Satterthwaite 1946 (Biometrics
    Bulletin 2, 110-114). Its p is that of ``scipy.stats.ttest_ind_from_stats(equal_var=False)``,
    which returns neither the degrees of freedom nor an interval, and has no value to compare with
    but 0.

    Raises:
        InputError: A sample of fewer than two, or no spread in either: then nothing is known of
            the error.
    """
    if first.std is None or second.std is None or min(first.n, second.n) < 2:
        counts = f"{first.n} and {second.n}"
        raise InputError(f"{counts} seeds with a value; 2 in each cell are the least")
    variances = first.std**2 / first.n, second.std**2 / second.n
    total = sum(variances)
    # The std of equal numbers is not always 0: their computed mean may be off by one rounding.
    if math.sqrt(total) <= 1e-12 * max(1.0, abs(first.mean), abs(second.mean)):
        raise InputError("no spread between the seeds of either cell, so no error is known")
    # As shares, because squares of tiny variances would be 0.
    a, b = (variance / total for variance in variances)
    df = 1 / (a**2 / (first.n - 1) + b**2 / (second.n - 1))
    return WelchDifference(first.mean - second.mean, math.sqrt(total), df)


def p_text(p: float) -> str:
    """A p value with three digits, ``<0.001`` below them."""
    return f"{p:.3f}" if p >= 0.001 else "<0.001"
