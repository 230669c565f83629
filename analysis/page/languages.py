"""Parts of the page over test languages: tables of gaps, means and ranks, and a heat map."""

from __future__ import annotations

from typing import Any

from xlt.analysis.languages.scores import LangScores
from xlt.analysis.languages.tables import make_transfer_tables
from xlt.analysis.page.plots import round_number
from xlt.analysis.page.tables import PageTable, show_table
from xlt.data.core.text import first_line
from xlt.trainables.metrics.registry import metric_label

TITLES = {
    "transfer": "test languages, and gaps from the source language",
    "source-cost": "what target rows cost the source language",
    "languages": "mean over languages",
    "ranks": "ranks of base models over languages",
    "models": "differences of base models over languages",
}
"""Ending of the name of a table -> its title."""


def show_languages(scores: LangScores) -> list[PageTable]:
    """Show the tables of ``xlt transfer``."""
    label = metric_label(scores.metric)
    return [
        show_table(table, f"{label}: {TITLES[table.name.removeprefix(f'{scores.metric}-')]}")
        for table in make_transfer_tables(scores)
    ]


def plot_languages(scores: LangScores) -> dict[str, Any]:
    """Collect the values of a heat map: for each language the mean and interval of each cell."""
    return {
        "langs": list(scores.langs),
        "cells": [" × ".join(map(first_line, cell.key)) for cell in scores.cells],
        "values": [
            [
                [round_number(value, 4) for value in (own.cell.mean, *(own.cell.interval or ()))]
                if (own := cell.by_lang.get(lang)) and own.cell.mean is not None
                else None
                for cell in scores.cells
            ]
            for lang in scores.langs
        ],
    }
