"""Superiority: the probability that a run of one cell scores higher than a run of another."""

from __future__ import annotations

import math

from xlt.analysis.uncertainty.intervals import CONFIDENCE, Interval
from xlt.trainables.metrics.arrays import Values


def superiority(first: Values, second: Values) -> float:
    """Share of pairs of runs, one of each cell, in which the second scores higher, ties half.

    McGraw & Wong 1992, Psychological Bulletin 111:361; Vargha & Delaney 2000, Journal of
    Educational and Behavioral Statistics 25:101.

    Args:
        first: Scores of the runs of the first cell.
        second: Scores of the runs of the second cell.
    """
    wins = second[:, None] - first
    return float(((wins > 0) + (wins == 0) / 2).mean())


def superiority_interval(share: float, num_units: int) -> Interval | None:
    """95 % interval of the probability that a new run of the second cell scores higher.

    Method 5 of Newcombe 2006 (Statistics in Medicine 25:559) for equally many independent units in
    both cells: the probabilities that lie at most a quantile times their own standard error away.
    The quantile is Student's t with 2 S - 2 degrees of freedom for S units, where Newcombe's is
    normal: with the normal one and 3 units, the intervals of equal cells would exclude 0.5 in a
    tenth of the cases.

    Args:
        share: Estimate, see :func:`superiority`.
        num_units: Number of seeds or draws of each cell.

    Returns:
        The interval; None for a single unit.
    """
    from scipy import optimize, special

    if num_units < 2:
        return None
    quantile = special.stdtrit(2 * num_units - 2, (1 + CONFIDENCE) / 2)

    def distance(p: float) -> float:
        shape = 1 + (num_units - 1) * ((1 - p) / (2 - p) + p / (1 + p))
        error = math.sqrt(p * (1 - p) * shape) / num_units
        return abs(p - share) - float(quantile) * error

    # The distance is negative next to the share, and not below 0 at 0 and 1, where the error is 0.
    inner = min(max(share, 1e-9), 1 - 1e-9)
    return Interval(*(optimize.brentq(distance, *ends) for ends in ((0.0, inner), (inner, 1.0))))
