"""Independent units among the runs of a cell: seeds, draws of training rows, or both.

3 draws x 3 seeds are 9 runs, but not 9 independent ones: runs on one draw share training rows, and
runs with one seed share the initial head and the order of rows. So draws and seeds are crossed
factors. A nested model would assume that the effect of a seed averages out over draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from xlt.analysis.trials.trial_names import Run
from xlt.trainables.metrics.arrays import Values

Units = tuple[int, ...]
"""Number of the unit of each run, num_runs."""


def units_of(runs: Sequence[Run]) -> tuple[Units, ...]:
    """Random factors of the runs: draws and seeds, or one of them.

    With one draw, the factor is the seed. With several draws, it is the draw, and also the seed if
    seeds repeat on different draws; otherwise the effect of seeds is a part of that of draws.

    Args:
        runs: num_runs pairs of draw and seed.

    Returns:
        One or two factors; draws come first.
    """
    return _units_of(tuple(runs))


@lru_cache(maxsize=1024)  # every contrast of a cell needs it
def _units_of(runs: tuple[Run, ...]) -> tuple[Units, ...]:
    draws, seeds = (list(dict.fromkeys(column)) for column in zip(*runs, strict=True))
    by_draw = tuple(draws.index(draw_index) for draw_index, _ in runs)
    by_seed = tuple(seeds.index(seed) for _, seed in runs)
    if len(draws) == 1:
        return (by_seed,)
    return (by_draw, by_seed) if 1 < len(seeds) < len(runs) else (by_draw,)


def has_several_draws(runs: Sequence[Run]) -> bool:
    """Whether the runs are on several draws of training rows."""
    return len({draw_index for draw_index, _ in runs}) > 1


def num_units(runs: Sequence[Run]) -> int:
    """Number of levels of the factor with the fewest; the sample size of a test over runs."""
    return min(len(set(factor)) for factor in units_of(runs))


def unit_means(values: Values, factor: Units) -> Values:
    """Mean over the runs of each level of a factor: num_runs x ... -> num_levels x ..."""
    if factor == tuple(range(len(values))):
        return values  # the usual case: each run is a level
    shares = (np.arange(max(factor) + 1)[:, None] == factor).astype(np.float64)
    shares /= shares.sum(axis=1, keepdims=True)
    means: Values = np.tensordot(shares, values, axes=1)
    return means


def unit_deviations(values: Values, factor: Units) -> Values:
    """Scaled deviations of the levels of a factor from the mean over runs.

    The sum of their squares estimates the variance of the mean over runs that comes from the
    factor, together with the variance of runs within levels: s^2 / S for S seeds on one draw.

    Args:
        values: num_runs x ... values.
        factor: Unit of each run, num_runs.

    Returns:
        num_levels x ... deviations; zero for a single level.
    """
    sizes = np.bincount(factor).astype(np.float64)
    shares = sizes / sizes.sum() * np.sqrt(len(sizes) / max(len(sizes) - 1, 1))
    deviations: Values = unit_means(values, factor) - values.mean(axis=0)
    deviations *= shares.reshape(-1, *[1] * (values.ndim - 1))
    return deviations


def mean_variances(values: Values, factors: Sequence[Units]) -> tuple[list[Values], Values]:
    """Variance of the mean over runs by factor, and the residual part that all of them contain.

    Analysis of variance of two crossed random factors (Searle, Casella & McCulloch 1992, Variance
    Components, section 4.4): the mean squares of draws, of seeds and of the residual, each divided
    by the number of runs. The variance of the mean is the sum of the first two minus the third.
    This is exact for complete grids. With missing runs, the residual is that of least squares, and
    the parts of the factors are approximate.

    Args:
        values: num_runs x ... values.
        factors: One or two factors, see :func:`units_of`.

    Returns:
        An array of shape ``...`` for each factor, and one for the residual, which is zero for one
        factor or for too few runs.
    """
    by_factor = [(unit_deviations(values, factor) ** 2).sum(axis=0) for factor in factors]
    num_runs = len(values)
    freedom = num_runs - sum(max(factor) for factor in factors) - 1
    if len(factors) < 2 or freedom < 1:
        return by_factor, np.zeros(values.shape[1:])
    design = np.concatenate([np.eye(max(factor) + 1)[list(factor)] for factor in factors], axis=1)
    flat = values.reshape(num_runs, -1)
    residual = flat - design @ (np.linalg.pinv(design) @ flat)
    return by_factor, (residual**2).sum(axis=0).reshape(values.shape[1:]) / freedom / num_runs
