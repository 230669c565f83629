"""The variance of a mean over runs, or of a difference of two, and how far it may be off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xlt.analysis.uncertainty.runs import Runs
from xlt.analysis.uncertainty.trial_units import mean_variances, units_of
from xlt.trainables.metrics.arrays import Values


@dataclass(frozen=True)
class Components:
    """Where the variance of a mean over runs, or of a difference of two, comes from.

    Random effects, all crossed, of units and test rows; units are seeds, or where there are several
    draws of training rows, with seeds beside them, trial_units.py (Searle, Casella &
    McCulloch 1992, Variance Components, chapter 4; for retrieval experiments with few systems
    Bodoff & Li 2007, SIGIR).

    Attributes:
        unit: Of the mean, from units: halves with twice the units. Zero for one: not known.
        item: Of the mean, from test rows: halves with twice the rows.
        both: Of the mean, from units that differ on different rows: halves with either.
        unit_freedom: Degrees of freedom of ``unit + both``: S - 1 for one group of S units, those
            of Welch (1938, Biometrika 29:350) for two.
        item_freedom: Degrees of freedom of ``item``.
        num_units: Smallest number of units of a group.
        num_items: Test rows.
        seed: Of the mean, from seeds beside draws: more draws do not make it less.
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
        """How far the estimate lies above the truth at most, with a probability.

        Quantiles of Student's t times standard errors, the root of the sum of the squares over
        units and rows (Howe 1974, Journal of the American Statistical Association 69:789). A
        single number of degrees of freedom for both (Satterthwaite) would cover less than it says
        with three units, because it takes units that are alike by chance for units that are alike.

        Args:
            probability: Between 0.5 and 1, e.g. 0.975 for one side of a 95 % interval.
            unit_ratio: As many times the units.
            item_ratio: As many times the test rows.
        """
        from scipy import special

        from_units = self.unit / unit_ratio + self.both / (unit_ratio * item_ratio)
        # Freedom grows as units do: S - 1 a group.
        freedom = self.unit_freedom * (self.num_units * unit_ratio - 1) / max(self.num_units - 1, 1)
        unit_factor = special.stdtrit(freedom, probability) if from_units > 0 else 0.0
        item_factor = special.stdtrit(self.item_freedom * item_ratio, probability)
        squares = unit_factor**2 * from_units + item_factor**2 * self.item / item_ratio
        if self.seed > 0:
            squares += special.stdtrit(self.seed_freedom, probability) ** 2 * self.seed
        return float(np.sqrt(squares))


def components(groups: Sequence[Runs]) -> Components:
    """Variance components of the sum over groups of the mean over runs.

    With s^2 the variance of the values of a group's S seeds and J the sum over groups of the mean
    influence of a row: s^2 / S estimates what seeds contribute with the rows held fixed, the sum
    of J^2 what rows contribute with the seeds held fixed. Both contain what seeds contribute on
    single rows, estimated by the variance of the influences between seeds and counted once.
    Several draws of training rows are the units, and what is left of the variance of seeds less
    that of seeds on single draws, which the one of draws holds, stands beside them.

    Args:
        groups: Runs independent of each other, on the same test rows.
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
    """Sum over groups of the mean influence of each row over runs, num_items."""
    total: Values = np.sum([group.influence.mean(axis=0) for group in groups], axis=0)
    return total


def mean(groups: Sequence[Runs]) -> float:
    """Sum over groups of the mean over runs."""
    return float(sum(group.values.mean() for group in groups))
