"""Ranks of base models over languages: Friedman's test and Nemenyi's critical difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xlt.analysis.languages.means import describe_absence, list_new_langs
from xlt.analysis.languages.scores import LangCell, LangScores
from xlt.trainables.metrics.arrays import Values

LEVEL = 0.05
MIN_MODELS = 3
"""Minimal number of base models of Friedman's test."""


@dataclass(frozen=True)
class Ranking:
    """Base models ranked over the languages that a pattern trains on no row of.

    Attributes:
        pattern: Name of the pattern.
        models: Base models with a score in each of ``langs``, best mean rank first.
        langs: Languages of the ranks.
        mean_ranks: Mean rank of each model; rank 1 is the highest score of a language, and equal
            scores share the mean of their ranks.
        p_value: p of Friedman's test; None with fewer than :data:`MIN_MODELS` models.
        critical: Difference of mean ranks from which two models differ; None likewise.
        groups: Positions of the models that cannot be distinguished, in the largest groups.
        left_out: (base model or language, reason).
    """

    pattern: str
    models: tuple[str, ...]
    langs: tuple[str, ...]
    mean_ranks: tuple[float, ...]
    p_value: float | None
    critical: float | None
    groups: tuple[tuple[int, ...], ...]
    left_out: tuple[tuple[str, str], ...]


def find_rankings(scores: LangScores) -> list[Ranking]:
    """Rank the base models of every pattern that several have, over two languages or more."""
    patterns: dict[str, list[LangCell]] = {}
    for cell in scores.cells:
        patterns.setdefault(cell.key.pattern, []).append(cell)
    rankings = [rank_models(name, cells) for name, cells in patterns.items() if len(cells) > 1]
    return [own for own in rankings if own.models or own.left_out]


def rank_models(pattern: str, cells: Sequence[LangCell]) -> Ranking:
    """Rank the cells of a pattern by their scores in each language.

    Base models without a score in any of the languages are left out, then languages in which
    another base model has none.

    Args:
        pattern: Name of the pattern.
        cells: One cell of each base model.
    """
    left_out: list[tuple[str, str]] = []
    trained = frozenset[str]().union(*(cell.trained_langs for cell in cells))
    scored: list[LangCell] = []
    for cell in cells:
        new = {lang: own for lang, own in list_new_langs(cell).items() if lang not in trained}
        if any(own.cell.mean is not None for own in new.values()):
            scored.append(cell)
        else:
            whys = {describe_absence(own): None for own in new.values()}
            why = ", ".join(whys) or "tested in no language that the pattern does not train on"
            left_out.append((cell.key.base_model, why))
    langs = dict.fromkeys(lang for cell in scored for lang in cell.by_lang if lang not in trained)
    for lang in list(langs):
        without = [
            f"{cell.key.base_model} has no score: "
            + (describe_absence(cell.by_lang[lang]) if lang in cell.by_lang else "not tested in it")
            for cell in scored
            if lang not in cell.by_lang or cell.by_lang[lang].cell.mean is None
        ]
        if without:
            del langs[lang]
            left_out.append((lang, ", ".join(without)))
    if len(scored) < 2 or len(langs) < 2:
        return Ranking(pattern, (), (), (), None, None, (), tuple(left_out))
    means = np.array([[cell.by_lang[lang].cell.mean for lang in langs] for cell in scored], float)
    ranks = mean_ranks(means)
    order = np.argsort(ranks, kind="stable")
    p_value = critical = None
    if len(scored) >= MIN_MODELS:
        p_value, critical = friedman_p(means), critical_difference(len(scored), len(langs))
    sorted_ranks = tuple(float(rank) for rank in ranks[order])
    return Ranking(
        pattern,
        tuple(scored[place].key.base_model for place in order),
        tuple(langs),
        sorted_ranks,
        p_value,
        critical,
        group_ranks(sorted_ranks, critical) if critical else (),
        tuple(left_out),
    )


def mean_ranks(means: Values) -> Values:
    """Mean rank of each model over languages: num_models x num_langs scores -> num_models."""
    from scipy import stats

    ranks: Values = stats.rankdata(-means, axis=0).mean(axis=1)
    return ranks


def friedman_p(means: Values) -> float:
    """Probability p of Friedman's test of equal models, from num_models x num_langs scores.

    Friedman 1937 (Journal of the American Statistical Association 32:675), with the correction for
    ties of scipy. Equal scores of all models in all languages give 1.
    """
    from scipy import stats

    if (means == means[0]).all():
        return 1.0
    return float(stats.friedmanchisquare(*means).pvalue)


def critical_difference(num_models: int, num_langs: int, level: float = LEVEL) -> float:
    """Difference of two mean ranks that Nemenyi's test calls different.

    q sqrt(k (k + 1) / (6 N)) for k models and N languages, with q the quantile of the studentized
    range divided by sqrt(2) (Demšar 2006, Journal of Machine Learning Research 7:1, section 3.2.2).
    """
    from scipy import stats

    quantile = float(stats.studentized_range.ppf(1 - level, num_models, np.inf)) / math.sqrt(2)
    return quantile * math.sqrt(num_models * (num_models + 1) / (6 * num_langs))


def group_ranks(ranks: Sequence[float], critical: float) -> tuple[tuple[int, ...], ...]:
    """Find the largest groups of models whose mean ranks differ by less than ``critical``.

    Args:
        ranks: Mean ranks in ascending order.
        critical: See :func:`critical_difference`.

    Returns:
        Positions of each group; each model is in at least one, alone if it differs from all others.
    """
    groups: list[tuple[int, ...]] = []
    for start, rank in enumerate(ranks):
        group = tuple(n for n in range(start, len(ranks)) if ranks[n] - rank < critical)
        if not groups or group[-1] > groups[-1][-1]:
            groups.append(group)
    return tuple(groups)
