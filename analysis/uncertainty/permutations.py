"""Paired permutation test of two cells: exchanges the scores of test rows between the cells."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from xlt.trainables.metrics.arrays import THRESHOLD, Labels, Scores
from xlt.trainables.metrics.prevalence import resampled_at
from xlt.trainables.metrics.registry import needs_every_class
from xlt.trainables.metrics.resampled import ExchangeEffects, Weighted, weight_type

BATCH = 1000
"""Number of permutations in a batch, which takes 8 MB for 512 test rows."""

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
        metric: Name in ``resampled_at(prevalence)``.
        y_true: num_items labels, 0 or 1.
        first: num_runs x num_items scores of the first cell.
        second: num_runs x num_items scores of the second cell, with runs in the same order.
        num_permutations: Maximal number of exchanges.
        seed: Seed of random exchanges.
        prevalence: Share of class 1 at which the metric is computed; None: that of the test rows.
        stories: num_items numbers of stories, from 0; None: each row is a story.
    """
    from scipy import stats

    first, second = _exchangeable(metric, first), _exchangeable(metric, second)
    differ = np.flatnonzero((first != second).any(axis=0))
    units = differ if stories is None else np.unique(stories[differ])
    if len(units) < 2:  # a single exchange negates the difference
        return 1.0
    resampled = resampled_at(prevalence)[metric]
    rows = y_true, first, second, differ
    if resampled.exchange_effects:
        difference = _difference_by_effects(resampled.exchange_effects, *rows)
    else:
        difference = _weighted_difference(resampled.weighted, *rows)
    if stories is not None:
        difference = _by_story(difference, np.searchsorted(units, stories[differ]))
    test = stats.permutation_test(
        (np.zeros(len(units)), np.ones(len(units))),
        difference,
        permutation_type="samples",
        vectorized=True,
        n_resamples=num_permutations,
        batch=BATCH,
        rng=np.random.default_rng(seed),
    )
    return float(test.pvalue)


def num_permutations_needed(alpha: float) -> int:
    """Smallest number m of random exchanges with which p can reach alpha: 2 / (m + 1) <= alpha."""
    return math.ceil(2 / alpha - 1 - 1e-9)  # the last term allows for rounding of 2 / alpha


Statistic = Callable[..., NDArray[np.float64]]
"""Function from an array ... x num_differ, whose entries are 1 for exchanged rows and 0 for others,
to differences of means over runs. scipy passes two more arguments."""


def _by_story(difference: Statistic, stories: NDArray[np.intp]) -> Statistic:
    """Exchange all rows of a story together; ``stories`` has the position of each row's story."""

    def of_stories(chosen: NDArray[np.float64], other: object, axis: int) -> NDArray[np.float64]:
        return difference(chosen[..., stories], other, axis)

    return of_stories


def _weighted_difference(
    score: Weighted, y_true: Labels, first: Scores, second: Scores, differ: NDArray[np.intp]
) -> Statistic:
    """Statistic of any weighted metric."""
    num_items = len(y_true)
    # Each row occurs with both of its scores; weights 1 and 0 select one of them for each cell.
    labels, scores = np.tile(y_true, 2), np.concatenate([first, second], axis=1)

    def difference(chosen: NDArray[np.float64], _: object, axis: int) -> NDArray[np.float64]:
        exchanged = np.zeros((num_items, chosen[..., 0].size), weight_type(num_items))
        exchanged[differ] = chosen.reshape(-1, len(differ)).T
        as_first = np.concatenate([1 - exchanged, exchanged])
        as_second = np.concatenate([exchanged, 1 - exchanged])
        means = [score(labels, scores, weights).mean(axis=0) for weights in (as_first, as_second)]
        differences: NDArray[np.float64] = (means[1] - means[0]).reshape(chosen.shape[:-1])
        return differences.round(DIGITS)

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

    def difference(chosen: NDArray[np.float64], _: object, axis: int) -> NDArray[np.float64]:
        differences: NDArray[np.float64] = (effects.sum() - 2 * (chosen @ effects)) / divisor
        return differences

    return difference


def _exchangeable(metric: str, scores: Scores) -> Scores:
    """The part of the scores that the metric uses: ranks in (0, 1], or decisions."""
    if needs_every_class(metric):  # it uses the order of scores only
        from scipy import stats

        ranks: Scores = stats.rankdata(scores, axis=1) / scores.shape[1]
        return ranks
    return (scores >= THRESHOLD).astype(np.float64)
