"""Comparisons of cells as a table."""

from __future__ import annotations

from xlt.analysis.comparisons.compare import (
    LEVEL,
    MAX_RATIO,
    POWER,
    Comparison,
    write_rank_test_remarks,
)
from xlt.analysis.comparisons.family import Family
from xlt.analysis.tables.cells import format_interval
from xlt.analysis.tables.table import Table
from xlt.analysis.uncertainty.intervals import FEW_UNITS, describe_units
from xlt.analysis.uncertainty.trial_units import has_several_draws
from xlt.data.core.text import first_line
from xlt.trainables.metrics.registry import define_metric

CSV_COLUMNS = (
    "metric", "first", "second", "n", "num_items", "mean_first", "mean_second", "difference", "low",
    "high", "p_value", "holm_p_value", "effect_size", "superiority", "detectable", "seeds_needed",
    "draws_needed", "items_needed", "verdict",
)  # fmt: skip
"""Keys of the records, one record for each comparison."""


def make_comparison_table(family: Family) -> Table:
    """Make a table with a line for each comparison and footnotes that explain the columns."""
    plan = family.collected.plan
    defined = define_metric(family.metric, first_line(plan.positive), [])
    title = f": {first_line(plan.title)}" if plan.title else ""
    units = "draws" if any(map(_by_draw, family.comparisons)) else "seeds"
    return Table(
        name=f"{family.metric}-comparisons",
        caption=(
            f"{defined[0].upper()}{defined[1:]}.",
            f"Experiment {plan.experiment}{title}.",
            f"Second minus first of {family.pairs}: {len(family.comparisons)} comparisons.",
        ),
        heading=(
            "first:second", "means", "difference", "95 % interval", "p", "Holm p", "d",
            "P(2nd higher)", "MDE", units, "rows", "verdict",
        ),
        lines=tuple((first_line(f"{c.first}:{c.second}"), *_texts(c)) for c in family.comparisons),
        footnotes=(*_explain(family), *_remarks(family)),
        records=tuple(_record(family.metric, c) for c in family.comparisons),
    )  # fmt: skip


def _record(metric: str, c: Comparison) -> dict[str, object]:
    units = (None, c.units_needed) if _by_draw(c) else (c.units_needed, None)
    values = (
        metric, c.first, c.second, len(c.runs), c.num_items, *c.means, c.difference,
        c.interval.low, c.interval.high, c.p_value, c.holm_p_value, c.effect_size, c.superiority,
        c.detectable, *units, c.items_needed, c.verdict,
    )  # fmt: skip
    return dict(zip(CSV_COLUMNS, values, strict=True))


def _by_draw(c: Comparison) -> bool:
    """Whether the runs are on several draws of training rows."""
    return has_several_draws(c.runs)


def _texts(c: Comparison) -> tuple[str, ...]:
    """Texts of a line, in the order of the heading."""
    counts = ("-" if count is None else str(count) for count in (c.units_needed, c.items_needed))
    return (
        f"{c.means[0]:.3f} {c.means[1]:.3f}",
        f"{c.difference:+.3f}",
        format_interval(c.interval.low, c.interval.high),
        f"{c.p_value:.4f}",
        f"{c.holm_p_value:.4f}",
        "n/a" if c.effect_size is None else f"{c.effect_size:+.1f}",
        f"{c.superiority:.2f}",
        f"{c.detectable:.3f}",
        *counts,
        c.verdict,
    )


def _explain(family: Family) -> list[str]:
    """Explain the columns and verdicts."""
    draws = any(map(_by_draw, family.comparisons))
    over, units = ("draws of training rows, seeds", "draws") if draws else (
        "seeds", "seeds"
    )  # fmt: skip
    return [
        f"95 % interval: of the difference, over {over} and test rows (method "
        f"{family.method}){describe_units(c.runs for c in family.comparisons)}. "
        "Not corrected for the number of comparisons.",
        f"p: two-sided permutation test, up to {family.num_resamples} exchanges of test rows "
        f"between the two cells, all {'runs' if draws else 'seeds'} of a row together; valid for "
        f"these trained models, not for other {units}. Holm p: corrected for all comparisons "
        "shown.",
        f"d: difference / pooled standard deviation over {'runs' if draws else 'seeds'}. P(2nd "
        "higher): share of pairs of runs in which the second scores higher. Both are imprecise "
        f"with fewer than {FEW_UNITS} {units}.",
        f"MDE: smallest true difference detected with probability {POWER} at level {LEVEL}, before "
        f"Holm. {units}: {units} per cell{', with as many seeds each,' * draws} that would detect "
        "a true difference of the observed size, on these test rows; rows: test rows that would, "
        f"with these {units}; -: more than {MAX_RATIO} times as many, or unknown.",
        f"Verdict: first or second higher: Holm p <= {LEVEL} and the interval excludes 0. these "
        f"runs only: the test is significant, but the interval, which covers other {units}, "
        "includes 0. not after Holm: only the interval excludes 0. unsettled: neither, which does "
        "not prove that the cells are equal.",
    ]


def _remarks(family: Family) -> list[str]:
    """Footnotes on missing runs, comparisons that were left out, and warnings."""
    remarks = write_rank_test_remarks(c.runs for c in family.comparisons)
    remarks += [f"† {first_line(gap)}" for gap in family.gaps]
    reasons: dict[str, list[str]] = {}
    for name, why in family.left_out:
        reasons.setdefault(first_line(why), []).append(first_line(name))
    remarks += [f"Left out: {', '.join(names)}: {why}" for why, names in reasons.items()]
    return remarks + [f"Warning: {warning}." for warning in family.collected.warnings]
