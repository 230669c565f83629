"""Sentences of a plan on settings that change how much training rows weigh."""

from __future__ import annotations

from collections import defaultdict

from xlt.data.core.text import first_few
from xlt.sweep.planning.grid import Grid
from xlt.trainables.spec.trial_spec import TrialSpec

ONE_KIND = "there are no source rows or no target rows"
WITHOUT_EFFECT = {
    "regime": f"{ONE_KIND}, so that cells train as joint",
    "target_stage": "cells train as joint",
    "target_share": ONE_KIND,
    "loss_weights": "all rows weigh the same",
}
"""Setting of ``training`` -> cells in which it changes nothing."""


def describe_without_effect(grid: Grid) -> list[str]:
    """Write a sentence for each setting of ``training`` that changes nothing in some cells."""
    cells: dict[str, list[str]] = defaultdict(list)
    for cell in grid.cells:
        for name in cell.without_effect:
            cells[name].append(str(cell.key))
    return [
        f"training.{name} has no effect where {reason}: {first_few(keys)}"
        for name, keys in cells.items()
        for reason in [WITHOUT_EFFECT[name]]
    ]


def describe_target_share(spec: TrialSpec) -> str:
    """Describe what ``target_share`` adds to an epoch; empty without it."""
    training = spec.training
    if training.target_share is None:
        return ""
    without = training.model_copy(update={"target_share": None})
    plain = spec.model_copy(update={"training": without})
    first, before_first = spec.stages[0], plain.stages[0]
    steps, before = (s.num_steps // training.num_train_epochs for s in (first, before_first))
    return f"target_share {training.target_share}: {steps} instead of {before} steps an epoch"
