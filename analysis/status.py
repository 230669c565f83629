"""What is done, failed and missing in a results location, in words."""

from __future__ import annotations

from collections import Counter

from analysis.cells import first_line
from analysis.collect import Collected

SIGNS = {"done": "+", "failed": "x", "corrupt": "!", "missing": "."}
"""State of a trial -> its sign in the grid."""


def status(collected: Collected) -> str:
    """A grid with a sign for each seed, the counts, and every error.

    Args:
        collected: An experiment's trials, see :func:`analysis.collect.collect`.
    """
    plan = collected.plan
    rows = collected.table.select(["trial_id", "state", "detail"]).to_pylist()
    states = {row["trial_id"]: row["state"] for row in rows}
    counts = Counter(states.values())
    told = ", ".join(f"{counts[state]} {state}" for state in SIGNS if counts[state])
    lines = [f"Experiment {plan.experiment}: {told} of {len(states)} trials", ""]

    signs = {
        (cell.base_model, cell.pattern): "".join(SIGNS[states[t.trial_id]] for t in cell.trials)
        for cell in plan.cells
    }
    first = max(map(len, ["base model", *plan.base_models]))
    width = max(len(plan.seeds), *map(len, plan.patterns))
    lines.append("  ".join(["base model".ljust(first), *(p.ljust(width) for p in plan.patterns)]))
    for model in plan.base_models:
        row = [(signs[model, pattern] or "-").ljust(width) for pattern in plan.patterns]
        lines.append("  ".join([model.ljust(first), *row]))
    legend = ", ".join(f"{sign} {state}" for state, sign in SIGNS.items())
    lines += ["", f"One sign a seed {plan.seeds}: {legend}, - cannot exist"]
    for row in rows:
        if row["state"] in ("failed", "corrupt"):
            lines.append(f"{row['state']} {row['trial_id']}: {first_line(row['detail'])}")
    lines += [f"warning: {warning}" for warning in collected.warnings]
    return "\n".join(line.rstrip() for line in lines)
