"""Variance components of a mean over runs, or of a difference of two means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xlt.analysis.uncertainty.runs import Runs
from xlt.analysis.uncertainty.trial_units import mean_variances, units_of
from xlt.trainables.metrics.arrays import Values


@dataclass(frozen=True)
class Components:
    """Variance components of a mean over runs, or of a difference of two means.

    The model has crossed random effects of units and test rows (Searle, Casella & McCulloch 1992,
    Variance Components, chapter 4; for readers and cases in diagnostic studies: Obuchowski &
    Rockette 1995, Communications in Statistics - Simulation and Computation 24:285, and Hillis
    2007, Statistics in Medicine 26:596; for retrieval experiments: Bodoff & Li 2007, SIGIR). Units
    are seeds, or draws of training rows if there are several; then the effect of seeds is a
    component of its own (trial_units.py).

    Attributes:
        unit: Variance from units; halves with twice the units. Zero for a single unit, for which
            it is unknown.
        item: Variance from test rows; halves with twice the rows.
        both: Variance from the interaction of units and rows; halves with twice of either.
        unit_freedom: Degrees of freedom of ``unit + both``: S - 1 for one group of S units, those
            of Welch (1938, Biometrika 29:350) for two groups.
        item_freedom: Degrees of freedom of ``item``.
        num_units: Number of units of the smallest group.
        num_items: Number of test rows.
        seed: Variance from seeds if units are draws; more draws do not reduce it.
        seed_freedom: Degrees of freedom of ``seed``.
    """

    unit: float
    item: float
    both: float
    unit_freedom: float
    item_freedom: float
    num_units: int
    num_items: int
    seed: float = 0.0
    seed_freedom: float = 1.0

    def half_width(self, probability: float, unit_ratio: float = 1, item_ratio: float = 1) -> float:
        """Quantile of the error (estimate minus truth): half of the width of an interval.

        For each source of variance, the quantile of Student's t is multiplied by the standard
        error; the result is the root of the sum of their squares (Howe 1974, Journal of the
        American Statistical Association 69:789). One number of degrees of freedom for the total
        (Satterthwaite) would make intervals too short with three units, because it relies on the
        estimated variance of the units even where that is small by chance.

        Args:
            probability: Probability between 0.5 and 1, e.g. 0.975 for a 95 % interval.
            unit_ratio: Factor by which the number of units is multiplied, for planning.
            item_ratio: Factor by which the number of test rows is multiplied, for planning.
        """
        from scipy import special

        from_units = self.unit / unit_ratio + self.both / (unit_ratio * item_ratio)
        # Each group of S units has S - 1 degrees of freedom.
        freedom = self.unit_freedom * (self.num_units * unit_ratio - 1) / max(self.num_units - 1, 1)
        unit_factor = special.stdtrit(freedom, probability) if from_units > 0 else 0.0
        item_factor = special.stdtrit(self.item_freedom * item_ratio, probability)
        squares = unit_factor**2 * from_units + item_factor**2 * self.item / item_ratio
        if self.seed > 0:
            squares += special.stdtrit(self.seed_freedom, probability) ** 2 * self.seed
        return float(np.sqrt(squares))


def components(groups: Sequence[Runs]) -> Components:
    """Estimate the variance components of the sum over groups of the mean over runs.

    Let s^2 be the variance of the values of a group's S seeds, and J the sum over groups of the
    mean influence of a row. s^2 / S estimates the variance from seeds with fixed rows; the sum of
    J^2 estimates the variance from rows with fixed seeds. Both contain the interaction of seeds and
    rows, which is estimated by the variance of the influences between seeds and counted once.

    With several draws of training rows, draws are the units. Their variance contains the
    interaction of draws and seeds, so it is subtracted from the variance of seeds.

    Args:
        groups: Independent groups of runs on the same test rows.
    """
    num_items = groups[0].influence.shape[1]
    rows = float((sum_of_means(groups) ** 2).sum())
    units, both, per_freedom, seeds, seed_freedom = 0.0, 0.0, 0.0, 0.0, 1.0
    for group in groups:
        factors = units_of(group.runs)
        (of_units, *of_seeds), rest = mean_variances(group.values, factors)
        (on_rows, *seeds_on_rows), rest_on_rows = mean_variances(group.influence, factors)
        units += float(of_units)
        both += float(on_rows.sum())
        per_freedom += float(of_units) ** 2 / max(max(factors[0]), 1)
        if of_seeds:
            beside = max(float((seeds_on_rows[0] - rest_on_rows).sum()), 0.0)
            both += beside
            seeds += max(float(of_seeds[0] - rest), 0.0)
            seed_freedom = float(max(factors[1]))
    fewest = min(max(units_of(group.runs)[0]) + 1 for group in groups)
    return Components(
        unit=max(units - both, 0.0),
        item=max(rows - both, 0.0),
        both=min(both, units),
        unit_freedom=units**2 / per_freedom if per_freedom > 0 else max(fewest - 1.0, 1.0),
        item_freedom=max(num_items - 2.0, 1.0),
        num_units=fewest,
        num_items=num_items,
        seed=seeds,
        seed_freedom=seed_freedom,
    )


def sum_of_means(groups: Sequence[Runs]) -> Values:
    """Sum over groups of the mean influence over runs, for each of num_items rows."""
    total: Values = np.sum([group.influence.mean(axis=0) for group in groups], axis=0)
    return total


def mean(groups: Sequence[Runs]) -> float:
    """Sum over groups of the mean over runs."""
    return float(sum(group.values.mean() for group in groups))
