"""The difference of two cells from the mean, std and number of their seeds: Welch's t."""

from __future__ import annotations

import math
from dataclasses import dataclass

from data.errors import InputError


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
class Difference:
    """An estimated difference; (difference - truth) / se has a t distribution.

    Attributes:
        estimate: First mean less second.
        se: Its standard error, positive.
        df: Degrees of freedom.
    """

    estimate: float
    se: float
    df: float

    def interval(self, alpha: float = 0.05) -> tuple[float, float]:
        """Two-sided confidence interval at level 1 - alpha."""
        from scipy import stats

        half = float(stats.t.isf(alpha / 2, self.df)) * self.se
        return self.estimate - half, self.estimate + half

    def p_not_above(self, value: float = 0.0) -> float:
        """One-sided p of "the truth is at most ``value``": small where the estimate is above."""
        from scipy import stats

        return float(stats.t.sf((self.estimate - value) / self.se, self.df))

    def p_not_below(self, value: float = 0.0) -> float:
        """One-sided p of "the truth is at least ``value``": small where the estimate is below."""
        from scipy import stats

        return float(stats.t.cdf((self.estimate - value) / self.se, self.df))

    def p_equal(self, value: float = 0.0) -> float:
        """Two-sided p of "the truth is ``value``"."""
        return min(1.0, 2 * min(self.p_not_above(value), self.p_not_below(value)))


def welch(first: Sample, second: Sample) -> Difference:
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
    return Difference(first.mean - second.mean, math.sqrt(total), df)


def p_text(p: float) -> str:
    """A p value with three digits, ``<0.001`` below them."""
    return f"{p:.3f}" if p >= 0.001 else "<0.001"
