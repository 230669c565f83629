"""Tables over languages: means with two kinds of intervals, and ranks of base models."""

from __future__ import annotations

from string import ascii_lowercase

from xlt.analysis.languages.means import MIN_SAMPLED, find_means
from xlt.analysis.languages.ranks import LEVEL, MIN_MODELS, Ranking, find_rankings
from xlt.analysis.languages.records import (
    describe_scores,
    format_difference,
    group_reasons,
    make_record,
    record_difference,
)
from xlt.analysis.languages.scores import LangScores
from xlt.analysis.tables.cells import format_interval, format_mean
from xlt.analysis.tables.table import Table
from xlt.analysis.uncertainty.intervals import FEW_UNITS, Interval, interval_ends
from xlt.analysis.uncertainty.welch import p_text
from xlt.data.core.text import first_line


def make_mean_table(scores: LangScores) -> Table:
    """Make the table of the means over languages."""
    lines, records, notes = [], [], []
    means = find_means(scores)
    whys = [(own.cell.key.path, own.why) for own in means]
    for own in means:
        notes += [(f"{own.cell.key.path} in {lang}", why) for lang, why in own.left_out]
        if own.mean is not None:
            lines.append((
                *map(first_line, own.cell.key), str(len(own.langs)), format_mean(own.mean, own.std),
                _interval(own.fixed), _interval(own.sampled), format_difference(own.gap),
            ))  # fmt: skip
        (low, high), (sampled_low, sampled_high) = map(interval_ends, (own.fixed, own.sampled))
        absent = [f"{lang}: {why}" for lang, why in own.left_out]
        records.append(make_record(
            "mean", scores, **own.cell.key._asdict(), source_lang=own.cell.source or None,
            num_langs=len(own.langs), mean=own.mean, std=own.std, low=low, high=high,
            sampled_low=sampled_low, sampled_high=sampled_high, **record_difference(own.gap),
            note="; ".join(filter(None, (own.why, *absent))),
        ))  # fmt: skip
    few = any(MIN_SAMPLED <= len(own.langs) < FEW_UNITS for own in means)
    return Table(
        name=f"{scores.metric}-languages",
        caption=(
            *describe_scores(scores),
            "Mean over the test languages of which a cell has no training rows: mean (std over runs"
            " of this mean).",
            "These languages: 95 % interval over runs and test rows, for exactly these languages.",
            "Languages like these: 95 % interval over languages, runs and test rows, for other "
            "languages, if these are a random sample of them; mostly they are not, so take it as "
            f"the least that other languages vary{_describe_few(few)}. Below {MIN_SAMPLED} "
            "languages there is none.",
            "Source minus mean: with its 95 % interval for these languages.",
        ),
        heading=(
            "base model", "pattern", "languages", "mean", "these languages", "languages like these",
            "source minus mean",
        ),
        lines=tuple(lines),
        footnotes=(
            *group_reasons("Left out of the mean:", notes),
            *group_reasons("No mean or interval of", whys),
        ),
        records=tuple(records),
    )  # fmt: skip


def _describe_few(few: bool) -> str:
    return f"; with fewer than {FEW_UNITS} languages their variance is poorly known" * few


def _interval(interval: Interval | None) -> str:
    return format_interval(interval.low, interval.high) if interval else "-"


def make_rank_table(scores: LangScores) -> Table | None:
    """Make the table of ranks; None if no pattern has several base models."""
    rankings = find_rankings(scores)
    if not rankings:
        return None
    lines, records = [], []
    for ranking in rankings:
        letters = _letters(ranking)
        p_value = "-" if ranking.p_value is None else p_text(ranking.p_value)
        critical = "-" if ranking.critical is None else f"{ranking.critical:.2f}"
        for model, rank, groups in zip(ranking.models, ranking.mean_ranks, letters, strict=True):
            lines.append((
                first_line(ranking.pattern), first_line(model), f"{rank:.2f}", groups or "-",
                str(len(ranking.langs)), critical, p_value,
            ))  # fmt: skip
            records.append(make_record(
                "rank", scores, base_model=model, pattern=ranking.pattern,
                num_langs=len(ranking.langs), mean_rank=rank, groups=groups,
                critical_difference=ranking.critical, p_value=ranking.p_value,
            ))  # fmt: skip
        records += [
            make_record("left out", scores, pattern=ranking.pattern, note=f"{name}: {why}")
            for name, why in ranking.left_out
        ]
    absent = [
        (f"{ranking.pattern}: {name}", why)
        for ranking in rankings
        for name, why in ranking.left_out
    ]
    return Table(
        name=f"{scores.metric}-ranks",
        caption=(
            *describe_scores(scores),
            "Mean rank of the base models of a pattern over the test languages of which it has no "
            "training rows; 1 is the highest mean score of a language.",
            f"Friedman p: of equal models. Critical difference (Nemenyi, level {LEVEL:g}): models "
            "whose mean ranks differ by less share a letter, because they cannot be distinguished "
            f"(Demšar 2006). Both need {MIN_MODELS} base models.",
            "Languages are the sample here, runs are not: the ranks are those of these runs, and "
            "other seeds may move a base model in all languages together.",
        ),
        heading=(
            "pattern", "base model", "mean rank", "group", "languages", "critical difference",
            "Friedman p",
        ),
        lines=tuple(lines),
        footnotes=tuple(group_reasons("Left out of the ranks:", absent)),
        records=tuple(records),
    )  # fmt: skip


def _letters(ranking: Ranking) -> list[str]:
    """Letters of the groups of each model; numbers after the 26th group."""
    names = [*ascii_lowercase, *map(str, range(27, len(ranking.groups) + 1))]
    return [
        " ".join(name for name, group in zip(names, ranking.groups, strict=False) if place in group)
        for place in range(len(ranking.models))
    ]
