"""Tables of the page on what numbers are worth: comparisons, and what spreads a run's score."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from xlt.analysis.comparisons.family import FAMILIES, compare_cells, family_pairs
from xlt.analysis.comparisons.table import as_table
from xlt.analysis.comparisons.table import to_csv as comparisons_csv
from xlt.analysis.page.shown import Entry, PageTable, shown_grid, text_entry
from xlt.analysis.tables.formats import to_latex
from xlt.analysis.tables.grids import Grid
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.scores import ExperimentScores
from xlt.analysis.uncertainty.intervals import CellIntervals
from xlt.analysis.uncertainty.variance_components import EXPLAINED, PARTS
from xlt.data.core.errors import InputError
from xlt.data.core.text import first_line
from xlt.trainables.metrics.registry import metric_label

MOST_PAIRS = 200
"""Comparisons that a page holds of a metric; a pair takes 0.1 s."""
COMPARED = ("auroc", "f1")
"""Metrics of which cells are compared; the page shows the first until another is chosen."""


def comparison_table(
    collected: Collected, scores: ExperimentScores, by: str, metric: str
) -> PageTable:
    """What ``xlt compare`` says, the same numbers.

    Args:
        collected: The trials.
        scores: Their predictions.
        by: Name in ``FAMILIES``.
        metric: Name in ``RESAMPLED_METRICS``.

    Raises:
        InputError: More than :data:`MOST_PAIRS` pairs, or see ``compare_cells``.
    """
    num_pairs = len(family_pairs(scores, by))
    if num_pairs > MOST_PAIRS:
        raise InputError(
            f"{num_pairs} pairs are too many to be read, and corrected for so many few would stay; "
            f"ask for some: xlt compare RESULTS --by {by} --metric {metric}, or --pairs"
        )
    family = compare_cells(collected, metric, by)
    found = Counter(c.verdict for c in family.comparisons)
    settled = found["first higher"] + found["second higher"]
    others = [f"{n} {verdict}" for verdict, n in found.items() if "higher" not in verdict]
    num = len(family.comparisons)
    told = f"Of {num} comparisons one cell is higher in {settled}"
    table = as_table(family)
    verdict = len(table.patterns) - 1
    order = [verdict, *range(verdict)]  # the verdict is looked for: behind the name
    return PageTable(
        name=f"{metric}-by-{by}",
        title=f"{metric_label(metric)}, {FAMILIES[by]}",
        caption=table.caption,
        heading=(table.corner, *(table.patterns[k] for k in order)),
        rows=tuple(
            (Entry(label), *(text_entry(texts[k]) for k in order)) for label, texts in table.lines
        ),
        footnotes=table.footnotes,
        csv=comparisons_csv(family),
        latex=to_latex([replace(table, metric=f"{metric}-by-{by}")]),
        sentence=f"{told}, by test and interval; {', '.join(others) or 'none is open'}.",
    )


def spread_table(intervals: CellIntervals, metric: str) -> PageTable:
    """Where the variance of a run's score comes from: draws, seeds, test rows.

    Args:
        intervals: Of the cells.
        metric: Name in ``RESAMPLED_METRICS``.

    Raises:
        InputError: No cell has predictions that can be used.
    """
    found = intervals.components(metric)
    if not found:
        raise InputError("no cell has predictions that can be used")
    known = [part for part in PARTS if any(one.std(part) is not None for one in found.values())]
    variances = {part: sum((one.std(part) or 0.0) ** 2 for one in found.values()) for part in known}
    total = sum(variances.values())
    records = tuple(
        {
            **key._asdict(),
            **{f"std_{part}": one.std(part) for part in known},
        }
        for key, one in found.items()
    )
    grid = Grid(
        caption=(f"What spreads {metric_label(metric)}.", EXPLAINED),
        heading=("base model", "pattern", *(PARTS[part] for part in known)),
        lines=tuple(
            (*map(first_line, key), *(one.text(part) for part in known))
            for key, one in found.items()
        ),
        records=records,
    )
    shown = shown_grid(f"spread-{metric}", f"What spreads {metric_label(metric)}", grid)
    shares = [f"{PARTS[part]} {variances[part] / total:.0%}" for part in known] if total else []
    told = f"Of the variance of one run's {metric_label(metric)}, over all cells: "
    return replace(shown, sentence=f"{told}{', '.join(shares)}." if shares else "")
