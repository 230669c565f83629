"""Rankings of tokens by contribution: their uncertainty and their overlap."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

from xlt.analysis.attributions.collect import CellAttributions
from xlt.analysis.uncertainty.resampling import item_weights, run_counts
from xlt.data.core.seeds import derive_seed

Values = NDArray[np.float64]
Ranks = NDArray[np.int64]
PERSISTENCE = 0.9
"""Parameter p of rank-biased overlap. The first ten ranks then have 86 % of the weight (Webber et
al. 2010, equation 21)."""
NUM_RESAMPLES = 1000
ENOUGH = 0.9
"""Minimal share of the top tokens that two draws of masks must have in common for a stable ranking:
one of ten may change."""
LEAST_SHARED = 0.3
"""Minimal RBO of two runs of one pattern for a verdict, about three of ten tokens at similar ranks.
If runs differ this much by chance, a difference between patterns cannot be seen."""
NUM_DRAWS = 200
"""Number of simulated draws of masks."""
MAX_DOUBLINGS = 8
"""Number of times that the number of masks is doubled to find a sufficient one."""


def rank_biased_overlap(first: Ranks, second: Ranks, persistence: float = PERSISTENCE) -> Values:
    """Rank-biased overlap of pairs of top lists, in which the first ranks have the most weight.

    RBO_EXT (extrapolated) of Webber, Moffat & Zobel 2010 (ACM Transactions on Information Systems
    28:20, equation 32) for lists of the same length.

    Args:
        first: num_lists x k items; the items of a list are different.
        second: num_lists x k items.
        persistence: Parameter p in (0, 1).

    Returns:
        num_lists.
    """
    depth = first.shape[1]
    same = first[:, :, None] == second[:, None, :]
    overlap = np.stack([same[:, :d, :d].sum(axis=(1, 2)) for d in range(1, depth + 1)], axis=1)
    depths = np.arange(1, depth + 1)
    agreement = overlap / depths
    weighted = (agreement * persistence**depths).sum(axis=1)
    result: Values = agreement[:, -1] * persistence**depth + weighted * (
        (1 - persistence) / persistence
    )
    return result


def jaccard(first: Ranks, second: Ranks) -> Values:
    """Items in both lists as a share of those in either; arguments as above."""
    both = (first[:, :, None] == second[:, None, :]).sum(axis=(1, 2))
    result: Values = both / (2 * first.shape[1] - both)
    return result


@dataclass(frozen=True)
class Ranking:
    """The tokens of a cell, ranked by mean contribution.

    Attributes:
        order: Numbers of the top tokens, highest mean first.
        means: Mean over runs and occurrences, num_tokens.
        low: 2.5 % quantile over resamples of runs and texts, num_tokens.
        high: 97.5 % quantile, num_tokens.
        run_tops: num_runs x NUM_RESAMPLES x top numbers of the top tokens of each run on resampled
            texts.
        in_runs: Number of runs that have the token in their own top list, num_tokens.
    """

    order: Ranks
    means: Values
    low: Values
    high: Values
    run_tops: Ranks
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
    weights = item_weights(cell.y_true, NUM_RESAMPLES, derive_seed(0, "texts")).astype(np.float64)
    occurrences = cell.counts.T @ weights
    with np.errstate(invalid="ignore", divide="ignore"):
        resampled = np.stack([of_run.T @ weights for of_run in sums]) / occurrences
    drawn = run_counts(cell.runs, NUM_RESAMPLES, np.random.default_rng(derive_seed(0, "runs")))
    spread = np.einsum("rts,rs->st", resampled, drawn / drawn.sum(axis=0))
    low, high = np.nanquantile(spread, [0.025, 0.975], axis=0)
    means = per_run.mean(axis=0)
    run_tops = _top(np.nan_to_num(resampled.transpose(0, 2, 1), nan=-np.inf), top)
    in_runs = np.zeros(len(means), dtype=np.int64)
    np.add.at(in_runs, _top(per_run, top).ravel(), 1)
    return Ranking(_top(means, top), means, low, high, run_tops, in_runs)


def _top(values: Values, top: int) -> Ranks:
    """Positions of the highest values along the last axis, highest first."""
    order: Ranks = np.argsort(-values, axis=-1, kind="stable")[..., :top]
    return order


@dataclass(frozen=True)
class Overlap:
    """Overlap of the top tokens of two patterns of a base model.

    Attributes:
        first: First pattern.
        second: Second pattern.
        rbo: Rank-biased overlap of the rankings by mean over runs.
        jaccard: Jaccard index of the same top lists.
        between_runs: Mean RBO of two runs of one pattern; nan with one run.
        between_patterns: Mean RBO of a run of the first and a run of the second pattern.
        excess: ``between_runs - between_patterns`` with the ends of its 95 % interval over texts.
        verdict: Conclusion as a phrase.
    """

    first: str
    second: str
    rbo: float
    jaccard: float
    between_runs: float
    between_patterns: float
    excess: tuple[float, float, float]
    verdict: str


def compare_rankings(
    first: CellAttributions, second: CellAttributions, ranked: tuple[Ranking, Ranking]
) -> Overlap:
    """Compare the top tokens of two patterns with the variation between runs of one pattern.

    Two runs of one pattern differ only by chance. If runs of two patterns do not differ more, these
    runs show no effect of the additional training rows.

    Args:
        first: First cell.
        second: Second cell, of the same base model.
        ranked: Rankings of both cells with the same ``top``.
    """
    names = {token: number for number, token in enumerate(first.tokens)}
    for token in second.tokens:
        names.setdefault(token, len(names))
    numbers = [np.array([names[token] for token in cell.tokens]) for cell in (first, second)]
    tops = [n[ranking.run_tops] for n, ranking in zip(numbers, ranked, strict=True)]
    orders = [n[ranking.order][None] for n, ranking in zip(numbers, ranked, strict=True)]
    depth = min(order.shape[1] for order in orders)
    top_first, top_second = (order[:, :depth] for order in orders)
    tops = [lists[..., :depth] for lists in tops]
    within = [rank_biased_overlap(a, b) for t in tops for a, b in combinations(t, 2)]
    across = [rank_biased_overlap(a, b) for a, b in product(*tops)]
    between_patterns = np.mean(across, axis=0)
    between_runs, excess = float("nan"), (float("nan"),) * 3
    if within:
        by_resample = np.mean(within, axis=0) - between_patterns
        low, high = np.quantile(by_resample, [0.025, 0.975])
        between_runs = float(np.mean(within, axis=0).mean())
        excess = float(by_resample.mean()), float(low), float(high)
        if low > 0:
            verdict = "changed: patterns differ more than runs do"
        elif between_runs < LEAST_SHARED:
            verdict = "not settled: runs of one pattern differ too much to compare patterns"
        elif excess[0] > 0.1:
            verdict = "not settled: patterns differ more than runs do, but texts could explain it"
        else:
            verdict = "hardly changed: patterns differ no more than runs do"
    else:
        verdict = "not settled: one run does not show how much runs differ by chance"
    return Overlap(
        first.pattern,
        second.pattern,
        float(rank_biased_overlap(top_first, top_second)[0]),
        float(jaccard(top_first, top_second)[0]),
        between_runs,
        float(between_patterns.mean()),
        excess,
        verdict,
    )


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
    errors = np.sqrt(cell.variances.sum(axis=0)) / (len(cell.runs) * cell.counts.sum(axis=0))
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
