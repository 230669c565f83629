"""What the page's plots and the details of a trial are made from, as plain JSON values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis import paper
from analysis.cells import TableCell, first_line
from analysis.collect import Collected
from analysis.formats import Table
from analysis.plot_points import CellCurves, block_means, cell_curves, read_history, thin
from analysis.predictions import read_test_rows
from analysis.run_names import has_draws, run_name
from analysis.scores import ExperimentScores, Key
from data.errors import InputError
from trainables.result import Results, TrialState

NUM_WORST = 10
"""Test rows with the largest error that a trial lists."""
CURVE_POINTS, HISTORY_POINTS = 80, 50
"""Points of a curve, at most: more cannot be told apart at the width of a plot."""
CURVE_BUDGET, HISTORY_BUDGET = 40_000, 40_000
"""Points of all curves of a page, so that thousands of trials stay below a few megabytes."""
FEWEST_POINTS = 12
MAX_ERROR = 4000
"""Characters of an error's text; the folder has the rest."""
LOCAL = ("base_path",)
"""Settings left out of the page: a path on somebody's machine says nothing to others."""

_SECRETS = (
    (re.compile(r"(?<=://)[^/\s@]+@"), "…@"),  # user and password in a URI
    (re.compile(r"\bhf_[A-Za-z0-9]{8,}"), "hf_…"),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}"), "AKIA…"),
    (re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]{8,}"), r"\1…"),
    (re.compile(r"(?i)((?:token|secret|password|passwd|api_?key|access_?key)\w*['\"]?\s*[=:]\s*)"
                r"(?:'[^']*'|\"[^\"]*\"|[^\s'\",&]+)"), r"\1…"),
)  # fmt: skip


def without_secrets(text: str) -> str:
    """A text without what looks like a password, a token or a key."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


def plot_cells(
    collected: Collected, scores: ExperimentScores, tables: Sequence[Table]
) -> list[dict[str, Any]]:
    """Values, intervals and curves of every planned cell.

    A cell without curves has the reason in ``why``.

    Args:
        collected: The trials.
        scores: Predictions of the cells.
        tables: Of the metrics to plot, with intervals.
    """
    rows = collected.table.to_pylist()
    own: dict[Key, list[dict[str, Any]]] = {}
    for row in rows:
        own.setdefault((row["base_model"], row["pattern"]), []).append(row)
    values: dict[Key, dict[str, Any]] = {}
    for table in tables:
        if table.metric not in collected.metrics:
            continue
        for cell in table.cells:
            key = cell.base_model, cell.pattern
            if cell.n:
                values.setdefault(key, {})[table.metric] = _values(cell, own[key], table.metric)
    num_runs = sum(len(cell.runs) for cell in scores.cells.values())
    num_points = _share(CURVE_BUDGET, 4 * num_runs, CURVE_POINTS)
    found = []
    for planned in collected.plan.cells:
        key = planned.base_model, planned.pattern
        shown: dict[str, Any] = {"model": first_line(key[0]), "pattern": first_line(key[1])}
        shown |= {"values": values.get(key, {}), "why": "", "curves": None}
        try:
            if key not in scores.cells:
                raise InputError(scores.left_out.get(key, "nothing is done"))
            shown["curves"] = _curves(cell_curves(scores.cells[key]), num_points)
        except InputError as error:
            shown["why"] = without_secrets(first_line(str(error)))
        found.append(shown)
    return found


def _values(cell: TableCell, rows: Sequence[dict[str, Any]], metric: str) -> dict[str, Any]:
    """A cell's runs, mean and interval, and what the paper has."""
    value = paper.published(metric, cell.base_model, cell.pattern)
    with_draw = has_draws([row["draw_index"] for row in rows])
    return {
        "runs": [
            [run_name((r["draw_index"], r["seed"]), with_draw), _rounded(r[metric], 4)]
            for r in rows
            if r[metric] is not None
        ],
        "mean": _rounded(cell.mean, 4),
        "interval": _list(np.array(cell.interval), 4) if cell.interval else None,
        "published": value.mean if value else None,
    }


