"""Token attributions on the page: the tables of ``xlt explanations``, and coloured texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xlt.analysis.attributions.cell import CellAttributions, Values
from xlt.analysis.attributions.collect import ExperimentAttributions, load_each_target
from xlt.analysis.attributions.table import make_attribution_tables
from xlt.analysis.page.details import Pool
from xlt.analysis.page.plots import round_number, share_budget
from xlt.analysis.page.rows import MAX_TEXT
from xlt.analysis.page.tables import PageTable, show_table
from xlt.analysis.trials.collect import Collected
from xlt.data.core.errors import InputError
from xlt.data.core.text import first_line
from xlt.trainables.results.attributions import list_explained_methods, read_attributions
from xlt.trainables.results.result import Results
from xlt.trainables.spec.cell_key import CellKey

Labels = NDArray[np.int64]
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
        read: Target (positive, or a class) -> attributions of the cells.
        left_out: Class -> reason why it has no tables.
    """

    method: str
    read: Mapping[str, ExperimentAttributions]
    left_out: Mapping[str, str]

    def find(self, key: CellKey) -> CellAttributions | None:
        """Find the attributions of a cell for the first target that has some."""
        return next((r.cells[key] for r in self.read.values() if key in r.cells), None)


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
    return Explained(methods[0], *load_each_target(collected, method=methods[0]))


def show_explanations(collected: Collected, explained: Explained) -> list[PageTable]:
    """Table 5 of each base model, with its confidence intervals and checks, and of each class."""
    notes = tuple(
        f"Class {first_line(name)} has no table: {first_line(why)}."
        for name, why in explained.left_out.items()
    )
    tables: list[PageTable] = []
    number = 0
    for target, read in explained.read.items():
        of_class = f", {first_line(target)}" if len(collected.plan.class_names) > 2 else ""
        for model in dict.fromkeys(key.base_model for key in read.cells):
            number += 1
            cells = {key: cell for key, cell in read.cells.items() if key.base_model == model}
            left = {key: why for key, why in read.left_out.items() if key.base_model == model}
            own = make_attribution_tables(collected, ExperimentAttributions(cells, left))
            for place, (title, table) in enumerate(zip(TITLES, own, strict=False)):
                footnotes = table.footnotes if tables else (*table.footnotes, *notes)
                name = f"explained-{number}-{place + 1}"
                named = replace(table, name=name, footnotes=footnotes)
                title = f"{title}: {model}{of_class}"
                tables.append(show_table(named, title, sortable=place == 1))
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
        piece in thousandths of probability, mean probabilities, and number of wrong runs. With more
        than two classes also ``classes``, for each text the class that most runs explain; the
        means are over these runs.

    Raises:
        InputError: No texts are kept, or attributions were changed while they were read.
    """
    if why_no_texts:
        raise InputError(why_no_texts)
    plan = collected.plan
    num_cells = sum(explained.find(cell.key) is not None for cell in plan.cells)
    num_texts = share_budget(TEXT_BUDGET, num_cells, MAX_TEXTS, MIN_TEXTS)
    location = Results(collected.uri)
    pool = Pool()
    cells = []
    for place, cell in enumerate(plan.cells):
        read = explained.find(cell.key)
        if read is None:
            continue
        ids = {(trial.draw_index, trial.seed): trial.trial_id for trial in cell.trials}
        tables: list[Any] = [
            read_attributions(location, ids[run], explained.method).table for run in read.runs
        ]
        first = tables[0].slice(0, num_texts).to_pylist()
        scores = np.stack([table["p_original"].to_numpy()[: len(first)] for table in tables])
        labels = np.array([row["y_true"] for row in first])
        classes, counted = _choose_runs(tables, len(first))
        wrong = (scores >= 0.5) != labels if classes is None else _mark_wrong(tables, labels)
        values = _means(tables, counted)
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
                "scores": [round_number(p, 3) for p in np.average(scores, 0, counted)],
                "wrong": wrong.sum(axis=0).tolist(),
                **({} if classes is None else {"classes": classes.tolist()}),
            }
        )
    return {"method": explained.method, "texts": pool.values(), "cells": cells}


def _choose_runs(tables: list[Any], num_texts: int) -> tuple[Labels | None, Values]:
    """Choose the class of each text that most runs explain, and the runs that explain it.

    Returns:
        num_texts classes, None for two classes; num_runs x num_texts, 1 for runs that count, else
        0.
    """
    if "explained" not in tables[0].schema.names:
        return None, np.ones((len(tables), num_texts))
    explained = np.stack([table["explained"].to_numpy()[:num_texts] for table in tables])
    classes = np.array([np.bincount(column).argmax() for column in explained.T])
    return classes, (explained == classes).astype(np.float64)


def _mark_wrong(tables: list[Any], labels: Labels) -> NDArray[np.bool_]:
    """Mark runs that predict another class than the label, num_runs x num_texts."""
    predicted = np.stack([table["predicted"].to_numpy()[: len(labels)] for table in tables])
    return np.asarray(predicted != labels)


def _means(tables: list[Any], counted: Values) -> list[Values]:
    """Mean contribution over the runs that count of each piece of each text."""
    columns = [table["coefficients"].slice(0, counted.shape[1]).to_pylist() for table in tables]
    return [
        np.average(runs, axis=0, weights=own)
        for runs, own in zip(zip(*columns, strict=True), counted.T, strict=True)
    ]
