"""Rankings of tokens by contribution, and their uncertainty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xlt.analysis.attributions.cell import CellAttributions
from xlt.analysis.uncertainty.resampling import item_weights, run_counts
from xlt.data.core.seeds import derive_seed

Values = NDArray[np.float64]
Ranks = NDArray[np.int64]
NUM_RESAMPLES = 1000
ENOUGH = 0.9
"""Minimal share of the top tokens that two draws of masks must have in common for a stable ranking:
one of ten may change."""
NUM_DRAWS = 200
"""Number of simulated draws of masks."""
MAX_DOUBLINGS = 8
"""Number of times that the number of masks is doubled to find a sufficient one."""


@dataclass(frozen=True)
class Ranking:
    """The tokens of a cell, ranked by mean contribution.

    Attributes:
        order: Numbers of the top tokens, highest mean first.
        means: Mean over runs and occurrences, num_tokens.
        low: 2.5 % quantile over resamples of runs and texts, num_tokens.
        high: 97.5 % quantile, num_tokens.
        run_tops: num_runs x 1 x top numbers of the top tokens of each run.
        resampled_tops: num_runs x NUM_RESAMPLES x top, the same on resampled texts.
        in_runs: Number of runs that have the token in their own top list, num_tokens.
    """

    order: Ranks
    means: Values
    low: Values
    high: Values
    run_tops: Ranks
    resampled_tops: Ranks
    in_runs: NDArray[np.int64]


def rank(cell: CellAttributions, sums: Values, top: int) -> Ranking:
    """Rank the tokens of a cell and bootstrap the ranking over texts and runs.

    Args:
        cell: Contributions of the cell.
        sums: ``cell.raw`` or ``cell.normalised``.
        top: Length of the list of top tokens.
    """
    per_run = cell.means(sums)
    top = min(top, per_run.shape[1])
    seed = derive_seed(0, "texts")
    weights = item_weights(cell.y_true, NUM_RESAMPLES, seed, cell.stories).astype(np.float64)
    occurrences = np.stack([of_run.T @ weights for of_run in cell.counts])
    with np.errstate(invalid="ignore", divide="ignore"):
        resampled = np.stack([of_run.T @ weights for of_run in sums]) / occurrences
    drawn = run_counts(cell.runs, NUM_RESAMPLES, np.random.default_rng(derive_seed(0, "runs")))
    spread = np.einsum("rts,rs->st", resampled, drawn / drawn.sum(axis=0))
    low, high = np.nanquantile(spread, [0.025, 0.975], axis=0)
    means = per_run.mean(axis=0)
    run_tops = _top(per_run, top)
    resampled_tops = _top(np.nan_to_num(resampled.transpose(0, 2, 1), nan=-np.inf), top)
    in_runs = np.zeros(len(means), dtype=np.int64)
    np.add.at(in_runs, run_tops.ravel(), 1)
    return Ranking(_top(means, top), means, low, high, run_tops[:, None], resampled_tops, in_runs)


def _top(values: Values, top: int) -> Ranks:
    """Positions of the highest values along the last axis, highest first."""
    order: Ranks = np.argsort(-values, axis=-1, kind="stable")[..., :top]
    return order


@dataclass(frozen=True)
class Stability:
    """Stability of a ranking against the random masks of the explanations.

    Attributes:
        kept: Share of the top tokens that two draws of masks have in common.
        enough: Smallest number of masks for which the share reaches :data:`ENOUGH`; None if more
            than ``2**MAX_DOUBLINGS`` times as many are needed.
    """

    kept: float
    enough: int | None


def mask_stability(cell: CellAttributions, top: int) -> Stability | None:
    """Estimate how many of the top tokens would stay with other masks.

    Means are simulated with the standard errors that come from LIME's masks. These errors fall with
    the square root of the number of masks.

    Args:
        cell: Contributions of a cell.
        top: Length of the list of top tokens.

    Returns:
        The stability; None for methods without masks.
    """
    num_samples = cell.settings.get("num_samples")
    if num_samples is None:
        return None
    means = cell.means(cell.raw).mean(axis=0)
    of_runs = cell.variances / cell.counts.sum(axis=1) ** 2
    errors = np.sqrt(of_runs.sum(axis=0)) / len(cell.runs)
    noise = np.random.default_rng(derive_seed(0, "masks")).standard_normal(
        (2, NUM_DRAWS, len(means))
    )
    top = min(top, len(means))

    def kept(factor: float) -> float:
        first, second = _top(means + noise * errors / np.sqrt(factor), top)
        shared = (first[:, :, None] == second[:, None, :]).sum(axis=(1, 2))
        return float(shared.mean() / top)

    factors = (2**doubling for doubling in range(MAX_DOUBLINGS + 1))
    enough = next((factor for factor in factors if kept(factor) >= ENOUGH), None)
    return Stability(kept(1), None if enough is None else num_samples * enough)
