"""All tables of an experiment over its source and test languages."""

from __future__ import annotations

from xlt.analysis.languages.gap_tables import make_cost_table, make_gap_table
from xlt.analysis.languages.matrix import find_source_matrix, has_sources
from xlt.analysis.languages.matrix_table import make_matrix_table
from xlt.analysis.languages.mean_tables import make_mean_table, make_rank_table
from xlt.analysis.languages.model_pairs import make_pair_table
from xlt.analysis.languages.scores import LangScores, collect_lang_scores
from xlt.analysis.tables.table import Table
from xlt.analysis.trials.collect import Collected
from xlt.trainables.metrics.registry import selection_metric


def make_language_tables(collected: Collected, metric: str | None, method: str) -> list[Table]:
    """Make the tables of ``xlt transfer``: the matrix of source languages, and those of transfer.

    Args:
        collected: The trials, as they are or at a prevalence, in no chosen test language.
        metric: Name of a metric; None: the one by which learning rates are selected.
        method: Method of the intervals.

    Raises:
        InputError: Trials have one source language and were tested in one language, or the metric
            or the method is unknown.
    """
    metric, tables = metric or selection_metric(len(collected.plan.classes)), list[Table]()
    if has_sources(collected):
        tables.append(make_matrix_table(find_source_matrix(collected, metric)))
    if len(collected.plan.test_langs) > 1 or not tables:
        tables += make_transfer_tables(collect_lang_scores(collected, metric, method))
    return tables


def make_transfer_tables(scores: LangScores) -> list[Table]:
    """Make the tables of gaps, costs of target rows, means, ranks and differences of models."""
    tables = (
        make_gap_table(scores), make_cost_table(scores), make_mean_table(scores),
        make_rank_table(scores), make_pair_table(scores),
    )  # fmt: skip
    return [table for table in tables if table and (table.lines or table.footnotes)]
