"""What the page's plots and the details of a trial are made from, as plain JSON values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis import paper
from analysis.cells import first_line
from analysis.collect import Collected
from analysis.curves import CellCurves, block_means, cell_curves, read_history, thin
from analysis.intervals import CellIntervals
from analysis.predictions import read_test_rows
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
                r"['\"]?[^\s'\",&]+['\"]?"), r"\1…"),
)  # fmt: skip


def without_secrets(text: str) -> str:
    """A text without what looks like a password, a token or a key."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


def plot_cells(
    collected: Collected, intervals: CellIntervals, metrics: list[str]
) -> list[dict[str, Any]]:
    """Values, intervals and curves of every planned cell.

    A cell without curves has the reason in ``why``.

    Args:
        collected: The trials.
        intervals: Of the cells; holds their predictions, too.
        metrics: Names of metrics to plot.
    """
    rows = collected.table.to_pylist()
    made = {m: intervals.of(m)[0] for m in metrics if m in collected.metrics}
    seeds = sum(len(cell.seeds) for cell in intervals.scores.cells.values())
    num_points = _share(CURVE_BUDGET, 4 * seeds, CURVE_POINTS)
    found = []
    for planned in collected.plan.cells:
        key = planned.base_model, planned.pattern
        own = [row for row in rows if (row["base_model"], row["pattern"]) == key]
        values = {}
        for metric in made:
            scored = [(row["seed"], row[metric]) for row in own if row[metric] is not None]
            value = paper.published(metric, *key)
            values[metric] = {
                "seeds": [[seed, _rounded(score, 4)] for seed, score in scored],
                "mean": _rounded(np.mean([s for _, s in scored]), 4) if scored else None,
                "interval": _list(np.array(made[metric][key]), 4) if key in made[metric] else None,
                "published": value.mean if value else None,
            }
        cell: dict[str, Any] = {"model": first_line(key[0]), "pattern": first_line(key[1])}
        cell |= {"values": values, "why": first_line(planned.skipped), "curves": None}
        try:
            if key not in intervals.scores.cells:
                raise InputError(intervals.scores.left_out.get(key, "nothing is done"))
            cell["curves"] = _curves(cell_curves(intervals.scores.cells[key]), num_points)
        except InputError as error:
            cell["why"] = without_secrets(first_line(str(error)))
        found.append(cell)
    return found


def _curves(curves: CellCurves, num_points: int) -> dict[str, Any]:
    bins = curves.reliability
    return {
        "negatives": _list(curves.negatives, 4),
        "positives": _list(curves.positives, 4),
        "reliability": [
            _list(values, 4) for values in (bins.mean_score, bins.positives, bins.mass)
        ],
        "seeds": [
            {
                "seed": one.seed,
                "roc": [_list(axis, 3) for axis in thin(one.roc, num_points)],
                "pr": [_list(axis, 3) for axis in thin(one.precision_recall, num_points)],
            }
            for one in curves.seeds
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
    return without_secrets(printable)[:MAX_ERROR]


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
