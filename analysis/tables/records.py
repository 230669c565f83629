"""Records of the cells of a metric, for programs."""

from __future__ import annotations

from xlt.analysis.tables import paper
from xlt.analysis.tables.cells import TableCell
from xlt.analysis.uncertainty.variance_components import PARTS
from xlt.data.core.text import first_line

CSV_COLUMNS = (
    "base_model", "pattern", "metric", "mean", "std", "low", "high", "n", "num_planned", "state",
    "note", "published_mean", "published_std", *(f"std_{part}" for part in PARTS),
)  # fmt: skip
"""Keys of the records, one record for each cell."""


def make_record(metric: str, cell: TableCell, published: bool = False) -> dict[str, object]:
    """Make the record of a cell, with the published values if they are asked for."""
    value = paper.find_published(metric, cell.key) if published else None
    low, high = cell.interval or (None, None)
    components = cell.components
    values = (
        cell.base_model, cell.pattern, metric, cell.mean, cell.std, low, high, cell.n,
        cell.num_planned, cell.state,
        "; ".join([*cell.problems, *([first_line(cell.note)] if cell.note else [])]),
        value and value.mean, value and value.std,
        *(components and components.std(part) for part in PARTS),
    )  # fmt: skip
    return dict(zip(CSV_COLUMNS, values, strict=True))
