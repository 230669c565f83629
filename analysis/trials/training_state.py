"""Detects trials that did not train, from their training rows and history, never from test rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from xlt.trainables.metrics.arrays import CHANCE

TrainingState = Literal["trained", "stuck", "diverged"]
CellTraining = Literal["trained", "stuck", "diverged", "unstable"]

MIN_GAIN = 0.05
"""Minimal gain of a trial that trained: the share by which its loss in the last epoch is below the
entropy of the labels, which is the loss of a constant answer."""
MIN_AUROC = 0.62
"""AUROC on training rows that also counts as trained, if the loss is below the entropy at all.

The AUROC alone is no evidence: an untrained head ranks texts by any property in which the classes
differ, and so does a network whose outputs are nearly equal for all rows (docs/benchmarks.md)."""
NUM_NOISE = 3.0
"""Standard deviations by which the AUROC must also exceed chance; a high hurdle for few rows."""
MIN_SCORE_STD = 0.01
"""Standard deviation below which all scores count as equal."""
MAX_LOSS = 1.5
"""Multiple of the entropy of the labels above which a final loss counts as diverged."""


NUMBERS = ("final_loss", "label_entropy", "train_auroc", "auroc_noise", "score_std")
"""Numbers that :func:`training_state` needs; a trial that lacks one counts as trained."""


def training_state(convergence: Mapping[str, float]) -> tuple[TrainingState, str]:
    """Judge whether a trial trained.

    The second of two stages may be too short to lower its loss much. It starts with the model of
    the first one, so the loss shows nothing where that one trained.

    Args:
        convergence: The numbers in trial.json, see :func:`measure_stages`.

    Returns:
        The state, and the evidence as a phrase, which is empty for a trial that trained.
    """
    if not all(isinstance(convergence.get(name), (int, float)) for name in NUMBERS):
        return "trained", ""
    if not convergence["label_entropy"]:  # one class only: nothing to learn
        return "trained", ""
    loss, entropy = convergence["final_loss"], convergence["label_entropy"]
    auroc, std = convergence["train_auroc"], convergence["score_std"]
    ranks = auroc >= max(MIN_AUROC, CHANCE + NUM_NOISE * convergence["auroc_noise"])
    evidence = (
        f"training loss {loss:.3f} in the last epoch, {entropy:.3f} by the labels' frequencies "
        f"alone; training AUROC {auroc:.2f}"
    )
    if not math.isfinite(loss) or (loss > MAX_LOSS * entropy and not ranks):
        return "diverged", evidence
    if std < MIN_SCORE_STD:
        return "stuck", f"{evidence}; all scores within {std:.1g} of each other (std)"
    if loss > (1 - MIN_GAIN) * entropy and not (ranks and loss < entropy):
        first = {name: convergence.get(f"first_stage_{name}", math.nan) for name in NUMBERS}
        if "first_stage_final_loss" not in convergence or training_state(first)[0] != "trained":
            return "stuck", evidence
    return "trained", ""


def cell_training(states: Sequence[TrainingState]) -> CellTraining:
    """State of a cell from the states of its trials.

    Args:
        states: States of at least one trial.

    Returns:
        trained if all trials trained; unstable if only some did; otherwise diverged if any trial
        diverged, because a lower learning rate is the remedy, or stuck.
    """
    different = set(states)
    if "trained" in different:
        return "trained" if len(different) == 1 else "unstable"
    return "diverged" if "diverged" in different else "stuck"
