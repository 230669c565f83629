"""INTERVALS: 95 % intervals of a mean over seeds and of a difference of two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.resampling import NUM_RESAMPLES, Resampler, Runs, resampled_mean
from analysis.scores import ExperimentScores, Key
from analysis.weighted_metrics import Values
from data.errors import InputError, unknown

CONFIDENCE = 0.95
FEW_SEEDS = 10
"""With fewer the standard deviation over seeds has a relative error of a quarter or more: about
1 / sqrt(2 (S - 1)) for normal values, 0.5 for S = 3."""


@dataclass(frozen=True)
class Components:
    """Where the variance of a mean over seeds, or of a difference of two, comes from.

    Two-way random effects of seeds and test rows (Searle, Casella & McCulloch 1992, Variance
    Components, chapter 4; for retrieval experiments with few systems Bodoff & Li 2007, SIGIR).

    Attributes:
        seed: Of the mean, from seeds: halves with twice the seeds. Zero for one seed: not known.
        item: Of the mean, from test rows: halves with twice the rows.
        both: Of the mean, from seeds that differ on different rows: halves with either.
        seed_freedom: Degrees of freedom of ``seed + both``: S - 1 for one group, those of Welch
            (1938, Biometrika 29:350) for two.
        item_freedom: Degrees of freedom of ``item``.
        num_seeds: Smallest number of seeds of a group.
        num_items: Test rows.
    """

    seed: float
    item: float
    both: float
    seed_freedom: float
    item_freedom: float
    num_seeds: int
    num_items: int

    def half_width(self, probability: float, seed_ratio: float = 1, item_ratio: float = 1) -> float:
        """How far the estimate lies above the truth at most, with a probability.

        Quantiles of Student's t times standard errors, the root of the sum of the squares over
        seeds and rows (Howe 1974, Journal of the American Statistical Association 69:789). A
        single number of degrees of freedom for both (Satterthwaite) would cover less than it says
        with three seeds, because it takes seeds that are alike by chance for seeds that are alike.

        Args:
            probability: Between 0.5 and 1, e.g. 0.975 for one side of a 95 % interval.
            seed_ratio: As many times the seeds.
            item_ratio: As many times the test rows.
        """
        from scipy import special

        from_seeds = self.seed / seed_ratio + self.both / (seed_ratio * item_ratio)
        # Freedom grows as seeds do: S - 1 a group.
        freedom = self.seed_freedom * (self.num_seeds * seed_ratio - 1) / max(self.num_seeds - 1, 1)
        seed_factor = special.stdtrit(freedom, probability) if from_seeds > 0 else 0.0
        item_factor = special.stdtrit(self.item_freedom * item_ratio, probability)
        squares = seed_factor**2 * from_seeds + item_factor**2 * self.item / item_ratio
        return float(np.sqrt(squares))


@dataclass(frozen=True)
class Interval:
    """An interval for a mean over seeds or a difference of two, fractions of 1.

    Attributes:
        low: Lower end.
        high: Upper end.
    """

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether a value lies within."""
        return self.low <= value <= self.high


def components(groups: Sequence[Runs]) -> Components:
    """Variance components of the sum over groups of the mean over seeds.

    With s^2 the variance of the values of a group's S seeds and J the sum over groups of the mean
    influence of a row: s^2 / S estimates what seeds contribute with the rows held fixed, the sum
    of J^2 what rows contribute with the seeds held fixed. Both contain what seeds contribute on
    single rows, estimated by the variance of the influences between seeds and counted once.

    Args:
        groups: Runs whose seeds are independent of each other, on the same test rows.
    """
    num_items = groups[0].influence.shape[1]
    rows = float((sum_of_means(groups) ** 2).sum())
    seeds, both, per_freedom = 0.0, 0.0, 0.0
    for group in groups:
        if (num_seeds := len(group.values)) > 1:
            of_seeds = float(group.values.var(ddof=1)) / num_seeds
            seeds += of_seeds
            both += float(group.influence.var(axis=0, ddof=1).sum()) / num_seeds
            per_freedom += of_seeds**2 / (num_seeds - 1)
    num_seeds = min(len(group.values) for group in groups)
    return Components(
        seed=max(seeds - both, 0.0),
        item=max(rows - both, 0.0),
        both=min(both, seeds),
        seed_freedom=seeds**2 / per_freedom if per_freedom > 0 else max(num_seeds - 1.0, 1.0),
        item_freedom=max(num_items - 2.0, 1.0),
        num_seeds=num_seeds,
        num_items=num_items,
    )


def sum_of_means(groups: Sequence[Runs]) -> Values:
    """Sum over groups of the mean influence of each row over seeds, num_items."""
    total: Values = np.sum([group.influence.mean(axis=0) for group in groups], axis=0)
    return total


def mean(groups: Sequence[Runs]) -> float:
    """Sum over groups of the mean over seeds."""
    return float(sum(group.values.mean() for group in groups))


