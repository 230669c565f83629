"""Whether a trial trained, judged from its training rows and history, never from test rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

TrainingState = Literal["trained", "stuck", "diverged"]
CellTraining = Literal["trained", "stuck", "diverged", "unstable"]

MIN_GAIN = 0.05
"""A trial whose loss in the last epoch is not below the labels' entropy by this share of it has
learnt no more than how frequent the labels are ..."""
MIN_AUROC = 0.62
"""... unless the loss is below the entropy at all and it ranks its training rows so well ...

A ranking alone says little: a head that was never trained ranks, too, by whatever in the texts the
classes differ in, and so does a network whose outputs collapsed to nearly the same for every row
(docs/benchmarks.md)."""
NUM_NOISE = 3.0
"""... and above chance by so many standard deviations, which few rows reach by a good loss only."""
MIN_SCORE_STD = 0.01
"""Scores that differ by less say the same of every row."""
MAX_LOSS = 1.5
"""A final loss above this many times the labels' entropy is worse than any constant answer."""


NUMBERS = ("final_loss", "label_entropy", "train_auroc", "auroc_noise", "score_std")
"""What is judged; a record that lacks one is not accused."""


def training_state(convergence: Mapping[str, float]) -> tuple[TrainingState, str]:
    """Judge the numbers of :func:`convergence`.

    Returns:
        The state, and the evidence in words; empty for a trial that trained or whose numbers are
        not there.
    """
    if not all(isinstance(convergence.get(name), (int, float)) for name in NUMBERS):
        return "trained", ""
    if not convergence["label_entropy"]:  # one class only: nothing to learn
        return "trained", ""
    loss, entropy = convergence["final_loss"], convergence["label_entropy"]
    auroc, std = convergence["train_auroc"], convergence["score_std"]
    ranks = auroc >= max(MIN_AUROC, 0.5 + NUM_NOISE * convergence["auroc_noise"])
    told = (
        f"training loss {loss:.3f} in the last epoch, {entropy:.3f} by the labels' frequencies "
        f"alone; training AUROC {auroc:.2f}"
    )
    if not math.isfinite(loss) or (loss > MAX_LOSS * entropy and not ranks):
        return "diverged", told
    if std < MIN_SCORE_STD:
        return "stuck", f"{told}; all scores within {std:.1g} of each other (std)"
    if loss > (1 - MIN_GAIN) * entropy and not (ranks and loss < entropy):
        return "stuck", told
    return "trained", ""


def cell_training(states: Sequence[TrainingState]) -> CellTraining:
    """State of a cell whose trials are in these states, at least one.

    Returns:
        trained if all are; unstable if some are and others are not; else diverged if any is, as
        a lower rate is what mends it, or stuck.
    """
    found = set(states)
    if "trained" in found:
        return "trained" if len(found) == 1 else "unstable"
    return "diverged" if "diverged" in found else "stuck"
