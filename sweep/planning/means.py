"""Means of trials (``average_seeds``) in a grid: the cells that they average, and their rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from xlt.data.core.errors import InputError
from xlt.sweep.experiment.chosen_rates import ChosenRate
from xlt.sweep.planning.cell import Cell
from xlt.sweep.planning.launch_order import find_members
from xlt.trainables.spec.cell_key import CellKey
from xlt.trainables.spec.methods import KeepModels, keeps_model


def find_averaged_cells(cells: Sequence[Cell]) -> dict[CellKey, CellKey]:
    """Find the cell whose trials each mean averages; a mean without one is left out."""
    members = find_members([spec for cell in cells for spec in cell.specs])
    if not members:
        return {}
    owner = {spec.trial_id: cell.key for cell in cells for spec in cell.specs}
    return {owner[mean_id]: owner[ids[0]] for mean_id, ids in members.items() if ids}


def share_chosen_rates(
    plain: Sequence[Cell], searched: Sequence[Cell]
) -> Mapping[CellKey, ChosenRate | None]:
    """Give means the learning rates that a search chose for the trials that they average.

    A search tries no rates for means, so without this they would average trials that were not run.

    Args:
        plain: The cells with the settings that they have without a search.
        searched: The same cells with chosen rates.

    Returns:
        The chosen rate of each cell; a mean that has a rate of its own keeps it.
    """
    chosen = {cell.key: cell.chosen for cell in searched}
    averaged = find_averaged_cells(plain)
    return chosen | {mean: chosen[cell] for mean, cell in averaged.items() if chosen[mean] is None}


def leave_out_impossible_means(cells: Sequence[Cell], keep_models: KeepModels) -> list[Cell]:
    """Leave out means of trials that are not in the grid.

    Raises:
        InputError: The averaged trials would not keep their models.
    """
    members = find_members([spec for cell in cells for spec in cell.specs])
    kept = []
    for cell in cells:
        mean = next((spec for spec in cell.specs if spec.mean_of), None)
        if mean and len(members[mean.trial_id]) < len(mean.members):
            why = "averages trials that are not in the grid: a base model with the same settings, "
            kept.append(replace(cell, specs=(), skipped=f"{why}but without average_seeds"))
            continue
        if mean and (keep_models == "best" or not keeps_model(keep_models, mean.method)):
            enough = "adapters" if keeps_model("adapters", mean.method) else "all"
            raise InputError(
                f"is {keep_models}, and {cell.key} averages kept models; set it to {enough}",
                "storage.keep_models",
            )
        kept.append(cell)
    return kept
