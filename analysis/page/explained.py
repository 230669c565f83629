"""Token attributions on the page: the tables of ``xlt explanations``, and coloured texts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xlt.analysis.attributions.collect import ExperimentAttributions, Values, load_attributions
from xlt.analysis.attributions.table import make_attribution_tables
from xlt.analysis.page.details import Pool
from xlt.analysis.page.plots import round_number, share_budget
from xlt.analysis.page.rows import MAX_TEXT
from xlt.analysis.page.tables import PageTable, show_table
from xlt.analysis.trials.collect import Collected
from xlt.data.core.errors import InputError
from xlt.trainables.results.attributions import list_explained_methods, read_attributions
from xlt.trainables.results.result import Results

MAX_TEXTS, MIN_TEXTS, TEXT_BUDGET = 512, 20, 8_000
"""Texts on the page: maximum and minimum for each cell, and budget of all cells."""
TITLES = (
    "Tokens that contribute most", "Confidence intervals", "Checks of the explanations", "Patterns",
)  # fmt: skip
"""Titles of the tables of a base model, in the order of :func:`make_attribution_tables`."""


@dataclass(frozen=True)
class Explained:
    """Attributions of an experiment.

    Attributes:
        method: Name of the method of explanation.
        read: Attributions of the cells.
    """

    method: str
    read: ExperimentAttributions


def find_explained(collected: Collected) -> Explained | None:
    """Find the attributions of the trials, by the first method that has some.

    Only the first done trial of each cell is checked, because most experiments have none.

    Raises:
        InputError: There are attributions, but none of them can be read.
    """
    states = {row.trial_id: row.state for row in collected.rows}
    firsts = []
    for cell in collected.plan.cells:
        done = [trial.trial_id for trial in cell.trials if states[trial.trial_id] == "done"]
        firsts += done[:1]
    location = Results(collected.uri)
    methods = next(
        (names for trial_id in firsts if (names := list_explained_methods(location, trial_id))), []
    )
    if not methods:
        return None
    return Explained(methods[0], load_attributions(collected, method=methods[0]))


def show_explanations(collected: Collected, explained: Explained) -> list[PageTable]:
    """Table 5 of each base model, with its confidence intervals and checks."""
    tables = []
    models = list(dict.fromkeys(key.base_model for key in explained.read.cells))
    for number, model in enumerate(models):
        cells = {key: cell for key, cell in explained.read.cells.items() if key.base_model == model}
        left = {key: why for key, why in explained.read.left_out.items() if key.base_model == model}
        own = make_attribution_tables(collected, ExperimentAttributions(cells, left))
        for place, (title, table) in enumerate(zip(TITLES, own, strict=False)):
            named = replace(table, name=f"explained-{number + 1}-{place + 1}")
            tables.append(show_table(named, f"{title}: {model}", sortable=place == 1))
    return tables


def collect_explained_texts(
    collected: Collected, explained: Explained, why_no_texts: str = ""
) -> dict[str, Any]:
    """Collect test texts with the mean contribution of each piece over a cell's runs.

    Args:
        collected: The trials.
        explained: Attributions of the trials.
        why_no_texts: Reason why the experiment keeps no texts (``storage.keep_texts``), because
            their licence may forbid a page with them; empty: it keeps them.

    Returns:
        ``texts``: for each text [text, language, label, start, end, start, end ...]; ``cells``: for
        each cell its index in the plan, number of runs, indices of texts, contribution of each
        piece in thousandths of probability, mean probabilities, and number of wrong runs.

    Raises:
        InputError: No texts are kept, or attributions were changed while they were read.
    """
    if why_no_texts:
        raise InputError(why_no_texts)
    plan = collected.plan
    num_texts = share_budget(TEXT_BUDGET, len(explained.read.cells), MAX_TEXTS, MIN_TEXTS)
    location = Results(collected.uri)
    pool = Pool()
    cells = []
    for place, cell in enumerate(plan.cells):
        read = explained.read.cells.get(cell.key)
        if read is None:
            continue
        ids = {(trial.draw_index, trial.seed): trial.trial_id for trial in cell.trials}
        tables: list[Any] = [
            read_attributions(location, ids[run], explained.method).table for run in read.runs
        ]
        first = tables[0].slice(0, num_texts).to_pylist()
        scores = np.stack([table["p_original"].to_numpy()[: len(first)] for table in tables])
        labels = np.array([row["y_true"] for row in first])
        values = _means(tables, len(first))
        texts, shown = [], []
        for row, means in zip(first, values, strict=True):
            inside = [k for k, end in enumerate(row["ends"]) if end <= MAX_TEXT]
            spans = [place for k in inside for place in (row["starts"][k], row["ends"][k])]
            texts.append(pool.place((row["text"][:MAX_TEXT], row["lang"], row["y_true"], *spans)))
            shown.append([round(1000 * means[k]) for k in inside])
        cells.append(
            {
                "cell": place,
                "runs": len(tables),
                "texts": texts,
                "values": shown,
                "scores": [round_number(p, 3) for p in scores.mean(axis=0)],
                "wrong": ((scores >= 0.5) != labels).sum(axis=0).tolist(),
            }
        )
    return {"method": explained.method, "texts": pool.values(), "cells": cells}


def _means(tables: list[Any], num_texts: int) -> list[Values]:
    """Mean contribution over runs of each piece of each text."""
    columns = [table["coefficients"].slice(0, num_texts).to_pylist() for table in tables]
    return [np.mean(runs, axis=0) for runs in zip(*columns, strict=True)]
