"""Mean of a cell over languages: these languages, or languages like them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xlt.analysis.languages.gaps import Measured, measure_sum
from xlt.analysis.languages.scores import InLang, LangCell, LangScores, add_up
from xlt.analysis.uncertainty.intervals import CONFIDENCE, INTERVALS, Interval
from xlt.analysis.uncertainty.mean_variance import Components, components
from xlt.analysis.uncertainty.runs import Runs
from xlt.data.core.errors import InputError

MIN_SAMPLED = 3
"""Minimal number of languages of which an interval for other languages is computed. With two, the
95 % quantile of Student's t is 12.7."""


@dataclass(frozen=True)
class MeanOverLangs:
    """The mean of a cell over the test languages that it does not train on.

    Attributes:
        cell: The cell.
        langs: Languages of the mean.
        left_out: (language, reason) for other languages that it does not train on.
        mean: Mean over languages and runs; None without a language.
        std: Standard deviation over runs of the mean over languages (ddof=1); None for one run.
        fixed: 95 % interval for these languages, over runs and test rows; None: ``why``.
        sampled: 95 % interval for languages like these, over languages, runs and test rows; None:
            ``why``, or fewer than :data:`MIN_SAMPLED` languages.
        gap: Score in the source language minus the mean; None: not tested in it.
        why: Reason why an interval is unknown; else empty.
    """

    cell: LangCell
    langs: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    mean: float | None = None
    std: float | None = None
    fixed: Interval | None = None
    sampled: Interval | None = None
    gap: Measured | None = None
    why: str = ""


def find_means(scores: LangScores) -> list[MeanOverLangs]:
    """Compute the mean of each cell over the test languages that it does not train on."""
    return [_mean_over(cell, scores.method) for cell in scores.cells]


def list_new_langs(cell: LangCell) -> dict[str, InLang]:
    """List the test languages that a cell does not train on, with its scores."""
    return {lang: own for lang, own in cell.by_lang.items() if lang not in cell.trained_langs}


def _mean_over(cell: LangCell, method: str) -> MeanOverLangs:
    new = list_new_langs(cell)
    scored = {lang: own for lang, own in new.items() if own.cell.mean is not None}
    left_out = tuple(
        (lang, describe_absence(own)) for lang, own in new.items() if lang not in scored
    )
    if not scored:
        why = "it trains on all of its test languages" if not new else "no language has a score"
        return MeanOverLangs(cell, (), left_out, why=why)
    terms = [(1 / len(scored), own) for own in scored.values()]
    gap = None
    if cell.in_source:
        gap = measure_sum([*cell.in_source, *((-share, own) for share, own in terms)], method)
    mean = float(np.mean([own.cell.mean for own in scored.values()]))
    try:
        runs, fixed, sampled = measure_mean(list(scored.values()), method)
    except InputError as error:
        return MeanOverLangs(cell, tuple(scored), left_out, mean, gap=gap, why=str(error))
    std = float(runs.values.std(ddof=1)) if len(runs.values) > 1 else None
    return MeanOverLangs(cell, tuple(scored), left_out, mean, std, fixed, sampled, gap)


def measure_mean(langs: Sequence[InLang], method: str) -> tuple[Runs, Interval, Interval | None]:
    """Measure the mean of the same trials over languages.

    Args:
        langs: Scores in each language.
        method: Method of the interval for these languages.

    Returns:
        The mean over languages run by run, and its intervals for these languages and for languages
        like these; see :class:`MeanOverLangs`.

    Raises:
        InputError: See :func:`add_up`.
    """
    runs = add_up([(1 / len(langs), own) for own in langs])
    ends = INTERVALS[method]([runs])
    fixed = Interval(max(ends.low, 0.0), min(ends.high, 1.0))
    if len(langs) < MIN_SAMPLED:
        return runs, fixed, None
    half = _sampled_components(runs, langs).half_width((1 + CONFIDENCE) / 2)
    # Other languages cannot be better known than these, whatever the estimates say.
    half, middle = max(half, (ends.high - ends.low) / 2), float(runs.values.mean())
    return runs, fixed, Interval(max(middle - half, 0.0), min(middle + half, 1.0))


def describe_absence(own: InLang) -> str:
    """Reason why a cell has no score in a language."""
    return "; ".join(own.cell.problems) or own.cell.note or own.cell.state


def _sampled_components(runs: Runs, langs: Sequence[InLang]) -> Components:
    """Estimate the variance of a mean over languages that are a sample of all languages.

    Languages, runs and test rows are crossed random factors (Searle, Casella & McCulloch 1992,
    Variance Components, section 4.4): the variance from languages is s^2 / L of the L means, that
    from runs that of the mean over languages; the interaction of both is contained in each and is
    counted once. Rows belong to languages, so s^2 / L contains their variance, except for the
    part that rows of a story have in common in all languages, which is added.

    Args:
        runs: Mean over the languages, run by run.
        langs: Scores in each of the languages.

    Returns:
        Components in which languages are the units and runs the seeds.
    """
    num_langs = len(langs)
    values = np.stack([own.metric_runs.by_row(own.usable).values for own in langs])
    means = values.mean(axis=1)
    rest = values - means[:, None] - values.mean(axis=0) + values.mean()
    freedom = (num_langs - 1) * max(values.shape[1] - 1, 1)
    fixed = components([runs])
    of_runs = fixed.unit + fixed.both + fixed.seed
    rows = float((runs.influence.mean(axis=0) ** 2).sum())
    each = sum(float((add_up([(1.0, own)]).influence.mean(axis=0) ** 2).sum()) for own in langs)
    within = (each - num_langs * rows) / (num_langs * (num_langs - 1))
    return Components(
        unit=float(means.var(ddof=1)) / num_langs,
        item=max(rows - within, 0.0),
        both=0.0,
        unit_freedom=num_langs - 1.0,
        item_freedom=fixed.item_freedom,
        num_units=num_langs,
        num_items=fixed.num_items,
        seed=max(of_runs - float((rest**2).sum()) / freedom / values.size, 0.0),
        seed_freedom=min([fixed.unit_freedom, *([fixed.seed_freedom] if fixed.seed else [])]),
    )
