"""The points of plots: score distributions, ROC, precision and recall, reliability, training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xlt.analysis.metrics.calibration import ReliabilityCurve, reliability_curve
from xlt.analysis.metrics.thresholds import Cuts, every_cut
from xlt.analysis.trials.predictions import read_columns
from xlt.analysis.trials.scores import CellScores
from xlt.data.core.errors import InputError
from xlt.trainables.results.result import Results

Points = NDArray[np.float64]

NUM_SCORE_BINS = 20
"""Bars of a score distribution: 0.05 wide, so that the threshold of 0.5 lies between two."""
HISTORY = ("epoch", "loss", "learning_rate", "grad_norm")
"""Columns of history.parquet that are plotted."""


@dataclass(frozen=True)
class RunCurves:
    """One run's curves; x and y of each point.

    Attributes:
        name: Seed of the trial, and its draw where there are several.
        roc: 2 x num_points: false and true positive rate.
        precision_recall: 2 x num_points: recall and precision.
    """

    name: str
    roc: Points
    precision_recall: Points


@dataclass(frozen=True)
class CellCurves:
    """What is plotted of a cell.

    Attributes:
        negatives: NUM_SCORE_BINS shares of the rows of class 0, pooled over runs; they sum to 1.
        positives: The same of class 1.
        reliability: Over the rows of all runs together.
        runs: One a done run that was asked for.
    """

    negatives: Points
    positives: Points
    reliability: ReliabilityCurve
    runs: tuple[RunCurves, ...]


def cell_curves(cell: CellScores, most_runs: int | None = None) -> CellCurves:
    """The curves of a cell; ROC and precision-recall with a point at every different score.

    Args:
        cell: What its runs predicted.
        most_runs: ROC and precision-recall of the first so many runs alone; None: of all.

    Raises:
        InputError: Test rows of one class only.
    """
    if len(set(cell.y_true.tolist())) < 2:
        raise InputError("test rows of one class only, so that there is no curve")
    runs = []
    chosen = zip(cell.trial_names[:most_runs], cell.scores[:most_runs], strict=True)
    for name, score in chosen:
        cuts = every_cut(cell.y_true, score)
        runs.append(RunCurves(name, roc(cuts), precision_recall(cuts)))
    pooled = np.tile(cell.y_true, len(cell.scores))
    return CellCurves(
        negatives=_shares(cell.scores[:, cell.y_true == 0]),
        positives=_shares(cell.scores[:, cell.y_true == 1]),
        reliability=reliability_curve(pooled, cell.scores.ravel()),
        runs=tuple(runs),
    )


def roc(cuts: Cuts) -> Points:
    """2 x (1 + num_cuts): false and true positive rate of a run, from no row positive to all.

    As ``sklearn.metrics.roc_curve(drop_intermediate=False)``, whose checks take longer than it all.
    """
    hits, counted = cuts.hits[cuts.ends], cuts.counted[cuts.ends]
    return np.stack([np.append(0, n) / n[-1] for n in (counted - hits, hits)])


def precision_recall(cuts: Cuts) -> Points:
    """2 x (num_cuts + 1): recall and precision of a run, from all rows positive down to (0, 1).

    As ``sklearn.metrics.precision_recall_curve``.
    """
    hits, counted = cuts.hits[cuts.ends], cuts.counted[cuts.ends]
    recall, precision = hits / hits[-1], hits / counted
    return np.stack([np.append(recall[::-1], 0), np.append(precision[::-1], 1)])


def read_history(
    location: Results, trial_id: str, columns: tuple[str, ...] = HISTORY
) -> dict[str, Points]:
    """The training curves of a done trial, num_steps values for each of some columns.

    Raises:
        InputError: The file cannot be read, is empty or without these columns.
    """
    table = read_columns(location, trial_id, "history", columns)
    if table.num_rows == 0:
        raise InputError("history without steps")
    return {name: table[name].to_numpy().astype(np.float64) for name in columns}


def thin(points: Points, num_points: int) -> Points:
    """At most so many of the points along the last axis, evenly chosen, both ends kept."""
    length = points.shape[-1]
    if length <= num_points:
        return points
    return points[..., np.linspace(0, length - 1, num_points).round().astype(int)]


def block_means(values: Points, num_blocks: int) -> Points:
    """At most so many means of neighbours, because the loss of a single batch is mostly noise."""
    if len(values) <= num_blocks:
        return values
    starts = np.linspace(0, len(values), num_blocks + 1).astype(int)
    means: Points = np.add.reduceat(values, starts[:-1]) / np.diff(starts)
    return means


def _shares(scores: Points) -> Points:
    counts, _ = np.histogram(scores, bins=NUM_SCORE_BINS, range=(0, 1))
    return counts.astype(np.float64) / max(int(counts.sum()), 1)
