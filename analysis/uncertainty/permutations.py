"""Paired permutation test of two cells: exchanges the scores of test rows between the cells."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from xlt.trainables.metrics.arrays import (
    Labels,
    Scores,
    Values,
    Weights,
    count_classes,
    decide,
)
from xlt.trainables.metrics.auroc import count_wins
from xlt.trainables.metrics.prevalence import resampled_at
from xlt.trainables.metrics.registry import needs_every_class
from xlt.trainables.metrics.resampled import ExchangeEffects, Weighted, weight_type
from xlt.trainables.metrics.weighted import FromCounts, count_decisions

BATCH = 250
"""Number of exchanges at a time. In float32 the weights of 1,000 rows take 1 MB, so they stay in a
core's cache."""

SLACK = 100 * np.finfo(np.float64).eps
"""Relative difference below which values count as ties, as in scipy.stats.permutation_test."""

DIGITS = 12
"""Decimal digits of a difference. Weights at a prevalence are no whole numbers, and differences
that are equal but for their rounding have to count as ties."""


def permutation_p_value(
    metric: str,
    y_true: Labels,
    first: Scores,
    second: Scores,
    num_permutations: int,
    seed: int,
    prevalence: float | None = None,
    stories: NDArray[np.intp] | None = None,
) -> float:
    """Two-sided p-value of the difference of means over runs.

    Under the null hypothesis the two cells' scores of a row are exchangeable. All runs of a row are
    exchanged together, so a row counts once for any number of runs; likewise all rows of a story.
    For metrics that use only the order of scores, the ranks of scores within each run are
    exchanged, because scores of two models may have different scales (Venkatraman & Begg 1996,
    Biometrika 83:835).

    If there are at most ``num_permutations`` exchanges, all are evaluated. Otherwise p is
    (b + 1) / (m + 1) for m random exchanges (Phipson & Smyth 2010, Statistical Applications in
    Genetics and Molecular Biology 9:39). The smaller tail is doubled, as in
    scipy.stats.permutation_test.

    Args:
        metric: Name in ``resampled_at(prevalence, num_classes)``.
        y_true: num_items class numbers.
        first: Scores of the first cell, num_runs x num_items, with more than two classes x
            num_classes.
        second: Scores of the second cell, with runs in the same order.
        num_permutations: Maximal number of exchanges.
        seed: Seed of random exchanges.
        prevalence: Share of class 1 at which the metric is computed; None: that of the test rows.
        stories: num_items numbers of stories, from 0; None: each row is a story.
    """
    first, second = _exchangeable(metric, first), _exchangeable(metric, second)
    differs = (first != second).any(axis=0)
    differ = np.flatnonzero(differs if differs.ndim == 1 else differs.any(axis=1))
    units = differ if stories is None else np.unique(stories[differ])
    if len(units) < 2:  # a single exchange negates the difference
        return 1.0
    resampled = resampled_at(prevalence, count_classes(first))[metric]
    rows = y_true, first, second, differ
    if resampled.exchange_effects:
        difference = _difference_by_effects(resampled.exchange_effects, *rows)
    elif resampled.from_counts:
        difference = _difference_by_counts(resampled.from_counts, *rows)
    else:
        difference = _weighted_difference(resampled.weighted, *rows)
    column = slice(None) if stories is None else np.searchsorted(units, stories[differ])
    observed = difference(np.zeros((1, len(differ)), np.uint8))[0]
    slack = SLACK * abs(observed)
    lower = higher = num = 0
    for exchanged in _exchanges(len(units), num_permutations, seed):
        values = difference(exchanged[:, column])
        lower += int(np.count_nonzero(values <= observed + slack))
        higher += int(np.count_nonzero(values >= observed - slack))
        num += len(values)
    # All exchanges include the rows as they are; random ones count them in addition.
    is_random = int(2 ** len(units) > num_permutations)
    return min(1.0, 2 * (min(lower, higher) + is_random) / (num + is_random))


