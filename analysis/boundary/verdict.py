"""judge: whether a cell ranks worse than its reference, and whether another threshold is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from xlt.analysis.metrics.influences import macro_f1_derivative, within_classes
from xlt.analysis.metrics.thresholds import decide_at_best_threshold, macro_f1_of
from xlt.analysis.trials.scores import CellScores
from xlt.analysis.uncertainty.intervals import CONFIDENCE, INTERVALS, Interval
from xlt.analysis.uncertainty.mean_variance import mean, sum_of_means
from xlt.analysis.uncertainty.runs import MetricRuns, Runs, sum_by_story
from xlt.analysis.uncertainty.trial_units import num_units
from xlt.trainables.metrics.arrays import CHANCE, THRESHOLD, Labels, Scores, Values, count_classes

MARGIN = 0.03
"""Loss in AUROC or macro F1 below which a loss is called small."""
NEAR_CHANCE = 0.6
"""AUROC below which a cell without a reference counts as one that ranks by chance."""

Word = Literal[
    "both", "ranks worse", "threshold is off", "weights are off", "chance", "neither found",
    "undecided", "reference",
]  # fmt: skip


@dataclass(frozen=True)
class Loss:
    """A loss for one reason, mean over runs.

    Attributes:
        value: Estimate; may be negative.
        interval: 95 % interval over runs and test rows.
        is_shown: Whether the loss is above 0 beyond chance. The interval then is above 0, but its
            lower end may be 0 itself.
    """

    value: float
    interval: Interval
    is_shown: bool

    def is_fault(self, margin: float) -> bool:
        """Whether the loss is above 0, and not small, beyond chance."""
        return self.is_shown and not self.is_small(margin)

    def is_small(self, margin: float) -> bool:
        """Whether the loss is less than the margin beyond chance."""
        return self.interval.high < margin


@dataclass(frozen=True)
class Verdict:
    """Answers to two questions about a cell, and the word that both allow.

    Attributes:
        word: Verdict, see :func:`judge`.
        auroc: 95 % interval of the cell's AUROC.
        ranking: AUROC of the reference minus AUROC of the cell; None for the reference itself, or
            if the two cannot be compared.
        threshold: Macro F1 at the best threshold for other test rows minus macro F1 at 0.5.
    """

    word: Word
    auroc: Interval
    ranking: Loss | None
    threshold: Loss


def threshold_gain(cell: CellScores, prevalence: float | None = None) -> Runs:
    """Macro F1 at the best threshold minus macro F1 at 0.5, for each run of a cell.

    The threshold of a row is the best one for other rows (:func:`decide_at_best_threshold`),
    so it gains nothing on average where 0.5 is right.

    Args:
        cell: The cell; two classes.
        prevalence: Share of class 1; None: that of the test rows.
    """
    better = decide_at_best_threshold(cell.y_true, cell.scores, prevalence, cell.stories)
    at_half = cell.scores >= THRESHOLD
    after, before = (macro_f1_of(cell.y_true, decided, prevalence) for decided in (better, at_half))
    values = after - before

    def derivative(y_true: Labels, scores: Scores) -> Values:
        after, before = (
            macro_f1_derivative(y_true, decided, prevalence) for decided in (better, at_half)
        )
        return after - before

    influence = within_classes(derivative, cell.y_true, cell.scores)
    if cell.stories is not None:
        influence = sum_by_story(influence, cell.stories)
    return Runs(values, influence, cell.runs)


def weights_gain(cell: CellScores, decided: NDArray[np.intp]) -> Runs:
    """Macro F1 of other decisions minus macro F1 of the largest probability, for each run.

    Args:
        cell: The cell; more than two classes.
        decided: num_runs x num_rows class numbers, at the best weights of the classes for other
            rows (:func:`~xlt.analysis.metrics.class_weights.decide_at_best_weights`).
    """
    num_classes = count_classes(cell.scores)
    better = replace(cell, scores=np.eye(num_classes)[decided])
    after, before = (
        MetricRuns("macro_f1", num_classes=num_classes).of(own) for own in (better, cell)
    )
    return after + -before


def judge(
    auroc: Runs,
    gap: Sequence[Runs] | None,
    gain: Runs,
    *,
    is_reference: bool = False,
    margin: float = MARGIN,
    method: str = "t",
    off: Word = "threshold is off",
) -> Verdict:
    """Answer whether a cell ranks worse than its reference and whether its threshold is off.

    A cell ranks worse if the interval of its gap in AUROC is above 0. Its threshold is off if the
    gain of a better one is above 0. A best threshold cannot lose, so a mean gain of 0 would mean
    that no run gains; then runs do not differ, and whether there is a gain depends on test rows
    alone. How large it is depends on runs, too, so its interval counts both. Neither is said of a
    loss that is small. Words:

    - "chance": the interval of AUROC includes 0.5, and the cell ranks worse than the reference or
      the interval is below :data:`NEAR_CHANCE`. No threshold helps such a cell.
    - "both", "ranks worse", "threshold is off": see above; the other question may be open. These
      and the next word are only said of a cell whose interval of AUROC is above 0.5.
    - "neither found": both losses are small.
    - "reference": the cell is the reference, and nothing above is true of it.
    - "undecided": none of these, or a cell has a single run, which does not show how runs differ.

    Args:
        auroc: AUROC of the cell.
        gap: Independent groups of runs whose means add up to AUROC of the reference minus AUROC of
            the cell; None: there is nothing to compare with.
        gain: See :func:`threshold_gain` and :func:`weights_gain`.
        is_reference: Whether the cell is its own reference.
        margin: Loss below which a loss is small.
        method: Name in ``INTERVALS``.
        off: Word for a threshold that is off; with more than two classes "weights are off".
    """
    interval = INTERVALS[method]
    own, gained = interval([auroc]), interval([gain])
    ranking = _ranking(gap, interval(gap)) if gap else None
    threshold = _threshold(gain, gained)
    several = min(num_units(runs.runs) for runs in (auroc, gain, *(gap or ()))) > 1
    word: Word = "reference" if is_reference else "undecided"
    if several:
        word = _choose(own, ranking, threshold, word, margin, off)
    return Verdict(word, own, ranking, threshold)


def _choose(
    auroc: Interval, ranking: Loss | None, threshold: Loss, otherwise: Word, margin: float,
    off_word: Word,
) -> Word:  # fmt: skip
    worse = ranking is not None and ranking.is_fault(margin)
    off = threshold.is_fault(margin)
    if auroc.low <= CHANCE:  # not shown to rank: no threshold is worth a verdict
        return "chance" if worse or auroc.high < NEAR_CHANCE else otherwise
    if worse or off:
        return "both" if worse and off else "ranks worse" if worse else off_word
    small = ranking is not None and ranking.is_small(margin) and threshold.is_small(margin)
    return "neither found" if small else otherwise


def _ranking(gap: Sequence[Runs], interval: Interval) -> Loss:
    return Loss(mean(gap), interval, interval.low > 0)


def _threshold(gain: Runs, interval: Interval) -> Loss:
    """The gain of a threshold; its interval ends at 0 if only test rows show that there is one."""
    from scipy import special

    value, rows = mean([gain]), float(np.sqrt((sum_of_means([gain]) ** 2).sum()))
    factor = special.stdtrit(max(gain.influence.shape[1] - 2, 1), (1 + CONFIDENCE) / 2)
    is_shown = bool(value > factor * rows)
    low = max(interval.low, 0.0) if is_shown else interval.low
    return Loss(value, Interval(low, interval.high), is_shown)
