"""Trials of the page as columns: settings, metrics, training, worst test rows, errors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xlt.analysis.metrics.plot_points import Points, block_means, read_history
from xlt.analysis.page.plots import MIN_POINTS, round_number, share_budget, to_list
from xlt.analysis.page.rows import RowPool, shown_probabilities
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.trial_names import has_draws
from xlt.data.core.errors import InputError
from xlt.data.core.text import remove_secrets
from xlt.trainables.results.result import Results
from xlt.trainables.spec.methods import BASELINES, keep_used_training

NUM_WORST, MIN_WORST, WORST_BUDGET = 10, 3, 40_000
"""Test rows with the largest error: maximum and minimum for each trial, budget of all trials."""
HISTORY_POINTS, HISTORY_BUDGET = 50, 120_000
"""Points of a training curve: maximum for each trial, and budget of all trials."""
MAX_ERROR = 4000
"""Maximum number of characters of an error; the result folder has the full text."""
LOCAL = ("base_path", "seed")
"""Settings that the page leaves out: a path is useless on other machines, and the seed is in the
table."""


class Pool:
    """Distinct values, each kept once and referred to by its index."""

    def __init__(self) -> None:
        self._places: dict[Any, int] = {}

    def place(self, value: Any) -> int:
        """Index of a hashable value in :meth:`values`; a new value is added."""
        return self._places.setdefault(value, len(self._places))

    def values(self) -> list[Any]:
        """All distinct values, in the order of their indices."""
        return list(self._places)


def arrange_trials(collected: Collected, rows: RowPool) -> dict[str, Any]:
    """Arrange all planned trials, in the order of the plan, as columns.

    Columns compress much better than single trials. Values that are equal in thousands of trials
    (settings, versions, epochs) are kept once, in ``texts`` and ``lists``.

    Args:
        collected: The trials.
        rows: Pool that the worst test rows are added to.
    """
    num_done = sum(row.is_done for row in collected.rows)
    num_points = share_budget(HISTORY_BUDGET, num_done, HISTORY_POINTS, MIN_POINTS)
    num_worst = share_budget(WORST_BUDGET, num_done, NUM_WORST, MIN_WORST)
    texts, lists = Pool(), Pool()
    settings = _Settings(texts, lists)
    location = Results(collected.uri)

    def history(trial_id: str) -> dict[str, Points] | str:
        try:
            return read_history(location, trial_id, ("epoch", "loss"))
        except InputError as error:
            return remove_secrets(str(error))

    done = [row.trial_id for row in collected.rows if row.is_done]
    histories = dict(zip(done, location.map_items(history, done), strict=True))
    columns: dict[str, list[Any]] = {
        name: []
        for name in ("spec", "signature", "timings", "epochs", "loss", "worst", "error", "absent")
    }
    for row in collected.rows:
        record = collected.records.get(row.trial_id, {})
        for part in ("spec", "signature"):
            columns[part].append(settings.place(_used(record.get(part))))
        columns["timings"].append(_timings(record.get("timings"), lists))
        columns["error"].append(_error(row.detail))
        absent: list[str] = []
        epochs, loss, worst = None, None, None
        if row.is_done:
            history_or_why = histories[row.trial_id]
            if row.method in BASELINES:
                pass  # has no training curve
            elif isinstance(history_or_why, str):
                absent.append(history_or_why)
            else:
                epochs = lists.place(
                    tuple(to_list(block_means(history_or_why["epoch"], num_points), 2))
                )
                loss = to_list(block_means(history_or_why["loss"], num_points), 3)
            try:
                worst = _worst(collected, row.trial_id, num_worst, rows)
            except InputError as error:
                absent.append(remove_secrets(str(error)))
        for name, value in (("epochs", epochs), ("loss", loss), ("worst", worst)):
            columns[name].append(value)
        columns["absent"].append(absent or None)
    draws = [row.draw_index for row in collected.rows]
    places = {cell.key: k for k, cell in enumerate(collected.plan.cells)}
    return {
        "texts": texts.values(),
        "lists": lists.values(),
        "trials": {
            "id": [row.trial_id for row in collected.rows],
            "cell": [places[row.cell] for row in collected.rows],
            "draw": draws if has_draws(draws) else None,
            "seed": [row.seed for row in collected.rows],
            "state": [row.state for row in collected.rows],
            "seconds": _rounded([row.fit_seconds for row in collected.rows], 1),
            "values": {
                metric: _rounded([row.metrics.get(metric) for row in collected.rows], 4)
                for metric in collected.metrics
            },
            **columns,
        },
    }


def _rounded(values: Sequence[float | None], digits: int) -> list[float | None]:
    return [None if value is None else round_number(value, digits) for value in values]


def _used(values: Any) -> Any:
    """Leave out the settings of ``training`` that a baseline does not use."""
    if not isinstance(values, Mapping) or not isinstance(training := values.get("training"), dict):
        return values
    return {**values, "training": keep_used_training(str(values.get("method")), training)}


class _Settings:
    """Settings of trials: a list of texts each, kept once and referred to by its index."""

    def __init__(self, texts: Pool, lists: Pool) -> None:
        self._texts, self._lists = texts, lists
        self._known: dict[str, int] = {}

    def place(self, values: Any) -> int | None:
        """Index of the list of a part of trial.json; None if the part is no mapping."""
        if not isinstance(values, Mapping):
            return None
        # Trials of a cell have equal settings, so few of them are ever flattened.
        shown = {key: value for key, value in values.items() if key not in LOCAL}
        key = json.dumps(shown)
        if key not in self._known:
            texts = (self._texts.place(remove_secrets(text)) for text in _flat(shown))
            self._known[key] = self._lists.place(tuple(texts))
        return self._known[key]


def _timings(values: Any, lists: Pool) -> list[Any] | None:
    """Index of the names of the stages, followed by their seconds."""
    if not isinstance(values, Mapping):
        return None
    shown = {str(k): v for k, v in values.items() if isinstance(v, (int, float))}
    return [lists.place(tuple(shown)), *(round_number(value, 2) for value in shown.values())]


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    texts = []
    for key, value in values.items():
        if isinstance(value, dict):
            texts += _flat(value, f"{prefix}{key}.")
        elif value is not None:
            shown = f"{value:.4g}" if isinstance(value, float) else str(value)
            texts.append(f"{prefix}{key}\t{shown}")
    return texts


def _error(detail: str) -> str:
    printable = "".join(c if c.isprintable() or c == "\n" else " " for c in detail)
    return printable[:MAX_ERROR]


def _worst(collected: Collected, trial_id: str, num_rows: int, rows: RowPool) -> list[Any]:
    """Rows with the largest errors: [row, its :func:`shown_probabilities`, row ...]."""
    predicted = collected.predictions.of(trial_id)
    shown, distance = shown_probabilities(predicted.y_true, predicted.y_score[None])
    worst = np.argsort(-distance[0], kind="stable")[:num_rows]
    listed: list[Any] = []
    for k in worst:
        place = rows.place(predicted.ids[k], int(predicted.y_true[k]))
        listed += [place, round_number(shown[0, k], 3)]
    return listed
