"""Overlaps of the top tokens of two patterns, compared with those of two runs of one pattern."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from xlt.analysis.attributions.cell import CellAttributions
from xlt.analysis.attributions.evidence import Ranking, Ranks, Values
from xlt.analysis.uncertainty.intervals import CONFIDENCE
from xlt.analysis.uncertainty.trial_units import Units, units_of

PERSISTENCE = 0.9
"""Parameter p of rank-biased overlap. The first ten ranks then have 86 % of the weight (Webber et
al. 2010, equation 21)."""
MARGIN = 0.1
"""Excess of RBO below which two patterns hardly differ: about that of replacing one of the first
tokens (docs/explanations.md)."""
LEAST_SHARED = 0.3
"""Minimal RBO of two runs of one pattern for a verdict, about three of ten tokens at similar ranks.
If runs differ this much by chance, a difference between patterns cannot be seen."""


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
class Overlap:
    """Overlap of the top tokens of two patterns of a base model.

    Attributes:
        first: First pattern.
        second: Second pattern.
        rbo: Rank-biased overlap of the rankings by mean over runs.
        jaccard: Jaccard index of the same top lists.
        between_runs: Mean RBO of two runs of one pattern; nan with one run of each.
        between_patterns: Mean RBO of a run of the first and a run of the second pattern.
        excess: ``between_runs - between_patterns`` with the ends of its 95 % interval over runs and
            texts; nan if a pattern has a single seed or draw.
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

    Two runs of one pattern differ only by chance. So patterns changed if the interval of the excess
    is above 0, and they hardly changed if it is below :data:`MARGIN` (an equivalence test:
    Schuirmann 1987, Journal of Pharmacokinetics and Biopharmaceutics 15:657). An excess whose
    interval includes 0 alone shows nothing.

    The variance of the excess from texts is that of the bootstrap, and the variance from runs that
    of the jackknife over seeds or draws of each pattern (Arvesen 1969, Annals of Mathematical
    Statistics 40:2076); as in :meth:`Components.half_width`, each has its own quantile.

    Args:
        first: First cell.
        second: Second cell, of the same base model.
        ranked: Rankings of both cells with the same ``top``.
    """
    cells = (first, second)
    names = {token: number for number, token in enumerate(first.tokens)}
    for token in second.tokens:
        names.setdefault(token, len(names))
    numbers = [np.array([names[token] for token in cell.tokens]) for cell in cells]
    depth = min(len(ranking.order) for ranking in ranked)

    def named(lists: Iterable[Ranks]) -> list[Ranks]:
        return [n[ranks][..., :depth] for n, ranks in zip(numbers, lists, strict=True)]

    top_first, top_second = named(ranking.order[None] for ranking in ranked)
    tops = named(ranking.run_tops for ranking in ranked)
    between_runs, between_patterns = (float(value[0]) for value in _agreement(tops))
    units = [units_of(cell.runs)[0] for cell in cells]
    if min(map(max, units)) == 0:
        excess = (float("nan"),) * 3
        verdict = "not settled: one seed of a pattern does not show how seeds differ by chance"
    else:
        resampled = np.subtract(*_agreement(named(r.resampled_tops for r in ranked)))
        half = _half_width(tops, units, float(resampled.std()))
        middle = between_runs - between_patterns
        excess = middle, middle - half, middle + half
        verdict = _judge(between_runs, *excess[1:])
    return Overlap(
        first.pattern,
        second.pattern,
        float(rank_biased_overlap(top_first, top_second)[0]),
        float(jaccard(top_first, top_second)[0]),
        between_runs,
        between_patterns,
        excess,
        verdict,
    )


def _agreement(tops: Sequence[Ranks]) -> tuple[Values, Values]:
    """Mean RBO of two runs of one pattern, and of runs of two patterns.

    Args:
        tops: num_runs x num_samples x depth numbers of tokens, for each of two patterns.

    Returns:
        num_samples each; the first is nan if no pattern has two runs.
    """
    within = [rank_biased_overlap(a, b) for runs in tops for a, b in combinations(runs, 2)]
    across = [rank_biased_overlap(a, b) for a, b in product(*tops)]
    nothing = np.full(tops[0].shape[1], np.nan)
    return np.mean(within or [nothing], axis=0), np.mean(across, axis=0)


def _half_width(tops: Sequence[Ranks], units: Sequence[Units], text_std: float) -> float:
    """Half-width of the 95 % interval of the excess over runs and texts.

    Args:
        tops: Top tokens of the runs of each pattern, see :func:`_agreement`.
        units: Seed or draw of each run, for each pattern; two or more of each.
        text_std: Standard deviation of the excess over resampled texts.
    """
    from scipy import special

    probability, from_runs, freedom = (1 + CONFIDENCE) / 2, 0.0, 0
    for pattern, of_runs in enumerate(units):
        num_units = max(of_runs) + 1
        left = []
        for unit in range(num_units):
            kept = list(tops)
            kept[pattern] = tops[pattern][np.array(of_runs) != unit]
            left.append(np.subtract(*_agreement(kept))[0])
        from_runs += (num_units - 1) * float(np.var(left))
        freedom += num_units - 1
    of_texts = special.ndtri(probability) * text_std
    return float(np.hypot(of_texts, special.stdtrit(freedom, probability) * np.sqrt(from_runs)))


def _judge(between_runs: float, low: float, high: float) -> str:
    """Verdict from the interval of the excess."""
    if between_runs < LEAST_SHARED and low <= 0:
        return "not settled: runs of one pattern differ too much to compare patterns"
    if high < MARGIN:
        return f"hardly changed: the excess is below {MARGIN:g}"
    if low > 0:
        return "changed: patterns differ more than runs do"
    return f"not settled: the excess may be 0, or {MARGIN:g} and more"
