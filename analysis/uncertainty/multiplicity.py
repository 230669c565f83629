"""Many tests at once."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number; returned in the given order.

    Holm 1979 (Scandinavian Journal of Statistics 6, 65-70): the k-th smallest of m is multiplied
    by m - k + 1, none is below a smaller one, and none above 1. scipy has no such function.
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    order = sorted(range(len(p_values)), key=lambda number: p_values[number])
    for rank, number in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[number]))
        corrected[number] = largest
    return corrected
