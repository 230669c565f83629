"""Differences that an experiment can detect, and the numbers that would detect a given one."""

from __future__ import annotations

from xlt.analysis.uncertainty.mean_variance import Components

POWER = 0.8
MAX_RATIO = 1000
"""Largest advised factor on the number of seeds, draws or test rows."""


def detectable(
    parts: Components, alpha: float, unit_ratio: float = 1, item_ratio: float = 1
) -> float:
    """Smallest true difference detected at a two-sided level with probability :data:`POWER`.

    It is the sum of the quantiles for level and power times the standard error (Bloom 1995,
    Evaluation Review 19:547), where :meth:`Components.half_width` gives each product.

    Args:
        parts: Variance components of a difference.
        alpha: Level of the test.
        unit_ratio: Factor on the number of seeds or draws.
        item_ratio: Factor on the number of test rows.
    """
    quantiles = (1 - alpha / 2, POWER)
    return sum(parts.half_width(q, unit_ratio, item_ratio) for q in quantiles)


def units_needed(parts: Components, alpha: float, size: float) -> int | None:
    """Smallest number of seeds or draws for each cell with which a difference is detectable.

    Args:
        parts: Variance components of a difference.
        alpha: Level of the test.
        size: Size of the true difference, not negative.

    Returns:
        The number, 2 or more; None if :data:`MAX_RATIO` times as many do not suffice, or if the
        variance of units is unknown.
    """
    if parts.num_units < 2:
        return None
    return _needed(parts, alpha, size, parts.num_units, of_units=True)


def items_needed(parts: Components, alpha: float, size: float, num_items: int) -> int | None:
    """Smallest number of test rows with which a difference is detectable.

    Args:
        parts: Variance components of a difference.
        alpha: Level of the test.
        size: Size of the true difference, not negative.
        num_items: Number of test rows behind the components; stories have several rows.

    Returns:
        The number; None if :data:`MAX_RATIO` times as many do not suffice.
    """
    return _needed(parts, alpha, size, num_items, of_units=False)


def _needed(parts: Components, alpha: float, size: float, count: int, of_units: bool) -> int | None:
    def suffices(number: int) -> bool:
        ratio = number / count
        return detectable(parts, alpha, *((ratio, 1.0) if of_units else (1.0, ratio))) <= size

    low, high = 2, count * MAX_RATIO
    if size == 0 or not suffices(high):
        return None
    while low < high:  # detectable() decreases with either number
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle + 1, high)
    return low
