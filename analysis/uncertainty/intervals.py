"""INTERVALS: 95 % intervals of a mean over runs and of a difference of two."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from xlt.analysis.trials.scores import ExperimentScores
from xlt.analysis.trials.trial_names import Run
from xlt.analysis.uncertainty.mean_variance import components, mean, sum_of_means
from xlt.analysis.uncertainty.resampling import (
    NUM_RESAMPLES,
    Resampler,
    Runs,
    check_resamples,
    resampled_mean,
)
from xlt.analysis.uncertainty.trial_units import (
    has_several_draws,
    num_units,
    unit_deviations,
    units_of,
)
from xlt.analysis.uncertainty.variance_components import VarianceComponents, variance_components
from xlt.data.core.errors import InputError, unknown
from xlt.trainables.spec.cell_key import CellKey

CONFIDENCE = 0.95
FEW_UNITS = 10
"""With fewer seeds, or draws, the standard deviation over them has a relative error of a quarter or
more: about 1 / sqrt(2 (S - 1)) for normal values, 0.5 for S = 3."""


@dataclass(frozen=True)
class Interval:
    """An interval for a mean over runs or a difference of two, fractions of 1.

    Attributes:
        low: Lower end.
        high: Upper end.
    """

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether a value lies within."""
        return self.low <= value <= self.high


def t_interval(groups: Sequence[Runs], seed: int) -> Interval:
    """Mean -/+ :meth:`Components.half_width`; draws nothing.

    With few units Student's t has few degrees of freedom, so that the interval says how little is
    known: 2 degrees, 4.3 standard errors, for what 3 seeds, or 3 draws, contribute.
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
    (Davison & Hinkley 1997, section 5.3): units and rows are samples of their own, and the
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
    influences += [unit_deviations(g.values, f) for g in groups for f in units_of(g.runs)]
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
"""Name -> function of groups of independent runs, and the seed of the draws."""


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
        num_resamples: Of test rows and runs; ``t`` needs none.
    """

    scores: ExperimentScores
    method: str = "t"
    num_resamples: int = NUM_RESAMPLES
    _resamplers: dict[str, Resampler] = field(default_factory=dict, repr=False, compare=False)

    def of(self, metric: str) -> tuple[dict[CellKey, tuple[float, float]], dict[CellKey, str]]:
        """Low and high ends clipped to [0, 1], and why the other cells have none.

        Raises:
            InputError: A metric that is not in ``RESAMPLED_METRICS``, or an unknown method.
        """
        found: dict[CellKey, tuple[float, float]] = {}
        without = dict(self.scores.left_out)
        check_method(self.method)
        check_resamples(self.num_resamples)
        if not self.scores.cells:  # e.g. more than two classes, whose metrics are others
            return found, without
        from threadpoolctl import threadpool_limits

        resampler = self._resampler(metric)
        with threadpool_limits(1):  # products this small wait longer for threads than they take
            for key, cell in self.scores.cells.items():
                try:
                    groups = [resampler.runs(cell)]
                except InputError as error:
                    without[key] = str(error)
                    continue
                made = INTERVALS[self.method](groups, resampler.seed("seeds", key.path))
                found[key] = max(made.low, 0.0), min(made.high, 1.0)
        return found, without

    def components(self, metric: str) -> dict[CellKey, VarianceComponents]:
        """What spreads the scores of each cell that has an interval."""
        resampler, found = self._resampler(metric), {}
        for key, cell in self.scores.cells.items():
            try:
                found[key] = variance_components(resampler.runs(cell))
            except InputError:  # told where there is no interval
                continue
        return found

    def _resampler(self, metric: str) -> Resampler:
        """One a metric, which remembers the runs."""
        if metric not in self._resamplers:
            needed = resamples_of(self.method, self.num_resamples)
            self._resamplers[metric] = Resampler(metric, needed)
        return self._resamplers[metric]

    def describe(self) -> str:
        """A sentence for a caption."""
        runs = [cell.runs for cell in self.scores.cells.values()]
        over = "draws of training rows, seeds" if any(map(has_several_draws, runs)) else "seeds"
        return (
            f"[low, high]: 95 % interval of the mean over {over} and test rows drawn anew "
            f"({describe_method(self.method, self.num_resamples)}){describe_units(runs)}."
        )


def resamples_of(method: str, num_resamples: int) -> int | None:
    """How many resamples a method of :data:`INTERVALS` needs; None: it draws nothing."""
    return None if method == "t" else num_resamples


def describe_method(method: str, num_resamples: int) -> str:
    """What an interval was made with."""
    needed = resamples_of(method, num_resamples)
    return f"method {method}" + (f", {needed} resamples" if needed else "")


def describe_units(runs: Iterable[Sequence[Run]]) -> str:
    """What so few draws or seeds do not tell; empty for many.

    Args:
        runs: Those of each cell.
    """
    counts: dict[str, set[int]] = {"seeds": set(), "draws": set()}
    for one in runs:
        counts["draws" if has_several_draws(one) else "seeds"].add(num_units(one))
    said = ""
    for name, numbers in counts.items():
        if any(1 < number < FEW_UNITS for number in numbers):
            few = "draws or seeds" if name == "draws" else name
            said += f"; with fewer than {FEW_UNITS} {few} their variance is poorly known"
    if 1 in counts["seeds"]:
        said += "; with one seed its variance is unknown and the interval is of test rows alone"
    return said
