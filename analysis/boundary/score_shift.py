"""How far scores moved between languages: rows of the same class, source against target."""

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
"""What :func:`score_shift` measures of a run."""


@dataclass(frozen=True)
class SourceLogits:
    """Logits of a run's source training rows, each when it was last trained on: in sample.

    Attributes:
        medians: Of class 0 and of class 1.
        squares: Sum of squared deviations from the mean of the row's class.
        freedom: Rows less classes.
    """

    medians: tuple[float, float]
    squares: float
    freedom: int


def source_logits(y_true: Labels, y_score: Scores) -> SourceLogits:
    """Of (num_rows,) labels 0 and 1, both there, and (num_rows,) probabilities of class 1."""
    by_class = _by_class(y_true, logit(y_score))
    low, high = (float(np.median(values)) for values in by_class)
    return SourceLogits((low, high), _squares(by_class), len(y_true) - 2)


def score_shift(
    cell: CellScores, medians: tuple[Runs, Runs], sources: Sequence[SourceLogits | None]
) -> dict[str, Runs]:
    """How far the logits of target test rows lie above those of source rows of the same class.

    ``logit_shift`` is the mean over both classes of the difference of medians, in logits. The
    classes are compared each for itself, because the distributions of all rows differ by their
    shares of classes, too. Source rows are scored in sample: what the model knows by heart is
    farther from 0, above it in one class and below it in the other, which the mean over classes
    takes out as far as it is alike in both. ``logit_shift_0`` and ``_1`` are the two differences: a
    boundary that moved moves both alike. ``logit_shift_d`` is the mean over the standard
    deviation pooled over both languages and classes: Cohen's d (Cohen 1988, Statistical Power
    Analysis, section 2.2) of medians. Source rows and that deviation are held fixed where test rows
    are drawn anew: the latter is known far better than the medians.

    Args:
        cell: Predictions of its runs.
        medians: Of the logits of class 0 and of class 1, of all of its runs.
        sources: num_runs; None for a run without scored source rows of both classes.

    Returns:
        Name in :data:`SHIFTS` -> the runs that have source rows, and for the second a spread;
        empty if none has.
    """
    kept = [k for k, source in enumerate(sources) if source is not None]
    known = [source for source in sources if source is not None]
    if not known:
        return {}
    low, high = (
        _less(runs.chosen(kept), np.array([source.medians[label] for source in known]))
        for label, runs in enumerate(medians)
    )
    shift = (low + high) * 0.5
    in_units = _over(shift, _pooled_std(cell, kept, known))
    return dict(zip(SHIFTS, (shift, in_units, low, high), strict=True))


def _pooled_std(
    cell: CellScores, kept: Sequence[int], known: Sequence[SourceLogits]
) -> NDArray[np.float64]:
    """num_runs standard deviations of logits within language and class."""
    targets = [_squares(_by_class(cell.y_true, logit(cell.scores[k]))) for k in kept]
    freedom = len(cell.y_true) - 2
    return np.sqrt(
        [(t + s.squares) / (freedom + s.freedom) for t, s in zip(targets, known, strict=True)]
    )


def _by_class(y_true: Labels, logits: Scores) -> tuple[Scores, Scores]:
    return logits[y_true == 0], logits[y_true == 1]


def _squares(by_class: Sequence[Scores]) -> float:
    return float(sum(np.sum((values - values.mean()) ** 2) for values in by_class))


def _less(runs: Runs, constants: Values) -> Runs:
    """A constant of each run taken off, which no test row moves."""
    return replace(runs, values=runs.values - constants)


def _over(runs: Runs, units: Values) -> Runs:
    """In units of each run's own; a run without spread has no unit and is left out."""
    kept = np.flatnonzero(units > 0)
    chosen, scale = runs.chosen(kept.tolist()), 1 / units[kept]
    return replace(
        chosen,
        values=chosen.values * scale,
        influence=chosen.influence * scale[:, None],
    )
