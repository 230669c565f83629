"""Cells that did not train: found from their training rows, searched, and run again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from xlt.analysis.trials.training_state import TrainingState, training_state
from xlt.sweep.experiment.chosen_rates import ChosenRates
from xlt.sweep.experiment.experiment import Experiment
from xlt.sweep.experiment.settings_file import parse_settings
from xlt.sweep.planning.grid import Cell
from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import TrialState

STUCK_SHARE = 0.5
"""A cell is searched if so many of its trials did not train; a single bad seed is only told."""


@dataclass(frozen=True)
class Stuck:
    """A cell that did not train.

    Attributes:
        cell: The cell.
        states: State of each of its trials that ended.
        evidence: Of the first that did not train.
    """

    cell: Cell
    states: tuple[TrainingState, ...]
    evidence: str

    def __str__(self) -> str:
        """As people say it."""
        counts = Counter(state for state in self.states if state != "trained")
        told = ", ".join(f"{num} {state}" for state, num in counts.items())
        return (
            f"{told} of {len(self.states)} trials at learning rate "
            f"{self.cell.specs[0].learning_rate:g} ({self.evidence})"
        )


def state_of(found: TrialState) -> tuple[TrainingState, str] | None:
    """Whether a trial trained, and the evidence; None for one that has not ended."""
    if found.state == "failed" and found.detail.startswith("DivergedError"):
        return "diverged", found.detail
    if found.state == "done" and found.record is not None:
        return training_state(found.record.get("convergence") or {})
    return None


def stuck_cells(cells: Sequence[Cell], results: Results) -> list[Stuck]:
    """Those of which at least :data:`STUCK_SHARE` of the trials did not train."""
    states = results.states(spec.trial_id for cell in cells for spec in cell.specs)
    found = []
    for cell in cells:
        ended = [one for s in cell.specs if (one := state_of(states[s.trial_id]))]
        bad = [evidence for state, evidence in ended if state != "trained"]
        if bad and len(bad) >= STUCK_SHARE * len(cell.specs):
            found.append(Stuck(cell, tuple(state for state, _ in ended), bad[0]))
    return found


def read_rescued(experiment: Experiment, results: Results) -> ChosenRates | None:
    """The rates with which cells were run again by an earlier run of this experiment."""
    stored = results.read_rescued(experiment.name) if experiment.on_stuck == "search" else None
    if stored is None:
        return None
    text, path = stored
    return ChosenRates.parse(parse_settings(text, path), path)


def save_rescued(
    experiment: Experiment, results: Results, stuck: list[Stuck], chosen: ChosenRates
) -> ChosenRates:
    """Write the rates found for stuck cells, with what they replace; cells without one stay."""
    cells = []
    for one in stuck:
        rate = chosen.find(one.cell.key)
        if rate is not None:
            stuck_at = one.cell.specs[0].learning_rate
            cells.append(rate.model_copy(update={"why": f"{one}; {rate}", "instead_of": stuck_at}))
    before = read_rescued(experiment, results)
    known = before.cells if before and before.data_fingerprint == chosen.data_fingerprint else ()
    again = {cell.key for cell in cells}
    kept = [cell for cell in known if cell.key not in again]
    rescued = chosen.model_copy(update={"cells": (*kept, *cells)})
    results.save_rescued(experiment.name, rescued.to_yaml())
    return rescued