def _exchanges(num_units: int, num_permutations: int, seed: int) -> Iterator[NDArray[np.uint8]]:
    """All exchanges if they are at most ``num_permutations``, else so many random ones.

    Yields:
        Up to BATCH x num_units arrays: 1 for rows or stories that are exchanged, else 0.
    """
    if 2**num_units <= num_permutations:
        for start in range(0, 2**num_units, BATCH):
            numbers = np.arange(start, min(start + BATCH, 2**num_units))
            yield (numbers[:, None] >> np.arange(num_units) & 1).astype(np.uint8)
        return
    rng = np.random.default_rng(seed)
    for start in range(0, num_permutations, BATCH):
        num = min(BATCH, num_permutations - start)
        bits = rng.integers(256, size=(num, -(-num_units // 8)), dtype=np.uint8)
        yield np.unpackbits(bits, axis=1, count=num_units)


def num_permutations_needed(alpha: float) -> int:
    """Smallest number m of random exchanges with which p can reach alpha: 2 / (m + 1) <= alpha."""
    return math.ceil(2 / alpha - 1 - 1e-9)  # the last term allows for rounding of 2 / alpha


Statistic = Callable[[NDArray[np.uint8]], Values]
"""Function from an array num_exchanges x num_differ, whose entries are 1 for exchanged rows and 0
for others, to num_exchanges differences of means over runs."""


def _weighted_difference(
    score: Weighted, y_true: Labels, first: Scores, second: Scores, differ: NDArray[np.intp]
) -> Statistic:
    """Statistic of any weighted metric."""
    # Rows that differ occur twice, with the score of each cell; weights 1 and 0 select one of them.
    num_items = len(y_true)
    labels = np.concatenate([y_true, y_true[differ]])
    scores = np.concatenate([first, second[:, differ]], axis=1)

    def difference(chosen: NDArray[np.uint8]) -> Values:
        exchanged = chosen.T.astype(weight_type(num_items))
        weights = np.ones((len(labels), len(chosen)), exchanged.dtype)
        means = []
        for of_second in (exchanged, 1 - exchanged):  # in the first cell, and in the second
            weights[num_items:] = of_second
            weights[differ] = 1 - of_second
            means.append(score(labels, scores, weights).mean(axis=0))
        differences: Values = (means[1] - means[0]).round(DIGITS)
        return differences

    return difference


def _difference_by_effects(
    exchange_effects: ExchangeEffects,
    y_true: Labels,
    first: Scores,
    second: Scores,
    differ: NDArray[np.intp],
) -> Statistic:
    """Statistic of a metric that each exchange changes by a fixed amount; 100 times faster."""
    effects, divisor = exchange_effects(y_true, first, second)
    effects = effects[differ]

    def difference(chosen: NDArray[np.uint8]) -> Values:
        differences = (effects.sum() - 2 * (chosen.astype(np.float64) @ effects)) / divisor
        rounded: Values = differences.round(DIGITS)
        return rounded

    return difference


def _difference_by_counts(
    from_counts: FromCounts,
    y_true: Labels,
    first: Scores,
    second: Scores,
    differ: NDArray[np.intp],
) -> Statistic:
    """Statistic of a metric of counts, which exchanged rows move from one cell to the other."""
    once_each = np.ones((len(y_true), 1))
    before = [count_decisions(y_true, scores, once_each) for scores in (first, second)]
    labels, own, other = y_true[differ], first[:, differ], second[:, differ]

    def difference(chosen: NDArray[np.uint8]) -> Values:
        weights: Weights = chosen.T.astype(weight_type(len(y_true)))
        lost, won = (count_decisions(labels, scores, weights) for scores in (own, other))
        hits, decided = won.hits - lost.hits, won.decided - lost.decided
        counts = before[0].moved(hits, decided), before[1].moved(-hits, -decided)
        means = [from_counts(of_cell).mean(axis=0) for of_cell in counts]
        differences: Values = (means[1] - means[0]).round(DIGITS)
        return differences

    return difference


def _exchangeable(metric: str, scores: Scores) -> Scores:
    """The part of the scores that the metric uses: ranks in (0, 1], or decisions of 1 and 0."""
    if needs_every_class(metric):  # it uses the order of scores only
        ranks = np.apply_along_axis(lambda own: count_wins(own, own) + 0.5, 1, scores)
        return np.asarray(ranks / scores.shape[1])
    decided = decide(scores)
    return decided.astype(np.float64) if scores.ndim == 2 else np.eye(scores.shape[2])[decided]
