"""Welch's t: the difference of two cells from mean, std and number of their seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
        from scipy import special

        return float(special.stdtrit(self.df, probability)) * self.se

    def tail(self, distance: float) -> float:
        """Tail probability of the error, see :meth:`Difference.tail`."""
        from scipy import special

        return float(special.stdtr(self.df, -distance / self.se))


def welch(first: Sample, second: Sample) -> WelchDifference:
    """Subtract the mean of the second sample from that of the first, see :func:`welch_sum`."""
    return welch_sum([(1, first), (-1, second)])


def welch_sum(terms: Sequence[tuple[int, Sample]]) -> WelchDifference:
    """Add signed means of independent samples with unequal variances, and test by Welch's t.

    Welch 1947 (Biometrika 34:28) with degrees of freedom by Satterthwaite 1946 (Biometrics Bulletin
    2:110). p is that of ``scipy.stats.ttest_ind_from_stats(equal_var=False)``, which returns
    neither an interval nor degrees of freedom and only tests for a difference of 0.

    Args:
        terms: Sign, 1 or -1, and sample; two for a difference, four for one of differences.

    Raises:
        InputError: The error is unknown, because a sample has fewer than two values or no sample
            varies.
    """
    samples = [sample for _, sample in terms]
    if any(sample.std is None or sample.n < 2 for sample in samples):
        counts = " and ".join(str(sample.n) for sample in samples)
        raise InputError(f"{counts} seeds with a value; each cell needs 2 or more")
    variances = [(sample.std or 0.0) ** 2 / sample.n for sample in samples]
    total = sum(variances)
    # The std of equal numbers may not be exactly 0, because their mean is rounded.
    if math.sqrt(total) <= 1e-12 * max(1.0, *(abs(sample.mean) for sample in samples)):
        raise InputError("no spread between the seeds of either cell, so no error is known")
    # Use shares, because squares of tiny variances would underflow to 0.
    df = 1 / sum((v / total) ** 2 / (s.n - 1) for v, s in zip(variances, samples, strict=True))
    return WelchDifference(sum(sign * s.mean for sign, s in terms), math.sqrt(total), df)


def p_text(p: float) -> str:
    """A p value with three digits, or ``<0.001``."""
    return f"{p:.3f}" if p >= 0.001 else "<0.001"
