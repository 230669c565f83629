"""Tables of the page on certainty: comparisons of cells, and variance components."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from xlt.analysis.comparisons.family import FAMILIES, compare_cells, list_pairs
from xlt.analysis.comparisons.table import make_comparison_table
from xlt.analysis.page.tables import PageTable, show_table
from xlt.analysis.tables.table import Table
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.scores import ExperimentScores
from xlt.analysis.uncertainty.intervals import CellIntervals
from xlt.analysis.uncertainty.variance_components import EXPLAINED, PARTS, VarianceComponents
from xlt.data.core.errors import InputError
from xlt.data.core.text import first_line
from xlt.trainables.metrics.registry import compared_metrics, metric_label

MAX_PAIRS = 200
"""Maximum number of comparisons for each metric on a page; each takes 0.1 s."""


def show_comparisons(
    collected: Collected, scores: ExperimentScores, by: str, metric: str
) -> PageTable:
    """Compare a family of cells; the numbers are those of ``xlt compare``.

    Args:
        collected: The trials.
        scores: Predictions of the cells.
        by: Name in ``FAMILIES``.
        metric: Name of a metric.

    Raises:
        InputError: There are more than :data:`MAX_PAIRS` pairs, or see ``compare_cells``.
    """
    num_pairs = len(list_pairs(collected.plan, scores, by))
    if num_pairs > MAX_PAIRS:
        raise InputError(
            f"{num_pairs} pairs are too many to read, and after correction for so many few would "
            f"stay significant; compare some: xlt compare RESULTS --by {by} --metric {metric}, or "
            "--pairs"
        )
    family = compare_cells(collected, metric, by)
    verdicts = Counter(c.verdict for c in family.comparisons)
    num_families = len(compared_metrics(scores.num_classes)) * len(FAMILIES)
    settled = sum(c.is_settled for c in family.comparisons)
    others = [f"{n} {verdict}" for verdict, n in verdicts.items() if "higher" not in verdict]
    shown = show_table(
        replace(make_comparison_table(family), name=f"{metric}-by-{by}"),
        f"{metric_label(metric)}, {FAMILIES[by]}",
        sentence=f"{metric_label(metric)} of {family.describe()}. One cell is higher in {settled}; "
        f"{', '.join(others) or 'none is undecided'}. This page has "
        f"{num_families} such families, each corrected alone.",
    )
    # Readers look for the verdict, the last column, so the page moves it next to the names.
    return replace(
        shown,
        heading=(shown.heading[0], shown.heading[-1], *shown.heading[1:-1]),
        rows=tuple((row[0], row[-1], *row[1:-1]) for row in shown.rows),
    )


def show_variance(intervals: CellIntervals, metric: str) -> PageTable:
    """Variance components of a run's score: draws, seeds, test rows.

    Args:
        intervals: Intervals of the cells, which know their components.
        metric: Name of a metric.

    Raises:
        InputError: No cell has usable predictions.
    """
    components = intervals.components(metric)
    if not components:
        raise InputError("no cell has usable predictions")
    known = [
        part for part in PARTS if any(own.std(part) is not None for own in components.values())
    ]
    table = Table(
        name=f"spread-{metric}",
        caption=(f"Variance components of {metric_label(metric)}.", EXPLAINED),
        heading=("base model", "pattern", *(PARTS[part] for part in known)),
        lines=tuple(
            (*map(first_line, key), *(own.text(part) for part in known))
            for key, own in components.items()
        ),
        records=tuple(
            {
                "base_model": key.base_model,
                "pattern": key.pattern,
                **{f"std_{part}": own.std(part) for part in known},
            }
            for key, own in components.items()
        ),
    )
    sentence = _describe_shares(list(components.values()), known, metric_label(metric))
    return show_table(table, f"Variance components of {metric_label(metric)}", sentence=sentence)


def _describe_shares(
    components: Sequence[VarianceComponents], parts: Sequence[str], label: str
) -> str:
    """Each source's share of a cell's variance: median over cells, smallest and largest.

    One cell with unequal seeds would dominate shares of the variances of all cells together.
    """
    variances = np.array([[(own.std(part) or 0.0) ** 2 for part in parts] for own in components])
    variances = variances[variances.sum(axis=1) > 0]
    if not len(variances):
        return ""
    shares = variances / variances.sum(axis=1, keepdims=True)
    texts = [
        f"{PARTS[part]} {np.median(own):.0%} ({own.min():.0%} to {own.max():.0%})"
        for part, own in zip(parts, shares.T, strict=True)
    ]
    return (
        f"Shares of the variance of a run's {label}, median over {len(shares)} cells (smallest to "
        f"largest): {', '.join(texts)}."
    )
