"""Bootstrap of test rows and runs, for statistics that have no variance in closed form.

Rows and runs are resampled independently of each other; all runs get the same resampled rows (Owen
2007, Annals of Applied Statistics 1:386, "The pigeonhole bootstrap"; hierarchical data: Davison &
Hinkley 1997, Bootstrap Methods and their Application, section 3.8). Rows are drawn within each
class, because an experiment fixes the number of test rows of each class
(``xlt.data.dataset.patterns.Sampling``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xlt.analysis.trials.scores import CellScores
from xlt.analysis.trials.trial_names import Run
from xlt.analysis.uncertainty.trial_units import units_of
from xlt.data.core.errors import InputError
from xlt.data.core.seeds import derive_seed
from xlt.trainables.metrics.arrays import Values, Weights
from xlt.trainables.metrics.prevalence import resampled_at
from xlt.trainables.metrics.resampled import weight_type

NUM_RESAMPLES = 10_000
ROOT_SEED = 0
"""Root of all random draws of the analysis, so that the same results give the same numbers."""


def draw_seed(*purpose: str | int) -> int:
    """Seed of the random draws for a purpose; the same for all metrics."""
    return derive_seed(ROOT_SEED, "intervals", *purpose)


def check_resamples(num_resamples: int) -> None:
    """Raise InputError if there are too few resamples for a 95 % interval or a p-value."""
    if num_resamples < 100:
        raise InputError(f"{num_resamples} resamples are too few; give 100 or more")


def item_weights(
    y_true: NDArray[np.integer[Any]],
    num_resamples: int,
    seed: int,
    stories: NDArray[np.intp] | None = None,
) -> Weights:
    """Resample the test rows within each class: how often each row is drawn.

    Rows of one story are drawn together: stories of one class within their class, and those with
    rows of the same several classes among themselves. So no class is without rows in a resample.

    Args:
        y_true: num_items labels.
        num_resamples: Number of columns.
        seed: Seed of the draws.
        stories: num_items numbers of stories, from 0; None: each row is a story.

    Returns:
        num_items x num_resamples counts. Without stories, the counts of the rows of a class sum to
        its size.
    """
    if stories is not None:
        has_class = [np.bincount(stories, y_true == label) > 0 for label in np.unique(y_true)]
        _, kinds = np.unique(has_class[::-1], axis=1, return_inverse=True)
        return item_weights(kinds, num_resamples, seed)[stories]
    rng = np.random.default_rng(seed)
    weights = np.empty((len(y_true), num_resamples), weight_type(len(y_true)))
    for label in np.unique(y_true):
        rows = np.flatnonzero(y_true == label)
        for start in range(0, num_resamples, 1000):
            num = min(1000, num_resamples - start)
            drawn = rng.integers(len(rows), size=(num, len(rows)))
            drawn += len(rows) * np.arange(num)[:, None]
            counts = np.bincount(drawn.ravel(), minlength=num * len(rows)).reshape(num, -1)
            weights[rows, start : start + num] = counts.T
    return weights


class RowResampler:
    """Scores runs on resampled test rows; cells with the same rows get the same resamples.

    Args:
        metric: Name in ``resampled_at(prevalence, num_classes)``.
        num_resamples: Number of resamples.
        prevalence: Share of class 1 at which the metric is computed; None: that of the test rows.
        num_classes: Number of classes.

    Raises:
        InputError: There are too few resamples for a 95 % interval.
    """

    def __init__(
        self,
        metric: str,
        num_resamples: int = NUM_RESAMPLES,
        prevalence: float | None = None,
        num_classes: int = 2,
    ) -> None:
        check_resamples(num_resamples)
        self._weighted = resampled_at(prevalence, num_classes)[metric].weighted
        self._num_resamples = num_resamples
        self._weights: tuple[CellScores, Weights] | None = None

    def values(self, cell: CellScores) -> Values:
        """The metric of each run on each resample, num_runs x num_resamples."""
        # Keep the weights for the next cell: 20 MB for 512 rows and 10,000 resamples.
        if self._weights is None or not _same_rows(self._weights[0], cell):
            weights = item_weights(
                cell.y_true, self._num_resamples, draw_seed("items"), cell.stories
            )
            self._weights = cell, weights
        return self._weighted(cell.y_true, cell.scores, self._weights[1])


def _same_rows(first: CellScores, second: CellScores) -> bool:
    names = "y_true", "stories"
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in names)


def run_counts(
    runs: Sequence[Run], num_resamples: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Resample the runs of a cell: how often each run is drawn.

    With one draw of training rows, seeds are resampled. With several, draws and seeds are resampled
    independently of each other, and the count of a run is the product of the counts of its draw and
    its seed (Owen 2007). The variance that comes from seeds on single draws is then counted up to
    three times, so intervals tend to be too wide.

    From S seeds, S - 1 are drawn with replacement; likewise for draws. With S, the variance of the
    mean would be too small by the factor (S - 1) / S, two thirds for S = 3 (Rao & Wu 1988, Journal
    of the American Statistical Association 83:231). A single seed or draw is not resampled.

    Args:
        runs: num_runs pairs of draw and seed.
        num_resamples: Number of columns.
        rng: Source of the draws.

    Returns:
        num_runs x num_resamples counts; no column is all zero.
    """
    counts = np.ones((len(runs), num_resamples))
    for factor in units_of(runs):
        num_levels = max(factor) + 1
        drawn = rng.integers(num_levels, size=(max(num_levels - 1, 1), num_resamples))
        counts_of_levels = (drawn == np.arange(num_levels)[:, None, None]).sum(axis=1)
        counts *= counts_of_levels[list(factor)]
    # Where only missing runs were drawn, take each run once.
    counts[:, counts.sum(axis=0) == 0] = 1
    return counts


def resampled_mean(values: Values, runs: Sequence[Run], seed: int) -> NDArray[np.float64]:
    """Mean over resampled runs (:func:`run_counts`) of values on resampled rows.

    Args:
        values: num_runs x num_resamples, see :meth:`RowResampler.values`.
        runs: num_runs pairs of draw and seed.
        seed: Seed of the draws.

    Returns:
        num_resamples means.
    """
    counts = run_counts(runs, values.shape[1], np.random.default_rng(seed))
    means: NDArray[np.float64] = (values * counts).sum(axis=0) / counts.sum(axis=0)
    return means
