"""Status of an experiment as text: done, failed and missing trials."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.trial_names import has_draws
from xlt.analysis.trials.trial_row import RowState
from xlt.data.core.text import first_line, plain_line
from xlt.trainables.results.plan import PlannedCell
from xlt.trainables.spec.cell_key import CellKey

SIGNS: dict[RowState, str] = {"done": "+", "failed": "x", "corrupt": "!", "missing": "."}
"""State of a trial -> its sign in the grid."""


def status(collected: Collected) -> str:
    """The number of trials in each state, a grid with a sign for each trial, and all errors.

    Args:
        collected: The experiment.
    """
    plan = collected.plan
    states = {row.trial_id: row.state for row in collected.rows}
    counts = Counter(states.values())
    by_state = ", ".join(f"{counts[state]} {state}" for state in SIGNS if counts[state])
    lines = [f"Experiment {plan.experiment}: {by_state} of {len(states)} trials", ""]

    signs = {cell.key: _signs(cell, states) for cell in plan.cells}
    first = max(map(len, ["base model", *plan.base_models]))
    width = max(*map(len, signs.values()), *map(len, plan.patterns))
    lines.append("  ".join(["base model".ljust(first), *(p.ljust(width) for p in plan.patterns)]))
    for model in plan.base_models:
        keys = (CellKey(model, pattern) for pattern in plan.patterns)
        shown = [(signs.get(key) or "-").ljust(width) for key in keys]
        lines.append("  ".join([model.ljust(first), *shown]))
    legend = ", ".join(f"{sign} {state}" for state, sign in SIGNS.items())
    draws = f", one group per draw {plan.draws}" if has_draws(plan.draws) else ""
    lines += ["", f"One sign per seed {plan.seeds}{draws}: {legend}, - cannot exist"]
    for row in collected.rows:
        if row.state in ("failed", "corrupt"):
            lines.append(f"{row.state} {row.trial_id}: {first_line(row.detail)}")
    lines += [f"warning: {warning}" for warning in collected.warnings]
    return "\n".join(plain_line(line).rstrip() for line in lines)


def _signs(cell: PlannedCell, states: Mapping[str, RowState]) -> str:
    """One sign for each seed; spaces separate draws."""
    by_draw: dict[int, str] = {}
    for trial in cell.trials:
        sign = SIGNS[states[trial.trial_id]]
        by_draw[trial.draw_index] = by_draw.get(trial.draw_index, "") + sign
    return " ".join(by_draw.values())