def _curves(curves: CellCurves, num_points: int) -> dict[str, Any]:
    bins = curves.reliability
    return {
        "negatives": _list(curves.negatives, 4),
        "positives": _list(curves.positives, 4),
        "reliability": [
            _list(values, 4) for values in (bins.mean_score, bins.positives, bins.mass)
        ],
        "runs": [
            {
                "name": one.name,
                "roc": [_list(axis, 3) for axis in thin(one.roc, num_points)],
                "pr": [_list(axis, 3) for axis in thin(one.precision_recall, num_points)],
            }
            for one in curves.runs
        ],
    }


def trial_details(collected: Collected) -> dict[str, Any]:
    """Settings, metrics, training curves, worst test rows and errors of every planned trial.

    Settings are many and mostly the same, so that each text is kept once in ``pool`` and trials
    name its place.
    """
    location = Results(collected.uri)
    rows = collected.table.to_pylist()
    states = location.states(row["trial_id"] for row in rows)
    num_done = sum(row["state"] == "done" for row in rows)
    num_points = _share(HISTORY_BUDGET, 2 * num_done, HISTORY_POINTS)
    num_worst = _share(20_000, num_done, NUM_WORST, fewest=5)
    pool: dict[str, int] = {}
    trials = {}
    for row in rows:
        trial_id = row["trial_id"]
        trial = _record(states[trial_id], pool)
        trial["state"], trial["error"] = row["state"], _error(row["detail"])
        if row["state"] == "done":
            trial |= _history(location, trial_id, num_points)
            trial |= _worst(location, trial_id, num_worst)
        trials[trial_id] = trial
    return {"pool": list(pool), "trials": trials}


def _record(found: TrialState, pool: dict[str, int]) -> dict[str, Any]:
    """The parts of trial.json or error.json as places in the pool."""
    parts: dict[str, Any] = {}
    for part in ("spec", "metrics", "signature", "timings"):
        values = (found.record or {}).get(part)
        if isinstance(values, dict):
            texts = [without_secrets(text) for text in _flat(values)]
            parts[part] = [pool.setdefault(text, len(pool)) for text in texts]
    return parts


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    texts = []
    for key, value in values.items():
        if isinstance(value, dict):
            texts += _flat(value, f"{prefix}{key}.")
        elif key not in LOCAL and value is not None:
            shown = f"{value:.4g}" if isinstance(value, float) else str(value)
            texts.append(f"{prefix}{key}\t{shown}")
    return texts


def _error(detail: str) -> str:
    printable = "".join(c if c.isprintable() or c == "\n" else " " for c in detail)
    return printable[:MAX_ERROR]


def _history(location: Results, trial_id: str, num_points: int) -> dict[str, Any]:
    try:
        history = read_history(location, trial_id)
    except InputError as error:
        return {"history": None, "no_history": without_secrets(str(error))}
    shown = {name: _list(block_means(history[name], num_points), 4) for name in ("epoch", "loss")}
    return {"history": shown}


def _worst(location: Results, trial_id: str, num_rows: int) -> dict[str, Any]:
    try:
        rows = read_test_rows(location, trial_id)
    except InputError as error:
        return {"worst": None, "no_worst": without_secrets(str(error))}
    worst = np.argsort(-np.abs(rows.y_true - rows.y_score), kind="stable")[:num_rows]
    listed = [[rows.ids[k], int(rows.y_true[k]), _rounded(rows.y_score[k], 4)] for k in worst]
    return {"worst": listed}


def _share(budget: int, num_users: int, most: int, fewest: int = FEWEST_POINTS) -> int:
    return min(most, max(fewest, budget // max(num_users, 1)))


def _rounded(value: Any, digits: int) -> float | None:
    """A JSON number; None for what JSON has no number for."""
    return round(float(value), digits) if np.isfinite(value) else None


def _list(values: NDArray[np.float64], digits: int) -> list[float | None]:
    return [_rounded(value, digits) for value in values]
