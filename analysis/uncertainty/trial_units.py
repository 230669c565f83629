"""What is independent among the runs of a cell: its seeds, its draws of training rows, or both.

3 draws x 3 seeds are 9 runs of 3 draws and 3 seeds and not 9 independent ones: runs on a draw share
its training rows, and runs of a seed share the initial head and the order of rows. So draws and
seeds are crossed; nested they would count what a seed does on every draw as if it averaged out.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from xlt.analysis.trials.trial_names import Run
from xlt.trainables.metrics.arrays import Values

Units = tuple[int, ...]
"""num_runs, which unit each run belongs to."""


def units_of(runs: Sequence[Run]) -> tuple[Units, ...]:
    """The factors whose levels are drawn anew: draws and seeds, or one of them.

    One draw: its seeds. Several: draws, and seeds too if these repeat from draw to draw; else what
    seeds do is part of what draws do.

    Returns:
        One or two factors; draws come first.
    """
    return _units_of(tuple(runs))


@lru_cache(maxsize=1024)  # asked for again by every contrast of a cell
def _units_of(runs: tuple[Run, ...]) -> tuple[Units, ...]:
    draws, seeds = (list(dict.fromkeys(column)) for column in zip(*runs, strict=True))
    by_draw = tuple(draws.index(draw_index) for draw_index, _ in runs)
    by_seed = tuple(seeds.index(seed) for _, seed in runs)
    if len(draws) == 1:
        return (by_seed,)
    return (by_draw, by_seed) if 1 < len(seeds) < len(runs) else (by_draw,)


def has_several_draws(runs: Sequence[Run]) -> bool:
    """Whether draws of training rows are drawn anew."""
    return len({draw_index for draw_index, _ in runs}) > 1


def num_units(runs: Sequence[Run]) -> int:
    """Levels of the scarcest factor: what a test of runs can count on."""
    return min(len(set(factor)) for factor in units_of(runs))


def unit_means(values: Values, factor: Units) -> Values:
    """Mean over the runs of each level: num_runs x ... -> num_levels x ..."""
    if factor == tuple(range(len(values))):
        return values  # each run is a level, as nearly always
    shares = (np.arange(max(factor) + 1)[:, None] == factor).astype(np.float64)
    shares /= shares.sum(axis=1, keepdims=True)
    means: Values = np.tensordot(shares, values, axes=1)
    return means


def unit_deviations(values: Values, factor: Units) -> Values:
    """Deviations of a factor's levels from the mean over runs, scaled for that mean's variance.

    Args:
        values: num_runs x ...
        factor: num_runs.

    Returns:
        num_levels x ...; the sum of squares estimates the variance of the mean over runs that the
        factor brings, with what runs of a level add: s^2 / S for S seeds on one draw. Zero for a
        single level, which tells nothing.
    """
    sizes = np.bincount(factor).astype(np.float64)
    shares = sizes / sizes.sum() * np.sqrt(len(sizes) / max(len(sizes) - 1, 1))
    deviations: Values = unit_means(values, factor) - values.mean(axis=0)
    deviations *= shares.reshape(-1, *[1] * (values.ndim - 1))
    return deviations


def mean_variances(values: Values, factors: Sequence[Units]) -> tuple[list[Values], Values]:
    """Variance of the mean over runs by factor, and what both hold and counts once.

    Analysis of variance of two crossed factors with random levels (Searle, Casella & McCulloch
    1992, Variance Components, section 4.4): MS of draws, of seeds and of the residual over the
    number of runs; the variance of the mean is the first two less the third. Exact for complete
    grids; where runs are missing the residual is that of least squares, the rest close.

    Args:
        values: num_runs x ...
        factors: One or two, see :func:`units_of`.

    Returns:
        One of the shape ``...`` a factor, and the residual's, zero for one factor or where there
        are too few runs to tell it.
    """
    found = [(unit_deviations(values, factor) ** 2).sum(axis=0) for factor in factors]
    num_runs = len(values)
    freedom = num_runs - sum(max(factor) for factor in factors) - 1
    if len(factors) < 2 or freedom < 1:
        return found, np.zeros(values.shape[1:])
    design = np.concatenate([np.eye(max(factor) + 1)[list(factor)] for factor in factors], axis=1)
    flat = values.reshape(num_runs, -1)
    residual = flat - design @ (np.linalg.pinv(design) @ flat)
    return found, (residual**2).sum(axis=0).reshape(values.shape[1:]) / freedom / num_runs
