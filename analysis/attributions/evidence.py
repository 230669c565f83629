"""Rankings of tokens: how sure they are, and how much two of them have in common."""

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
"""p of rank-biased overlap: the first ten ranks have 86 % of the weight (Webber et al. 2010,
equation 21)."""
NUM_RESAMPLES = 1000
ENOUGH = 0.9
"""Share of the first tokens that other masks must leave in place for a ranking to be called
stable: one of ten may change."""
LEAST_SHARED = 0.3
"""RBO of two runs of one pattern, three of ten at like ranks, below which there is no evidence that
patterns could change: whatever differs as much as chance does "hardly changes"."""
NUM_DRAWS = 200
MAX_DOUBLINGS = 8


def rank_biased_overlap(first: Ranks, second: Ranks, persistence: float = PERSISTENCE) -> Values:
    """Overlap of top lists, the first ranks counting most; extrapolated.

    RBO_EXT of Webber, Moffat & Zobel 2010 (ACM Transactions on Information Systems 28:20,
    equation 32) for lists of the same length: 1 for equal lists, 0 for disjoint ones.

    Args:
        first: num_lists x k different items.
        second: As many.
        persistence: p in (0, 1).

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
    """The tokens of a cell by mean contribution.

    Attributes:
        order: top numbers of tokens, the highest mean first.
        means: num_tokens, over runs and occurrences.
        low: num_tokens, 2.5 % of the resamples of runs and texts.
        high: num_tokens, 97.5 %.
        run_tops: num_runs x NUM_RESAMPLES x top, each run's own order on resampled texts.
        in_runs: num_tokens, runs in whose own top a token is.
    """

    order: Ranks
    means: Values
    low: Values
    high: Values
    run_tops: Ranks
    in_runs: NDArray[np.int64]


def rank(cell: CellAttributions, sums: Values, top: int) -> Ranking:
    """Rank tokens, and draw texts and runs anew.

    Args:
        cell: Whose ``counts`` and classes.
        sums: Its ``raw`` or ``normalised``.
        top: Tokens that count as first; fewer where there are fewer.
    """
    per_run = cell.means(sums)
    top = min(top, per_run.shape[1])
    weights = item_weights(cell.y_true, NUM_RESAMPLES, derive_seed(0, "texts")).astype(np.float64)
    occurrences = cell.counts.T @ weights
    with np.errstate(invalid="ignore", divide="ignore"):
        resampled = np.stack([one.T @ weights for one in sums]) / occurrences
    drawn = run_counts(cell.runs, NUM_RESAMPLES, np.random.default_rng(derive_seed(0, "runs")))
    spread = np.einsum("rts,rs->st", resampled, drawn / drawn.sum(axis=0))
    low, high = np.nanquantile(spread, [0.025, 0.975], axis=0)
    means = per_run.mean(axis=0)
    run_tops = _top(np.nan_to_num(resampled.transpose(0, 2, 1), nan=-np.inf), top)
    own = np.zeros(len(means), dtype=np.int64)
    np.add.at(own, _top(per_run, top).ravel(), 1)
    return Ranking(_top(means, top), means, low, high, run_tops, own)


def _top(values: Values, top: int) -> Ranks:
    """Numbers of the highest values along the last axis, the highest first."""
    order: Ranks = np.argsort(-values, axis=-1, kind="stable")[..., :top]
    return order


@dataclass(frozen=True)
class Overlap:
    """Two patterns of a base model, compared by their first tokens.

    Attributes:
        first: Pattern.
        second: Pattern.
        rbo: Rank-biased overlap of the means over runs.
        jaccard: Of the same.
        between_runs: Mean RBO of two runs of one pattern; nan with one run.
        between_patterns: Mean RBO of a run of one and a run of the other.
        excess: ``between_runs - between_patterns``, and its 95 % interval over texts.
        verdict: In words.
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
    """How much the evidence differs between two patterns, by the measure of two runs of one.

    Two runs of one pattern differ by chance alone. If runs of two patterns differ no more, the
    rows that the patterns differ by changed nothing that these runs could show.

    Args:
        first: A cell.
        second: A cell of the same base model.
        ranked: Their rankings, of the same ``top``.
    """
    names = {token: number for number, token in enumerate(first.tokens)}
    for token in second.tokens:
        names.setdefault(token, len(names))
    number = [np.array([names[token] for token in cell.tokens]) for cell in (first, second)]
    tops = [n[made.run_tops] for n, made in zip(number, ranked, strict=True)]
    orders = [n[made.order][None] for n, made in zip(number, ranked, strict=True)]
    depth = min(order.shape[1] for order in orders)
    one, other = (order[:, :depth] for order in orders)
    tops = [lists[..., :depth] for lists in tops]
    within = [rank_biased_overlap(a, b) for t in tops for a, b in combinations(t, 2)]
    across = [rank_biased_overlap(a, b) for a, b in product(*tops)]
    between_patterns = np.mean(across, axis=0)
    if within:
        between_runs = np.mean(within, axis=0)
        excess = between_runs - between_patterns
        low, high = np.quantile(excess, [0.025, 0.975])
        told = float(between_runs.mean()), (float(excess.mean()), float(low), float(high))
        if low > 0:
            verdict = "changed: patterns differ more than runs do"
        elif told[0] < LEAST_SHARED:
            verdict = "not settled: runs of one pattern share too little to tell patterns apart"
        elif told[1][0] > 0.1:
            verdict = "not settled: patterns differ more than runs do, but texts could explain it"
        else:
            verdict = "hardly changed: patterns differ no more than runs do"
    else:
        told = float("nan"), (float("nan"),) * 3
        verdict = "not settled: one run cannot tell patterns from chance"
    return Overlap(
        first.pattern,
        second.pattern,
        float(rank_biased_overlap(one, other)[0]),
        float(jaccard(one, other)[0]),
        told[0],
        float(between_patterns.mean()),
        told[1],
        verdict,
    )


@dataclass(frozen=True)
class Stability:
    """Whether enough masks were drawn for a ranking.

    Attributes:
        kept: Share of the first tokens that two draws of masks have in common.
        enough: Smallest number of samples, of those tried, at which it is :data:`ENOUGH`; None:
            more than were tried.
    """

    kept: float
    enough: int | None


def mask_stability(cell: CellAttributions, top: int) -> Stability | None:
    """How many of the first tokens other masks would leave; None for methods without masks.

    Means are drawn anew with the standard errors that LIME's masks give them, which fall with the
    square root of the number of samples.

    Args:
        cell: With ``variances``.
        top: Tokens that count as first.
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
        one, other = _top(means + noise * errors / np.sqrt(factor), top)
        shared = (one[:, :, None] == other[:, None, :]).sum(axis=(1, 2))
        return float(shared.mean() / top)

    factors = (2**doubling for doubling in range(MAX_DOUBLINGS + 1))
    first = next((factor for factor in factors if kept(factor) >= ENOUGH), None)
    return Stability(kept(1), None if first is None else num_samples * first)
