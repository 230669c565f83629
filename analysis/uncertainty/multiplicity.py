"""Correction of p-values for multiple tests."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for the number of tests by Holm's method.

    Holm 1979 (Scandinavian Journal of Statistics 6:65): the k-th smallest of m p-values is
    multiplied by m - k + 1. The results are made monotone and limited to 1. scipy has no such
    function.

    Args:
        p_values: p-values in any order.

    Returns:
        Corrected p-values in the same order.
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    order = sorted(range(len(p_values)), key=lambda number: p_values[number])
    for rank, number in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[number]))
        corrected[number] = largest
    return corrected
