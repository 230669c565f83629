"""Test rows and runs drawn anew: what a mean over runs, or a difference of two, could have been.

A run is a seed, or with several draws of training rows a seed on a draw. Runs and test rows are
crossed: every run is tested on the same rows. Both are resampled, independently of each other, and
rows for all runs at once (Owen 2007, Annals of Applied
Statistics 1:386, "The pigeonhole bootstrap"; hierarchical data: Davison & Hinkley 1997, Bootstrap
Methods and their Application, section 3.8; both sources of variance count in benchmarks:
Bouthillier et al. 2021, arXiv:2103.03098). Rows are drawn within each class, because the draw of
an experiment fixes how many rows of each there are (``xlt.data.dataset.patterns.Sampling``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xlt.analysis.trials.scores import CellScores
from xlt.analysis.trials.trial_names import Run
from xlt.analysis.uncertainty.trial_units import units_of
from xlt.data.core.errors import InputError, unknown
from xlt.data.core.seeds import derive_seed
from xlt.trainables.metrics.arrays import Labels, Values, Weights
from xlt.trainables.metrics.registry import RESAMPLED_METRICS, undefined
from xlt.trainables.metrics.resampled import Resampled, weight_type

NUM_RESAMPLES = 10_000
ROOT_SEED = 0
"""Intervals and p-values of the same results are the same every time."""


@dataclass(frozen=True)
class Runs:
    """A metric of the runs of a cell, or the differences of paired runs, with its variation.

    Attributes:
        values: num_runs, on the test rows as they are.
        resampled: num_runs x num_resamples, on resampled test rows; x 0 if none were asked for.
        influence: num_runs x num_items; the sum of squares of a run estimates the variance of its
            value over test rows.
        runs: num_runs (draw of training rows, seed).
    """

    values: Values
    resampled: Values
    influence: Values
    runs: tuple[Run, ...]

    def __mul__(self, factor: float) -> Runs:
        """The same in another unit, or with the opposite sign."""
        return Runs(
            factor * self.values, factor * self.resampled, factor * self.influence, self.runs
        )

    def __neg__(self) -> Runs:
        """The same with the opposite sign."""
        return self * -1.0

    def __add__(self, other: Runs) -> Runs:
        """Run by run; both have the same runs."""
        return Runs(
            self.values + other.values,
            self.resampled + other.resampled,
            self.influence + other.influence,
            self.runs,
        )

    def chosen(self, rows: Sequence[int]) -> Runs:
        """Some of the runs, in the order given."""
        runs = tuple(self.runs[row] for row in rows)
        return Runs(self.values[rows], self.resampled[rows], self.influence[rows], runs)


def item_weights(y_true: Labels, num_resamples: int, seed: int) -> Weights:
    """Resamples of test rows within each class: how often each row was drawn.

    Args:
        y_true: num_items.
        num_resamples: Number of columns.
        seed: Of the draw.

    Returns:
        num_items x num_resamples counts; the rows of a class sum to its size.
    """
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


def check_resamples(num_resamples: int) -> None:
    """Raise InputError for too few for a 95 % interval."""
    if num_resamples < 100:
        raise InputError(f"{num_resamples} resamples are too few; give 100 or more")


class Resampler:
    """Runs of the cells of an experiment, each computed once; shared rows are drawn alike.

    Args:
        metric: Name in ``known``.
        num_resamples: Of test rows and runs; None: none, which is all that ``t`` needs.

        known: Name -> functions that resample it.
        draws: Whether ``Runs.resampled`` is wanted: it takes nearly all of the time, and a method
            that draws nothing has no use for it; without, it has no columns.

    Raises:
        InputError: A metric that cannot be resampled, or too few resamples for a 95 % interval.
    """

    def __init__(
        self,
        metric: str,
        num_resamples: int | None = NUM_RESAMPLES,
        known: Mapping[str, Resampled] = RESAMPLED_METRICS,
        draws: bool = True,
    ) -> None:
        if metric not in known:
            raise InputError(unknown("metric of two classes", metric, known))
        if num_resamples is not None:
            check_resamples(num_resamples)
        self.metric = metric
        self._resampled = known[metric]
        self._draws = draws and num_resamples is not None
        self.num_resamples = num_resamples or 0
        self._weights: tuple[Labels, Weights] | None = None
        self._runs: dict[tuple[str, str], Runs] = {}

    def runs(self, cell: CellScores, values: Values | None = None) -> Runs:
        """Values, resampled values and influences of a cell's runs.

        Args:
            cell: The runs.
            values: On the test rows as they are, where they are known already; num_runs.

        Raises:
            InputError: The metric has no value on the cell's test rows.
        """
        key = cell.base_model, cell.pattern
        if key not in self._runs:
            if reason := undefined(self.metric, cell.y_true):
                raise InputError(reason)
            score = self._resampled.weighted
            if values is None:
                as_they_are = np.ones((len(cell.y_true), 1), weight_type(len(cell.y_true)))
                values = score(cell.y_true, cell.scores, as_they_are)[:, 0]
            resampled = np.empty((len(cell.runs), 0))
            if self._draws:
                resampled = score(cell.y_true, cell.scores, self._item_weights(cell.y_true))
            self._runs[key] = Runs(
                values,
                resampled,
                self._resampled.influences(cell.y_true, cell.scores),
                cell.runs,
            )
        return self._runs[key]

    def seed(self, *purpose: str | int) -> int:
        """The seed for a purpose; other metrics draw the same."""
        return derive_seed(ROOT_SEED, "intervals", *purpose)

    def _item_weights(self, y_true: Labels) -> Weights:
        """Those of the last labels are kept: 20 MB for 512 rows and 10,000 resamples."""
        if self._weights is None or not np.array_equal(self._weights[0], y_true):
            weights = item_weights(y_true, self.num_resamples, self.seed("items"))
            self._weights = y_true, weights
        return self._weights[1]


def run_counts(
    runs: Sequence[Run], num_resamples: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """How often each run counts in resamples of the runs of a cell.

    Seeds are resampled; with several draws of training rows draws and seeds are, independently of
    each other, and a run counts as often as its draw was drawn times its seed (Owen 2007; what
    seeds do on single draws is counted up to three times, which errs to the wide side). Of S
    seeds S - 1 are drawn with replacement, since the variance of a mean of S would be too small by
    the factor (S - 1) / S, a third for S = 3 (Rao & Wu 1988, Journal of the American Statistical
    Association 83:231); draws likewise. A single one cannot be resampled.

    Args:
        runs: num_runs.
        num_resamples: How many.
        rng: Of the draws.

    Returns:
        num_runs x num_resamples counts, of which none is 0 for all runs.
    """
    counts = np.ones((len(runs), num_resamples))
    for factor in units_of(runs):
        num_levels = max(factor) + 1
        drawn = rng.integers(num_levels, size=(max(num_levels - 1, 1), num_resamples))
        drawn_as = (drawn == np.arange(num_levels)[:, None, None]).sum(axis=1)
        counts *= drawn_as[list(factor)]
    counts[:, counts.sum(axis=0) == 0] = 1  # only runs that are missing: as they are
    return counts


def resampled_mean(groups: Sequence[Runs], seed: int) -> NDArray[np.float64]:
    """Sums over groups of the mean over resampled runs (:func:`run_counts`), on resampled rows.

    Args:
        groups: Runs independent of each other.
        seed: Of the draws.

    Returns:
        num_resamples sums.
    """
    rng = np.random.default_rng(seed)
    num_resamples = groups[0].resampled.shape[1]
    total = np.zeros(num_resamples)
    for group in groups:
        counts = run_counts(group.runs, num_resamples, rng)
        total += (group.resampled * counts).sum(axis=0) / counts.sum(axis=0)
    return total
