"""Names of the trials of a cell: a seed, or a seed on a draw of training rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from xlt.data.core.text import name_numbers
from xlt.trainables.results.plan import Plan

Run = tuple[int, int]
"""Draw and seed, which identify a trial within its cell."""


def run_name(run: Run, with_draw: bool) -> str:
    """Name a run: ``seed 1``, or ``draw 0 seed 1``."""
    draw_index, seed = run
    return f"draw {draw_index} seed {seed}" if with_draw else f"seed {seed}"


def name_runs(runs: Iterable[Run], with_draw: bool) -> str:
    """Name several runs: ``seeds 0, 2``, or ``draw 0 seeds 0, 2 and draw 1 seed 1``."""
    by_draw: dict[int, list[int]] = {}
    for draw_index, seed in runs:
        by_draw.setdefault(draw_index, []).append(seed)
    names = []
    for draw_index, seeds in by_draw.items():
        named = f"seed{'s' if len(seeds) > 1 else ''} {name_numbers(seeds)}"
        names.append(f"draw {draw_index} {named}" if with_draw else named)
    return " and ".join(names)


def has_draws(draws: Collection[int]) -> bool:
    """Whether names of runs must include the draw, because not all runs are on the first draw."""
    return bool(set(draws) - {0})


def describe_runs(plan: Plan) -> str:
    """Describe the runs that means of an experiment are taken over.

    For example, ``the seeds 0, 1, 2 on one draw of training rows``.
    """
    seeds = f"the seeds {name_numbers(plan.seeds)}"
    if len(plan.draws) == 1:
        number = f" (draw {plan.draws[0]})" * has_draws(plan.draws)
        return f"{seeds} on one draw of training rows{number}"
    most = max(len(cell.trials) for cell in plan.cells)
    if most == len(plan.draws):
        return f"{seeds}, each on its own draw of training rows"
    return (
        f"{len(plan.draws)} draws x {len(plan.seeds)} seeds (draws of training rows "
        f"{name_numbers(plan.draws)}; seeds {name_numbers(plan.seeds)})"
    )
