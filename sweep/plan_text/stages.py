"""Sentences of a plan about trainings in two stages, and the steps that kept models save."""

from __future__ import annotations

from xlt.sweep.planning.grid import Grid
from xlt.sweep.planning.launch_order import count_saved_steps, find_first_stages, find_waits
from xlt.trainables.spec.trial_spec import TrialSpec


def describe_regime(spec: TrialSpec) -> str:
    """Describe the two stages of a cell's trials; empty if they have one."""
    if not spec.training.has_stages:
        return ""
    first, second = (f"{stage.num_steps:,}" for stage in spec.stages)
    rows = "source rows" if spec.training.regime == "sequential" else "all rows"
    at_most = "at most " * bool(spec.training.early_stopping)
    return f"{spec.training.regime}: {first} steps on {rows}, then {at_most}{second} on target rows"


def describe_stages(grid: Grid) -> list[str]:
    """Count the steps of both stages, and those that kept models save."""
    staged = [spec for spec in grid.specs if spec.training.has_stages and not spec.mean_of]
    if not staged:
        return []
    num_first = sum(spec.stages[0].num_steps for spec in staged)
    num_second = sum(spec.stages[1].num_steps for spec in staged)
    at_most = "at most " * any(spec.training.early_stopping for spec in staged)
    lines = [
        f"{len(staged)} trials train in two stages: {num_first:,} steps in the first one and "
        f"{at_most}{num_second:,} in the second one"
    ]
    shared = find_first_stages(grid.specs)
    if not shared:
        return lines
    by_id = {spec.trial_id: spec for spec in grid.specs}
    keep_models = grid.experiment.storage.keep_models
    kept = find_waits(grid.specs, shared, keep_models)
    firsts = sorted({by_id[first_id].pattern.name for first_id in shared.values()})
    start = f"of {len(grid.specs)} trials start from kept models of {', '.join(firsts)}"
    saved = count_saved_steps([by_id[i] for i in kept], shared)
    if kept:
        lines.append(f"{len(kept)} {start}, and {saved:,} steps are saved")
    if len(kept) < len(shared):
        all_saved = count_saved_steps(staged, shared)
        lines.append(
            f"Set storage.keep_models: all; then {len(shared)} {start}, and {all_saved:,} steps "
            "are saved"
        )
    return lines
