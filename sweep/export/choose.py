"""Choose the run of a cell whose model is exported, never for being the best on test rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.trial_names import has_draws, run_name
from xlt.analysis.trials.trial_row import TrialRow
from xlt.data.core.errors import InputError, unknown
from xlt.data.core.text import first_few
from xlt.trainables.metrics.registry import METRICS, selection_metric
from xlt.trainables.results.best_model import HOW_CHOSEN
from xlt.trainables.results.layout import is_weights
from xlt.trainables.results.result import Results
from xlt.trainables.spec.methods import BASELINES, OF_A_PART


@dataclass(frozen=True)
class ChosenRun:
    """A run of a cell.

    Attributes:
        row: The run.
        name: Name within the cell, e.g. ``seed 1``.
        why: Clause that says why it was chosen and not another one.
    """

    row: TrialRow
    name: str
    why: str


def choose_run(collected: Collected, seed: int | None) -> ChosenRun:
    """Choose a done run that kept its model.

    Without a seed it is the only run that kept its model, or the one whose score is the nearest to
    the lower median of the cell's runs. So the test score of the exported model is not too high for
    having been chosen.

    Args:
        collected: The trials of one cell.
        seed: Seed of the run; None: any.

    Raises:
        InputError: The cell has no such seed, or no such run kept its model.
    """
    rows = collected.rows
    seeds = {str(row.seed) for row in rows}
    if seed is not None and str(seed) not in seeds:
        raise InputError(unknown("seed", str(seed), seeds), str(rows[0].cell))
    asked = [row for row in rows if seed in (None, row.seed)]
    kept = [row for row in asked if row.is_done and _has_model(collected, row)]
    if not kept:
        raise _explain_no_model(collected, asked)
    with_draw = has_draws([row.draw_index for row in rows])
    given = f"seed {seed} was asked for" if seed is not None else ""
    metric = selection_metric(len(collected.plan.classes))
    scored = [row for row in rows if metric in row.metrics]
    if len(kept) == 1 or not scored:
        (chosen, *_), why = kept, given or "it is the only run that kept its model"
        execution = collected.records[chosen.trial_id].get("execution", {})
        if not given and execution.get("keep_models") == "best":
            why = HOW_CHOSEN
        return ChosenRun(chosen, run_name(chosen.run, with_draw), why)
    median = sorted(row.metrics[metric] for row in scored)[(len(scored) - 1) // 2]

    def rank(row: TrialRow) -> tuple[float, float, tuple[int, int]]:
        score = row.metrics.get(metric, -1.0)
        return abs(score - median), score, row.run

    chosen = min(kept, key=rank)
    why = (
        f"of {len(kept)} runs with a kept model its {METRICS[metric].label} on the test rows is "
        f"the nearest to the lower median of {len(scored)} done runs; the best is not preferred"
    )
    return ChosenRun(
        chosen, run_name(chosen.run, with_draw), f"{given}, and {why}" if given else why
    )


def _has_model(collected: Collected, row: TrialRow) -> bool:
    return any(map(is_weights, collected.records[row.trial_id].get("files", ())))


def _explain_no_model(collected: Collected, asked: Iterable[TrialRow]) -> InputError:
    """Say which runs of the experiment kept a model, and how to keep one."""
    where = str(collected.rows[0].cell)
    methods = {row.method for row in asked if row.is_done}
    if not methods:
        states = first_few(f"{row.trial_id} is {row.state}" for row in asked)
        return InputError(f"no such run is done ({states}); `xlt run` finishes it", where)
    if methods <= {*BASELINES}:
        method = methods.pop()
        return InputError(
            f"method {method} keeps no model; choose a cell of a fine-tuning method", where
        )
    location = Results(collected.uri)
    folders = location.states(location.read_plan(collected.plan.experiment).trial_ids)
    others = [
        trial_id
        for trial_id, state in folders.items()
        if state.state == "done" and any(map(is_weights, (state.record or {}).get("files", ())))
    ]
    named = f"trials with a model: {first_few(others)}" if others else "no trial here kept one"
    setting = "adapters" if methods <= {*OF_A_PART} else "all"
    return InputError(
        f"no such run kept its model; {named}. To keep it, remove its folder and train it again "
        f"with storage.keep_models={setting}",
        where,
    )
