"""All tables of an experiment over its test languages."""

from __future__ import annotations

from xlt.analysis.languages.gap_tables import make_cost_table, make_gap_table
from xlt.analysis.languages.over_tables import make_mean_table, make_rank_table
from xlt.analysis.languages.scores import LangScores
from xlt.analysis.tables.table import Table


def make_transfer_tables(scores: LangScores) -> list[Table]:
    """Make the tables of gaps, costs of target rows, means over languages, and ranks."""
    tables = (
        make_gap_table(scores), make_cost_table(scores), make_mean_table(scores),
        make_rank_table(scores),
    )  # fmt: skip
    return [table for table in tables if table and (table.lines or table.footnotes)]
