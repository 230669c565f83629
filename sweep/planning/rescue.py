"""Rescue of stuck cells: find cells that did not train, and run them again with a searched rate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from xlt.analysis.trials.training_state import TrainingState, training_state
from xlt.sweep.experiment.chosen_rates import ChosenRates
from xlt.sweep.experiment.experiment import Experiment
from xlt.sweep.experiment.settings_file import parse_settings
from xlt.sweep.planning.cell import Cell
from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import TrialState

STUCK_SHARE = 0.5
"""A learning rate is searched for a cell if at least this share of its trials did not train; a cell
with fewer such trials is only reported."""


@dataclass(frozen=True)
class Stuck:
    """A cell that did not train.

    Attributes:
        cell: The cell.
        states: Training state of each finished trial.
        evidence: Evidence of the first trial that did not train.
    """

    cell: Cell
    states: tuple[TrainingState, ...]
    evidence: str

    def __str__(self) -> str:
        """Describe trials, learning rate and evidence."""
        counts = Counter(state for state in self.states if state != "trained")
        numbers = ", ".join(f"{num} {state}" for state, num in counts.items())
        return (
            f"{numbers} of {len(self.states)} trials at learning rate "
            f"{self.cell.specs[0].learning_rate:g} ({self.evidence})"
        )


def find_training_state(trial: TrialState) -> tuple[TrainingState, str] | None:
    """Return whether a trial trained, with the evidence; None if it has not finished."""
    if trial.state == "failed" and trial.detail.startswith("DivergedError"):
        return "diverged", trial.detail
    if trial.state == "done" and trial.record is not None:
        return training_state(trial.record.get("convergence") or {})
    return None


def find_stuck_cells(cells: Sequence[Cell], results: Results) -> list[Stuck]:
    """Find cells in which at least :data:`STUCK_SHARE` of the trials did not train."""
    states = results.states(spec.trial_id for cell in cells for spec in cell.specs)
    stuck = []
    for cell in cells:
        ended = [state for s in cell.specs if (state := find_training_state(states[s.trial_id]))]
        bad = [evidence for state, evidence in ended if state != "trained"]
        if bad and len(bad) >= STUCK_SHARE * len(cell.specs):
            stuck.append(Stuck(cell, tuple(state for state, _ in ended), bad[0]))
    return stuck


def read_rescued(experiment: Experiment, results: Results) -> ChosenRates | None:
    """Read the rates with which an earlier run of this experiment ran stuck cells again."""
    stored = results.read_rescued(experiment.name) if experiment.on_stuck == "search" else None
    if stored is None:
        return None
    text, path = stored
    return ChosenRates.parse(parse_settings(text, path), path)


def save_rescued(
    experiment: Experiment, results: Results, stuck: list[Stuck], chosen: ChosenRates
) -> ChosenRates:
    """Write the rates that were searched for stuck cells, with the rates that they replace.

    Rates of other cells, which an earlier run has written, are kept.
    """
    cells = []
    for entry in stuck:
        rate = chosen.find(entry.cell.key)
        if rate is not None:
            changes = {
                "why": f"{entry}; {rate}", "instead_of": entry.cell.specs[0].learning_rate,
            }  # fmt: skip
            cells.append(rate.model_copy(update=changes))
    before = read_rescued(experiment, results)
    earlier = before.cells if before and before.data_fingerprint == chosen.data_fingerprint else ()
    replaced = {cell.key for cell in cells}
    kept = [cell for cell in earlier if cell.key not in replaced]
    rescued = chosen.model_copy(update={"cells": (*kept, *cells)})
    results.save_rescued(experiment.name, rescued.to_yaml())
    return rescued
