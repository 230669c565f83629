"""The table of overlaps: do the top tokens of two patterns differ more than by chance?"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np

from xlt.analysis.attributions.cell import CellAttributions, begin_caption, name_table
from xlt.analysis.attributions.evidence import Ranking
from xlt.analysis.attributions.overlaps import (
    MARGIN,
    PERSISTENCE,
    Overlap,
    compare_rankings,
    rank_biased_overlap,
)
from xlt.analysis.tables.paper import TABLE_5, TABLE_5_MODEL, find_counterpart
from xlt.analysis.tables.table import Table


def make_overlap_table(
    model: str, cells: Mapping[str, CellAttributions], ranked: Mapping[tuple[str, str], Ranking]
) -> Table:
    """The overlap of the top tokens of each two patterns."""
    lines = []
    for first, second in combinations(cells, 2):
        pair = ranked[first, "raw"], ranked[second, "raw"]
        lines.append(_overlap_line(compare_rankings(cells[first], cells[second], pair)))
    footnotes = []
    if find_counterpart(model) == TABLE_5_MODEL:
        published = [
            f"{a}:{b} {_published_overlap(a, b):.2f}"
            for a, b in combinations(TABLE_5, 2)
            if a in cells and b in cells
        ]
        footnotes = [f"RBO of the paper's columns: {', '.join(published)}."] if published else []
    return Table(
        name_table("patterns", model, cells),
        (
            f"{begin_caption(model, cells)}: do a few target rows change the top tokens? Hardly, "
            "says the paper (4.3).",
            f"RBO: rank-biased overlap, p = {PERSISTENCE:g} (Webber et al. 2010), of the raw "
            "lists; Jaccard: Jaccard index of the same lists. Both are 1 for equal lists.",
            "between runs: mean RBO of two runs of one pattern; between patterns: mean RBO of a "
            "run of each. excess: between runs minus between patterns, with a 95 % interval over "
            "runs and texts. changed: it is above 0, so patterns differ more than by chance of "
            f"training. hardly changed: it is below {MARGIN:g}.",
        ),
        ("patterns", "RBO", "Jaccard", "between runs", "between patterns", "excess", "verdict"),
        tuple(lines),
        tuple(footnotes),
    )


def _overlap_line(overlap: Overlap) -> tuple[str, ...]:
    middle, low, high = overlap.excess
    return (
        f"{overlap.first}:{overlap.second}",
        f"{overlap.rbo:.2f}",
        f"{overlap.jaccard:.2f}",
        "-" if np.isnan(overlap.between_runs) else f"{overlap.between_runs:.2f}",
        f"{overlap.between_patterns:.2f}",
        "-" if np.isnan(middle) else f"{middle:+.2f} [{low:+.2f}, {high:+.2f}]",
        overlap.verdict,
    )


def _published_overlap(first: str, second: str) -> float:
    names = {t: n for n, t in enumerate(dict.fromkeys(TABLE_5[first] + TABLE_5[second]))}
    a, b = (np.array([[names[token] for token in TABLE_5[p]]]) for p in (first, second))
    return float(rank_biased_overlap(a, b)[0])