def t_interval(groups: Sequence[Runs], seed: int) -> Interval:
    """Mean -/+ :meth:`Components.half_width`; draws nothing.

    With few seeds Student's t has few degrees of freedom, so that the interval says how little is
    known: 2 degrees, 4.3 standard errors, for what 3 seeds contribute.
    """
    half = components(groups).half_width((1 + CONFIDENCE) / 2)
    return Interval(mean(groups) - half, mean(groups) + half)


def percentile_interval(groups: Sequence[Runs], seed: int) -> Interval:
    """The middle 95 % of the hierarchical bootstrap (Davison & Hinkley 1997, section 5.3)."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(resampled_mean(groups, seed), (tail, 1 - tail))
    return Interval(float(low), float(high))


def bca_interval(groups: Sequence[Runs], seed: int) -> Interval:
    """Percentiles of the hierarchical bootstrap, adjusted for bias and skewness.

    BCa (Efron 1987, Journal of the American Statistical Association 82:171) for several samples
    (Davison & Hinkley 1997, section 5.3): seeds and rows are samples of their own, and the
    acceleration is a sixth of the sum of cubed over the 3/2 power of the sum of squared
    influences on the mean.
    """
    from scipy import special

    drawn, estimate = resampled_mean(groups, seed), mean(groups)
    below = ((drawn < estimate).mean() + (drawn <= estimate).mean()) / 2
    if not 0 < below < 1:  # all on one side, or all equal: nothing to adjust by
        return percentile_interval(groups, seed)
    bias = special.ndtri(below)
    influences = [sum_of_means(groups)]
    influences += [
        (g.values - g.values.mean()) / np.sqrt(len(g.values) * (len(g.values) - 1))
        for g in groups
        if len(g.values) > 1
    ]
    moved = np.concatenate(influences)
    squares = (moved**2).sum()
    acceleration = (moved**3).sum() / (6 * squares**1.5) if squares > 0 else 0.0
    shifted = bias + special.ndtri(np.array([1 - CONFIDENCE, 1 + CONFIDENCE]) / 2)
    levels = special.ndtr(bias + shifted / (1 - acceleration * shifted))
    low, high = np.quantile(drawn, levels)
    return Interval(float(low), float(high))


INTERVALS: dict[str, Callable[[Sequence[Runs], int], Interval]] = {
    "t": t_interval,
    "percentile": percentile_interval,
    "bca": bca_interval,
}
"""Name -> function of groups of runs with independent seeds, and the seed of the draws."""


def check_method(name: str) -> None:
    """Raise InputError unless the name is in :data:`INTERVALS`."""
    if name not in INTERVALS:
        raise InputError(unknown("interval", name, INTERVALS))


@dataclass(frozen=True)
class CellIntervals:
    """Intervals of all cells of an experiment.

    Attributes:
        scores: The predictions.
        method: Name in :data:`INTERVALS`.
        num_resamples: Of test rows and seeds; ``t`` needs none.
    """

    scores: ExperimentScores
    method: str = "t"
    num_resamples: int = NUM_RESAMPLES

    def of(self, metric: str) -> tuple[dict[Key, tuple[float, float]], dict[Key, str]]:
        """Low and high ends clipped to [0, 1], and why the other cells have none.

        Raises:
            InputError: A metric that is not in ``WEIGHTED_METRICS``, or an unknown method.
        """
        found: dict[Key, tuple[float, float]] = {}
        without = dict(self.scores.left_out)
        check_method(self.method)
        if not self.scores.cells:  # e.g. more than two classes, whose metrics are others
            return found, without
        resampler = Resampler(metric, self.num_resamples)
        for key, cell in self.scores.cells.items():
            try:
                groups = [resampler.runs(cell)]
            except InputError as error:
                without[key] = str(error)
                continue
            made = INTERVALS[self.method](groups, resampler.seed("seeds", cell.name))
            found[key] = max(made.low, 0.0), min(made.high, 1.0)
        return found, without

    def describe(self) -> str:
        """A sentence for a caption."""
        counts = [len(cell.seeds) for cell in self.scores.cells.values()]
        return (
            "[low, high]: 95 % interval of the mean over seeds and test rows drawn anew "
            f"({describe_method(self.method, self.num_resamples)}){describe_seeds(counts)}."
        )


def describe_method(method: str, num_resamples: int) -> str:
    """What an interval was made with."""
    return f"method {method}" + ("" if method == "t" else f", {num_resamples} resamples")


def describe_seeds(counts: Sequence[int]) -> str:
    """What these numbers of seeds do not tell; empty for many."""
    said = ""
    if any(1 < count < FEW_SEEDS for count in counts):
        said += f"; with fewer than {FEW_SEEDS} seeds their variance is poorly known"
    if 1 in counts:
        said += "; with one seed its variance is unknown and the interval is of test rows alone"
    return said
