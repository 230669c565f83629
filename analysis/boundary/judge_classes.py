"""judge_classes: ranking and weights of classes, for more than two classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from xlt.analysis.boundary.judge_cells import CellBoundary, judge_cells
from xlt.analysis.boundary.verdict import weights_gain
from xlt.analysis.metrics.class_weights import (
    decide_at_best_weights,
    estimate_shares,
    weigh_classes,
)
from xlt.analysis.tables.cells import aggregate
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.scored_rows import read_columns
from xlt.analysis.trials.scores import CellScores, load_scores
from xlt.data.core.errors import InputError
from xlt.trainables.metrics.arrays import Scores, Values, count_classes
from xlt.trainables.metrics.registry import resampled_metrics, undefined
from xlt.trainables.results.result import Results
from xlt.trainables.spec.row_weights import weigh_in_epoch
from xlt.trainables.spec.trial_spec import TrialSpec

MEASURES = ("macro_f1", "auroc_ovr", "macro_f1_estimated", "macro_f1_oracle", "macro_f1_best")
"""Macro F1 as reported, one-vs-rest AUROC, and macro F1 with weights of the classes: their shares
as estimated from the scores, their true shares in the test rows, and the best weights."""


def judge_classes(
    collected: Collected, reference: str | None, method: str, margin: float
) -> list[CellBoundary]:
    """Measure and judge all cells of an experiment with more than two classes.

    Args:
        collected: The experiment.
        reference: See :func:`xlt.analysis.boundary.measure.boundary`.
        method: Name in ``INTERVALS``.
        margin: Loss in AUROC or macro F1 below which a loss counts as small.

    Returns:
        The cells in the order of the plan; those without usable predictions have no value.

    Raises:
        InputError: No cell has usable predictions.
    """
    scores, plan = load_scores(collected), collected.plan
    if not scores.cells:
        reasons = list(dict.fromkeys(scores.left_out.values()))
        raise InputError(["no cell can be judged", *reasons], f"results {collected.uri}")
    measured: dict[str, dict[str, float]] = {name: {} for name in MEASURES}
    target_rows, decided = {}, {}
    for key, cell in scores.cells.items():
        by_run = {row.run: row for row in collected.by_cell[key]}
        trial_ids = [by_run[run].trial_id for run in cell.runs]
        target_rows[key] = max(by_run[run].num_target_rows or 0 for run in cell.runs)
        decided[key] = decide_at_best_weights(cell.y_true, cell.scores, cell.stories)
        for name, values in _measure(collected, cell, decided[key], trial_ids).items():
            measured[name] |= values
    unfit = {
        row.trial_id: scores.left_out[key]
        for key in scores.left_out
        for row in collected.by_cell[key]
        if row.is_done
    }
    by_cell = {
        planned.key: {
            name: aggregate(planned, collected.by_cell[planned.key], name, values, unfit)
            for name, values in measured.items()
        }
        for planned in plan.cells
    }
    priors = dict.fromkeys(scores.cells)
    return judge_cells(
        collected, scores, by_cell, priors, target_rows, {},
        lambda cell: weights_gain(cell, decided[cell.key]), reference, method, margin,
    )  # fmt: skip


def _measure(
    collected: Collected, cell: CellScores, decided: NDArray[np.intp], trial_ids: Sequence[str]
) -> Mapping[str, dict[str, float]]:
    """Measure -> trial id -> value, of the runs of a cell and decisions at the best weights."""
    num_classes = count_classes(cell.scores)
    metrics, once_each = resampled_metrics(num_classes), np.ones((len(cell.y_true), 1))

    def score(metric: str, scores: Scores) -> list[float]:
        values: list[float] = (
            metrics[metric].weighted(cell.y_true, scores, once_each)[:, 0].tolist()
        )
        return values

    best = np.eye(num_classes)[decided]
    measured = {
        "macro_f1": dict(zip(trial_ids, score("macro_f1", cell.scores), strict=True)),
        "macro_f1_best": dict(zip(trial_ids, score("macro_f1", best), strict=True)),
    }
    if not undefined("auroc_ovr", cell.y_true, num_classes):
        measured["auroc_ovr"] = dict(zip(trial_ids, score("auroc_ovr", cell.scores), strict=True))
    true_shares = np.bincount(cell.y_true, minlength=num_classes) / len(cell.y_true)
    for trial_id, own in zip(trial_ids, cell.scores, strict=True):
        shares = _train_shares(collected, trial_id)
        if shares is None:
            continue
        estimated = estimate_shares(own, shares)
        for name, new in (("macro_f1_estimated", estimated), ("macro_f1_oracle", true_shares)):
            (value,) = score("macro_f1", weigh_classes(own, new / shares)[None])
            measured.setdefault(name, {})[trial_id] = value
    return measured


def _train_shares(collected: Collected, trial_id: str) -> Values | None:
    """Shares of the classes in training, by rows and their weights; None if a class has none."""
    classes, spec = collected.plan.classes, TrialSpec.parse(collected.records[trial_id]["spec"])
    try:
        rows = read_columns(Results(collected.uri), trial_id, "train_rows", ("label", "lang"))
    except InputError:
        return None
    weights = weigh_in_epoch(spec, rows, classes)
    totals = np.bincount(rows["label"].to_numpy(), weights, minlength=len(classes))
    return totals / totals.sum() if (totals > 0).all() else None
