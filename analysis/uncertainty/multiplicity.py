"""CORRECTIONS: p-values corrected for several tests, and intervals that agree with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xlt.data.core.errors import InputError, unknown


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


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for the false discovery rate.

    Benjamini & Hochberg 1995 (Journal of the Royal Statistical Society B 57:289).

    Args:
        p_values: p-values in any order.

    Returns:
        Corrected p-values in the same order.
    """
    from scipy import stats

    return [float(p) for p in stats.false_discovery_control(p_values)]


@dataclass(frozen=True)
class Correction:
    """A correction of the tests of a family.

    Attributes:
        label: Name in headings.
        correct: Function that corrects p-values.
        interval_alpha: Function from the level of the tests, their number and the number of
            rejected ones to the alpha of an interval of each test. An interval at 1 - alpha
            contains the tested value if the test does not reject it.
        limits: Sentence on the errors that the correction limits at level 0.05.
        intervals: Sentence on the intervals at this level.
    """

    label: str
    correct: Callable[[Sequence[float]], list[float]]
    interval_alpha: Callable[[float, int, int], float]
    limits: str
    intervals: str


CORRECTIONS: dict[str, Correction] = {
    "holm": Correction(
        "Holm",
        holm,
        lambda level, num_tests, _: level / num_tests,
        "At most 5 % of families have any false verdict of this kind.",
        "In 95 % of families all of these intervals contain the true difference (Bonferroni).",
    ),
    "bh": Correction(
        "BH",
        benjamini_hochberg,
        lambda level, num_tests, num_rejected: level * max(num_rejected, 1) / num_tests,
        "On average at most 5 % of these verdicts are false.",
        "On average 95 % of these intervals contain the true difference where a cell is called "
        "higher (Benjamini & Yekutieli 2005).",
    ),
    "none": Correction(
        "uncorrected",
        list,
        lambda level, *_: level,
        "At most 5 % of equal cells get such a verdict, so large families have false ones.",
        "It is the 95 % interval, because nothing is corrected.",
    ),
}
"""Value of ``--correction`` -> correction.

Intervals of ``holm`` are Bonferroni's (Dunn 1961, Journal of the American Statistical Association
56:52). Holm's method rejects everything that they exclude and sometimes more, so an interval of a
rejected value is cut there (Strassburger & Bretz 2008, Statistics in Medicine 27:4914). Intervals
of ``bh`` are those of Benjamini & Yekutieli 2005 (Journal of the American Statistical Association
100:71).
"""


def find_correction(name: str) -> Correction:
    """Find an entry of :data:`CORRECTIONS`.

    Raises:
        InputError: The name is unknown.
    """
    if name not in CORRECTIONS:
        raise InputError(unknown("correction", name, CORRECTIONS))
    return CORRECTIONS[name]
