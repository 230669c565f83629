"""Comparisons of cells as a table."""

from __future__ import annotations

from xlt.analysis.comparisons.compare import LEVEL, Comparison
from xlt.analysis.comparisons.family import Family
from xlt.analysis.tables.captions import define_in_sentence, name_experiment
from xlt.analysis.tables.cells import format_interval
from xlt.analysis.tables.table import Table, group_by_reason
from xlt.analysis.trials.source_langs import describe_source_langs
from xlt.analysis.trials.test_lang import describe_test_rows
from xlt.analysis.uncertainty.intervals import describe_units, interval_ends
from xlt.analysis.uncertainty.trial_units import has_several_draws
from xlt.data.core.text import first_line

CSV_COLUMNS = (
    "metric", "first", "second", "n", "num_items", "mean_first", "mean_second", "difference", "low",
    "high", "family_low", "family_high", "p_value", "corrected_p_value", "these_runs_p_value",
    "these_runs_corrected_p_value", "effect_size", "superiority", "superiority_low",
    "superiority_high", "detectable", "seeds_needed", "draws_needed", "items_needed", "correction",
    "margin", "verdict",
)  # fmt: skip
"""Keys of the records, one record for each comparison."""


def make_comparison_table(family: Family) -> Table:
    """Make a table with a line for each comparison and footnotes that explain the columns."""
    plan = family.collected.plan
    return Table(
        name=f"{family.metric}-comparisons",
        caption=(
            define_in_sentence(plan, family.metric),
            *describe_test_rows(family.collected),
            *describe_source_langs(family.collected.plan),
            name_experiment(plan),
            f"Second minus first of {family.describe()}.",
        ),
        heading=(
            "first:second", "means", "difference", "95 % interval", "family interval", "p",
            f"{family.correction.label} p", "on these runs", "P(2nd higher)", "verdict",
        ),
        lines=tuple((first_line(f"{c.first}:{c.second}"), *_texts(c)) for c in family.comparisons),
        footnotes=(*_explain(family), *_remarks(family)),
        records=tuple(_record(family, c) for c in family.comparisons),
    )  # fmt: skip


def _record(family: Family, c: Comparison) -> dict[str, object]:
    units = (None, c.units_needed) if _by_draw(c) else (c.units_needed, None)
    values = (
        family.metric, c.first, c.second, len(c.runs), c.num_items, *c.means, c.difference,
        *interval_ends(c.interval), *interval_ends(c.family_interval), c.p_value,
        c.corrected_p_value, c.these_runs_p_value, c.these_runs_corrected_p_value,
        c.effect_size, c.superiority,
        *interval_ends(c.superiority_interval), c.detectable, *units, c.items_needed,
        family.correction.label, c.margin, c.verdict,
    )  # fmt: skip
    return dict(zip(CSV_COLUMNS, values, strict=True))


def _by_draw(c: Comparison) -> bool:
    """Whether the runs are on several draws of training rows."""
    return has_several_draws(c.runs)


def _texts(c: Comparison) -> tuple[str, ...]:
    """Texts of a line, in the order of the heading."""
    p_values = (c.p_value, c.corrected_p_value, c.these_runs_corrected_p_value)
    return (
        f"{c.means[0]:.3f} {c.means[1]:.3f}",
        f"{c.difference:+.3f}",
        format_interval(c.interval.low, c.interval.high),
        _family_interval(c),
        *map(_p_text, p_values),
        f"{c.superiority:.2f} {_superiority_interval(c)}".rstrip(),
        c.verdict,
    )


def _p_text(p: float | None) -> str:
    if p is None:
        return "-"
    return f"{p:.4f}" if p >= 0.0001 else "<0.0001"


def _family_interval(c: Comparison) -> str:
    """The interval for the family, with a round bracket at an end of 0 that it does not contain."""
    if c.p_value is None:
        return "-"
    ends = c.family_interval
    text = format_interval(ends.low, ends.high)
    if c.is_settled and ends.low == 0:
        return f"({text[1:]}"
    return f"{text[:-1]})" if c.is_settled and ends.high == 0 else text


def _superiority_interval(c: Comparison) -> str:
    ends = c.superiority_interval
    return f"[{ends.low:.2f}, {ends.high:.2f}]" if ends else ""


def _explain(family: Family) -> list[str]:
    """Explain the columns and verdicts."""
    draws = any(map(_by_draw, family.comparisons))
    over, units = ("draws of training rows, seeds", "draws") if draws else (
        "seeds", "seeds"
    )  # fmt: skip
    correction, alpha = family.correction, family.comparisons[0].alpha
    equivalent = (
        f" Within {family.margin:g}: the family interval lies between -{family.margin:g} and "
        f"{family.margin:g}."
        if family.margin
        else ""
    )
    return [
        f"95 % interval: of the difference, over {over} and test rows (method "
        f"{family.method}){describe_units(c.runs for c in family.comparisons)}. "
        "Not corrected for the number of comparisons.",
        f"Family interval: the same at level {100 * (1 - alpha):.4g} %. {correction.intervals} It "
        "excludes 0 if and only if one cell is called higher; a round bracket marks an end at 0 "
        "that does not belong to it.",
        f"p: two-sided, over {over} and test rows, as in xlt claims; below 0.05 if the 95 % "
        f"interval excludes 0. {correction.label} p: corrected for the family.",
        f"On these runs: {correction.label} p of a two-sided permutation test, up to "
        f"{family.num_resamples} exchanges of test rows between the two cells, all "
        f"{'runs' if draws else 'seeds'} of a row together; valid for these trained models, not "
        f"for other {units}. No verdict depends on it.",
        "P(2nd higher): share of pairs of runs in which the second scores higher [95 % interval "
        "for new runs on these test rows, from the order of the runs alone].",
        f"Verdict: first or second higher: {correction.label} p <= {LEVEL}. {correction.limits}"
        f"{equivalent} Not after correction: only p is <= {LEVEL}. Unsettled: neither, which does "
        "not prove that the cells are equal.",
        f"Numbers of {units} and test rows that would find a true difference D, with intervals: "
        "xlt plan EXPERIMENT --to-find D --earlier RESULTS.",
    ]


def _remarks(family: Family) -> list[str]:
    """Footnotes on missing runs, comparisons that were not tested or left out, and warnings."""
    untested = ((f"{c.first}:{c.second}", c.untested) for c in family.comparisons)
    remarks = [f"Not tested: {names}: {why}" for why, names in group_by_reason(untested)]
    remarks += [f"† {first_line(gap)}" for gap in family.gaps]
    remarks += [f"Left out: {names}: {why}" for why, names in group_by_reason(family.left_out)]
    return remarks + [f"Warning: {warning}." for warning in family.collected.warnings]
