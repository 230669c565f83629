"""The trials of the page in columns: settings, metrics, training, worst test rows, errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from xlt.analysis.metrics.plot_points import Points, block_means, read_history
from xlt.analysis.page.plots import FEWEST_POINTS, as_list, rounded, share
from xlt.analysis.page.rows import RowPool
from xlt.analysis.page.secrets import without_secrets
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.trial_names import has_draws
from xlt.data.core.errors import InputError
from xlt.trainables.results.result import Results
from xlt.trainables.spec.cell_key import CellKey

NUM_WORST, FEWEST_WORST, WORST_BUDGET = 10, 3, 40_000
"""Test rows with the largest error that a trial lists, at most and at least, and of all trials."""
HISTORY_POINTS, HISTORY_BUDGET = 50, 120_000
"""Points of a training curve, and of all."""
MAX_ERROR = 4000
"""Characters of an error's text; the folder has the rest."""
LOCAL = ("base_path", "seed")
"""Settings left out of the page: a path on somebody's machine says nothing to others, and the seed
stands in the table."""


class Pool:
    """Values of which many are equal: each is kept once and named by its place."""

    def __init__(self) -> None:
        self._places: dict[Any, int] = {}

    def place(self, value: Any) -> int:
        """Where a hashable value stands in :meth:`values`."""
        return self._places.setdefault(value, len(self._places))

    def values(self) -> list[Any]:
        """All of them."""
        return list(self._places)


def trial_columns(collected: Collected, rows: RowPool) -> dict[str, Any]:
    """Every planned trial, in the order of the plan; a column each, a list as long as it.

    Columns are compressed far better than trials one by one, and what is equal in thousands of
    trials (settings, versions, epochs) is kept once in ``texts`` and ``lists``.

    Args:
        collected: The trials.
        rows: Takes the worst test rows.
    """
    ids, states = _column(collected, "trial_id"), _column(collected, "state")
    num_done = states.count("done")
    num_points = share(HISTORY_BUDGET, num_done, HISTORY_POINTS, FEWEST_POINTS)
    num_worst = share(WORST_BUDGET, num_done, NUM_WORST, FEWEST_WORST)
    texts, lists = Pool(), Pool()
    settings = _Settings(texts, lists)
    location = Results(collected.uri)

    def history(trial_id: str) -> dict[str, Points] | str:
        try:
            return read_history(location, trial_id, ("epoch", "loss"))
        except InputError as error:
            return without_secrets(str(error))

    done = [trial_id for trial_id, state in zip(ids, states, strict=True) if state == "done"]
    histories = dict(zip(done, location.side_by_side(history, done), strict=True))
    columns: dict[str, list[Any]] = {
        name: []
        for name in ("spec", "signature", "timings", "epochs", "loss", "worst", "error", "absent")
    }
    for trial_id, state, detail in zip(ids, states, _column(collected, "detail"), strict=True):
        record = collected.records.get(trial_id, {})
        for part in ("spec", "signature"):
            columns[part].append(settings.place(record.get(part)))
        columns["timings"].append(_timings(record.get("timings"), lists))
        columns["error"].append(_error(detail))
        absent: list[str] = []
        epochs, loss, worst = None, None, None
        if state == "done":
            found = histories[trial_id]
            if isinstance(found, str):
                absent.append(found)
            else:
                epochs = lists.place(tuple(as_list(block_means(found["epoch"], num_points), 2)))
                loss = as_list(block_means(found["loss"], num_points), 3)
            try:
                worst = _worst(collected, trial_id, num_worst, rows)
            except InputError as error:
                absent.append(without_secrets(str(error)))
        for name, value in (("epochs", epochs), ("loss", loss), ("worst", worst)):
            columns[name].append(value)
        columns["absent"].append(absent or None)
    places = {cell.key: k for k, cell in enumerate(collected.plan.cells)}
    return {
        "texts": texts.values(),
        "lists": lists.values(),
        "trials": {
            "id": ids,
            "cell": [places[CellKey(row["base_model"], row["pattern"])] for row in collected.rows],
            "draw": _column(collected, "draw_index") if has_draws(collected.plan.draws) else None,
            "seed": _column(collected, "seed"),
            "state": states,
            "seconds": _numbers(collected, "fit_seconds", 1),
            "values": {metric: _numbers(collected, metric, 4) for metric in collected.metrics},
            **columns,
        },
    }


def _column(collected: Collected, name: str) -> list[Any]:
    return [row[name] for row in collected.rows]


def _numbers(collected: Collected, name: str, digits: int) -> list[float | None]:
    values = _column(collected, name)
    return [None if value is None else rounded(value, digits) for value in values]


class _Settings:
    """Parts of trial.json as places of lists of places of texts; the seed is left out."""

    def __init__(self, texts: Pool, lists: Pool) -> None:
        self._texts, self._lists = texts, lists
        self._known: dict[bytes, int] = {}

    def place(self, values: Any) -> int | None:
        """Where the list of a part stands; None for a part that is none."""
        if not isinstance(values, Mapping):
            return None
        # The trials of a cell have the same settings, so that few are ever taken apart.
        shown = {key: value for key, value in values.items() if key not in LOCAL}
        key = orjson.dumps(shown)
        if key not in self._known:
            texts = (self._texts.place(without_secrets(text)) for text in _flat(shown))
            self._known[key] = self._lists.place(tuple(texts))
        return self._known[key]


def _timings(values: Any, lists: Pool) -> list[Any] | None:
    """The place of the stages' names, then their seconds."""
    if not isinstance(values, Mapping):
        return None
    shown = {str(k): v for k, v in values.items() if isinstance(v, (int, float))}
    return [lists.place(tuple(shown)), *(rounded(value, 2) for value in shown.values())]


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
    """Row, probability of class 1, row, probability ...: the largest errors first."""
    found = collected.predictions.of(trial_id)
    worst = np.argsort(-np.abs(found.y_true - found.y_score), kind="stable")[:num_rows]
    listed: list[Any] = []
    for k in worst:
        place = rows.place(found.ids[k], int(found.y_true[k]))
        listed += [place, rounded(found.y_score[k], 3)]
    return listed
