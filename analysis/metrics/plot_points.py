"""Points of plots: score distributions, ROC, precision and recall, reliability, training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xlt.analysis.metrics.calibration import ReliabilityCurve, reliability_curve
from xlt.analysis.metrics.thresholds import Cuts, list_cuts
from xlt.analysis.trials.scored_rows import read_columns
from xlt.analysis.trials.scores import CellScores
from xlt.data.core.errors import InputError
from xlt.trainables.results.result import Results

Points = NDArray[np.float64]

NUM_SCORE_BINS = 20
"""Bars of a score distribution, each 0.05 wide, so that the threshold 0.5 is between two bars."""
HISTORY = ("epoch", "loss", "learning_rate", "grad_norm")
"""Columns of history.parquet that are plotted."""


@dataclass(frozen=True)
class RunCurves:
    """Curves of one run, with x and y of each point.

    Attributes:
        name: Seed of the trial, with its draw if there are several.
        roc: 2 x num_points false and true positive rates.
        precision_recall: 2 x num_points recalls and precisions.
    """

    name: str
    roc: Points
    precision_recall: Points


@dataclass(frozen=True)
class CellCurves:
    """Curves of one cell.

    Attributes:
        negatives: NUM_SCORE_BINS shares of the rows of class 0, pooled over runs; they sum to 1.
        positives: The same for class 1.
        reliability: Reliability curve of the rows of all runs together.
        runs: Curves of each run that was asked for.
    """

    negatives: Points
    positives: Points
    reliability: ReliabilityCurve
    runs: tuple[RunCurves, ...]


def make_cell_curves(cell: CellScores, max_runs: int | None = None) -> CellCurves:
    """Compute the curves of a cell; ROC and precision-recall have a point at each distinct score.

    Args:
        cell: Predictions of the runs of the cell.
        max_runs: Number of runs, the first ones, that get ROC and precision-recall; None: all.

    Raises:
        InputError: All test rows are of one class, or there are more than two classes.
    """
    if cell.scores.ndim == 3:
        raise InputError("score distributions, reliability, ROC and precision are of two classes")
    if len(set(cell.y_true.tolist())) < 2:
        raise InputError("all test rows are of one class, so no curve is defined")
    runs = []
    chosen = zip(cell.trial_names[:max_runs], cell.scores[:max_runs], strict=True)
    for name, score in chosen:
        cuts = list_cuts(cell.y_true, score)
        runs.append(RunCurves(name, roc(cuts), precision_recall(cuts)))
    pooled = np.tile(cell.y_true, len(cell.scores))
    return CellCurves(
        negatives=_shares(cell.scores[:, cell.y_true == 0]),
        positives=_shares(cell.scores[:, cell.y_true == 1]),
        reliability=reliability_curve(pooled, cell.scores.ravel()),
        runs=tuple(runs),
    )


def roc(cuts: Cuts) -> Points:
    """False and true positive rate of a run, from no row decided positive to all rows.

    The points equal those of ``sklearn.metrics.roc_curve(drop_intermediate=False)``, whose checks
    of the input take longer than this whole computation.

    Returns:
        2 x (1 + num_cuts).
    """
    hits, counted = cuts.hits[cuts.ends], cuts.counted[cuts.ends]
    return np.stack([np.append(0, n) / n[-1] for n in (counted - hits, hits)])


def precision_recall(cuts: Cuts) -> Points:
    """Recall and precision of a run, from all rows decided positive to none, at (0, 1).

    The points equal those of ``sklearn.metrics.precision_recall_curve``.

    Returns:
        2 x (num_cuts + 1).
    """
    hits, counted = cuts.hits[cuts.ends], cuts.counted[cuts.ends]
    recall, precision = hits / hits[-1], hits / counted
    return np.stack([np.append(recall[::-1], 0), np.append(precision[::-1], 1)])


def read_history(
    location: Results, trial_id: str, columns: tuple[str, ...] = HISTORY
) -> dict[str, Points]:
    """Read the training curves of a done trial.

    Returns:
        Column -> num_steps values.

    Raises:
        InputError: The file cannot be read, is empty or lacks one of the columns.
    """
    table = read_columns(location, trial_id, "history", columns)
    if table.num_rows == 0:
        raise InputError("the training history has no steps")
    return {name: table[name].to_numpy().astype(np.float64) for name in columns}


def thin(points: Points, num_points: int) -> Points:
    """Keep at most num_points points of the last axis, evenly spaced and with both ends."""
    length = points.shape[-1]
    if length <= num_points:
        return points
    return points[..., np.linspace(0, length - 1, num_points).round().astype(int)]


def block_means(values: Points, num_blocks: int) -> Points:
    """Average neighbours to at most num_blocks values: the loss of one batch is mostly noise."""
    if len(values) <= num_blocks:
        return values
    starts = np.linspace(0, len(values), num_blocks + 1).astype(int)
    means: Points = np.add.reduceat(values, starts[:-1]) / np.diff(starts)
    return means


def _shares(scores: Points) -> Points:
    counts, _ = np.histogram(scores, bins=NUM_SCORE_BINS, range=(0, 1))
    return counts.astype(np.float64) / max(int(counts.sum()), 1)
