"""Shift of scores between source and target language, within each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from xlt.analysis.metrics.thresholds import logit
from xlt.analysis.trials.scores import CellScores
from xlt.analysis.uncertainty.runs import Runs
from xlt.trainables.metrics.arrays import Labels, Scores, Values

SHIFTS = ("logit_shift", "logit_shift_d", "logit_shift_0", "logit_shift_1")
"""Measures of a run that :func:`score_shift` computes."""


@dataclass(frozen=True)
class SourceLogits:
    """Summary of the in-sample logits of a run's source training rows.

    Attributes:
        medians: Median logit of class 0 and of class 1.
        squares: Sum of squared deviations from the means of the classes.
        freedom: Degrees of freedom of ``squares``: number of rows minus 2.
    """

    medians: tuple[float, float]
    squares: float
    freedom: int


def source_logits(y_true: Labels, y_score: Scores) -> SourceLogits:
    """Summarise the scores of source training rows.

    Args:
        y_true: num_rows labels, 0 or 1; both classes must occur.
        y_score: num_rows probabilities of class 1.
    """
    by_class = _by_class(y_true, logit(y_score))
    low, high = (float(np.median(values)) for values in by_class)
    return SourceLogits((low, high), _squares(by_class), len(y_true) - 2)


def score_shift(
    cell: CellScores, medians: tuple[Runs, Runs], sources: Sequence[SourceLogits | None]
) -> dict[str, Runs]:
    """Measure how far logits of target test rows lie above those of source rows of the same class.

    ``logit_shift_0`` and ``logit_shift_1`` are the differences of the median logits of class 0 and
    of class 1. A boundary that moved changes both equally. Classes are compared separately, because
    the median of all rows also depends on the shares of the classes.

    ``logit_shift`` is the mean of the two differences. Source rows are scored in sample, so their
    logits are too far from 0, in opposite directions for the two classes; the mean cancels the part
    of this error that both classes have in common.

    ``logit_shift_d`` is ``logit_shift`` over the standard deviation within language and class:
    Cohen's d (Cohen 1988, Statistical Power Analysis, section 2.2) of medians. Intervals take this
    standard deviation and the source rows as fixed; they vary far less than the medians.

    Args:
        cell: Predictions of the runs.
        medians: Median logits of class 0 and of class 1 of all runs.
        sources: num_runs summaries; None for a run without scored source rows of both classes.

    Returns:
        Name in :data:`SHIFTS` -> runs with source rows; ``logit_shift_d`` only has those with a
        positive standard deviation. Empty if no run has source rows.
    """
    positions = [k for k, source in enumerate(sources) if source is not None]
    known = [source for source in sources if source is not None]
    if not known:
        return {}
    low, high = (
        _minus(runs.chosen(positions), np.array([source.medians[label] for source in known]))
        for label, runs in enumerate(medians)
    )
    shift = (low + high) * 0.5
    in_units = _divided(shift, _pooled_std(cell, positions, known))
    return dict(zip(SHIFTS, (shift, in_units, low, high), strict=True))


def _pooled_std(
    cell: CellScores, positions: Sequence[int], known: Sequence[SourceLogits]
) -> NDArray[np.float64]:
    """Standard deviation of the logits within language and class, for each run."""
    targets = [_squares(_by_class(cell.y_true, logit(cell.scores[k]))) for k in positions]
    freedom = len(cell.y_true) - 2
    return np.sqrt(
        [(t + s.squares) / (freedom + s.freedom) for t, s in zip(targets, known, strict=True)]
    )


def _by_class(y_true: Labels, logits: Scores) -> tuple[Scores, Scores]:
    return logits[y_true == 0], logits[y_true == 1]


def _squares(by_class: Sequence[Scores]) -> float:
    return float(sum(np.sum((values - values.mean()) ** 2) for values in by_class))


def _minus(runs: Runs, constants: Values) -> Runs:
    """Subtract a constant from each run; influences stay the same."""
    return replace(runs, values=runs.values - constants)


def _divided(runs: Runs, divisors: Values) -> Runs:
    """Divide each run by its own divisor; runs with divisor 0 are left out."""
    positions = np.flatnonzero(divisors > 0)
    chosen, scale = runs.chosen(positions.tolist()), 1 / divisors[positions]
    return replace(
        chosen,
        values=chosen.values * scale,
        influence=chosen.influence * scale[:, None],
    )
