"""run_sweep: from an experiment to result folders; trials that are done do not run again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial

from rich.console import Console

from xlt.sweep.backends.artifact_policy import ArtifactPolicy
from xlt.sweep.backends.packs import choose_pack_size
from xlt.sweep.backends.registry import (
    Backend,
    choose_backend,
    find_backend,
    pretrain_missing,
    refuse_unknown_backend,
    refuse_unresolved,
)
from xlt.sweep.backends.unwritable import write_or_refuse
from xlt.sweep.check.preflight import Preflight, make_preflight
from xlt.sweep.check.registry import refuse_problems
from xlt.sweep.driver.console import say
from xlt.sweep.driver.lease import hold_lease
from xlt.sweep.driver.progress import Progress
from xlt.sweep.driver.session import Session, open_session
from xlt.sweep.experiment.chosen_rates import ChosenRates
from xlt.sweep.experiment.experiment import Experiment
from xlt.sweep.machines.ray_folder import find_ray_logs
from xlt.sweep.planning.cell import Cell
from xlt.sweep.planning.extensions import find_extensions
from xlt.sweep.planning.gate import (
    check_data,
    list_data_warnings,
    refuse_errors,
    refuse_other_settings,
)
from xlt.sweep.planning.grid import Grid, expand
from xlt.sweep.planning.launch_order import (
    find_first_stages,
    find_members,
    find_waits,
    sort_for_launch,
)
from xlt.sweep.planning.ledger import Ledger, read_ledger
from xlt.sweep.planning.prepare import Prepared, prepare
from xlt.sweep.planning.rescue import Stuck, find_stuck_cells, read_rescued, save_rescued
from xlt.sweep.tracking.live import LiveTracking
from xlt.trainables.results.adopt import adopt_results
from xlt.trainables.results.result import Results
from xlt.trainables.results.texts import drop_texts, save_texts
from xlt.trainables.spec.cell_key import CellKey
from xlt.trainables.spec.selection import EVERY_CELL, Selection
from xlt.trainables.spec.trial_spec import TrialSpec


@dataclass(frozen=True)
class RunOutcome:
    """The outcome of a run.

    Attributes:
        grid: The whole grid of the experiment.
        results: The results location.
        ledger: State of each trial of the selected cells after the run.
        num_run: Number of trials that were started; 0 if all were done before.
        interrupted: Whether Ctrl-C ended the run.
    """

    grid: Grid
    results: Results
    ledger: Ledger
    num_run: int
    interrupted: bool = False


def run_sweep(
    experiment: Experiment,
    results: str | None = None,
    *,
    backend: str | None = None,
    address: str | None = None,
    only: str = "",
    wait: bool = False,
    adopt: bool = False,
    console: Console | None = None,
) -> RunOutcome:
    """Run every trial of an experiment that is not done yet.

    The plan beside the results lists the whole experiment, also if only some cells run.

    Args:
        experiment: The experiment.
        results: Results location, a folder or URI; None: the location in the experiment.
        backend: ``ray``, or ``inline`` to run one trial after the other in this process; None:
            :func:`choose_backend`.
        address: Address of a running Ray cluster; None: RAY_ADDRESS, else a local cluster.
        only: Cells to run, such as ``model=llama2,pattern=ja16``; empty for all.
        wait: Whether to wait while another process runs or searches the same experiment.
        adopt: Whether a folder without a marker may be the location if it holds finished trials.
        console: Where progress is shown; None: standard error.

    Returns:
        The state of all selected trials. A failed trial raises nothing; the next run retries it.

    Raises:
        InputError: Data, base models, the results location or the cluster cannot be used, or
            another process runs the experiment; nothing was started. Or the location accepts no
            more files during the run; finished trials are kept.
    """
    if backend:
        refuse_unknown_backend(backend)
    for destination in experiment.tracking.destinations:
        destination.require_package()
    session = open_session(
        experiment, results, backend=backend, address=address, only=only, console=console
    )
    if adopt:
        adopt_results(session.location)
    session.location.prepare()
    with (
        hold_lease(session.location, experiment.name, session.console, wait=wait),
        _early_workers(experiment, session),
    ):
        return _run(prepare(experiment), session)


def _early_workers(experiment: Experiment, session: Session) -> AbstractContextManager[None]:
    """Let worker processes import torch while the data are read, if a new local Ray will run them.

    A location that has a plan of the experiment may have its results; then they import later.
    """
    cells = (CellKey(m.name, p.name) for m in experiment.models for p in experiment.patterns)
    num_trials = len(experiment.draws_and_seeds) * sum(map(session.selection.has, cells))
    is_elsewhere = session.address or os.environ.get("RAY_ADDRESS")
    is_inline = session.backend == "inline" or (session.backend is None and num_trials == 1)
    if is_elsewhere or is_inline or session.location.read_experiment(experiment.name) is not None:
        return nullcontext()
    from xlt.sweep.on_ray.local.forking import forked_workers

    return forked_workers()


def _run(prepared: Prepared, session: Session) -> RunOutcome:
    """Search rates if the experiment asks for it, run the grid, and run stuck cells again."""
    experiment, location = prepared.experiment, session.location
    has_rates = any(model.learning_rate is not None for model in prepared.models)
    if experiment.learning_rate == "auto" and has_rates:
        prepared, interrupted = _search(prepared, session)
        if interrupted:
            grid = expand(prepared)
            ledger = read_ledger(location, _trial_ids(grid.selected(session.selection)))
            return RunOutcome(grid, location, ledger, 0, interrupted=True)
    grid = expand(prepared, read_rescued(experiment, location))
    outcome = _run_grid(grid, session)
    if experiment.on_stuck == "report" or outcome.interrupted:
        return outcome
    selected = grid.selected(session.selection)
    stuck = [entry for entry in find_stuck_cells(selected, location) if not entry.cell.rescued]
    if not stuck:
        return outcome
    rescued = _rescue(prepared, session, stuck)
    if rescued is None:
        return replace(outcome, interrupted=True)
    second = _run_grid(expand(prepared, rescued), session)
    return replace(second, num_run=outcome.num_run + second.num_run)


def _search(prepared: Prepared, session: Session) -> tuple[Prepared, bool]:
    """Search learning rates for all cells, also for those that are not selected.

    The plan names the trials of all cells, and the learning rate is a part of a trial's id.

    Returns:
        The experiment with the chosen rates, and whether the search was interrupted.
    """
    from xlt.sweep.search.run import search_held

    outcome = search_held(prepared, replace(session, selection=EVERY_CELL))
    return prepared.with_rates(outcome.chosen), outcome.interrupted


def _rescue(prepared: Prepared, session: Session, stuck: list[Stuck]) -> ChosenRates | None:
    """Search learning rates for stuck cells; None if the search was interrupted."""
    from xlt.sweep.search.run import search_held

    for entry in stuck:
        line = f"{entry.cell.key} did not train: {entry}; searching a learning rate on dev rows"
        say(session.console, line)
    cells = Selection(cells=frozenset(entry.cell.key for entry in stuck))
    experiment, location = prepared.experiment, session.location
    beside = prepared.renamed(f"{experiment.name}-stuck")
    outcome = search_held(beside, replace(session, selection=cells))
    if outcome.interrupted:
        return None
    return write_or_refuse(
        location, lambda: save_rescued(experiment, location, stuck, outcome.chosen)
    )


def _run_grid(grid: Grid, session: Session) -> RunOutcome:
    """Run the trials of the selected cells that are not done."""
    experiment, location = grid.experiment, session.location
    selected = grid.selected(session.selection)
    refuse_other_settings(grid, location)
    findings = check_data(grid)
    refuse_errors(grid, findings)
    specs = [spec for cell in selected for spec in cell.specs]
    ledger = read_ledger(location, _trial_ids(selected))
    extensions = find_extensions(grid, location)
    plan = grid.plan(list_data_warnings(findings), extensions)
    write_or_refuse(location, lambda: location.save_experiment(plan, experiment.to_yaml()))
    write_or_refuse(location, lambda: _save_texts(location, grid))
    for trial_id, why in ledger.corrupt.items():
        place = write_or_refuse(location, partial(location.set_aside, trial_id))
        line = f"{trial_id} is damaged ({why}); set aside in {place}, runs again"
        say(session.console, line)
    for trial_id in ledger.failed:
        write_or_refuse(location, partial(location.remove_leftovers, trial_id))
    pending = [spec for spec in specs if spec.trial_id in set(ledger.pending)]
    if not pending:
        return RunOutcome(grid, location, ledger, 0)
    refuse_unresolved(pending)
    backend = session.backend or choose_backend(session.address, pending)
    session = replace(session, backend=backend)
    preflight = make_preflight(grid, session, ledger.states, asks_hub=False)
    refuse_problems(preflight)
    size = choose_pack_size(experiment.packing, has_gpus=preflight.has_gpus)

    interrupted = False
    runner: Backend | None = None
    logs = find_ray_logs() if session.backend == "ray" else ""
    tracking = LiveTracking(
        experiment.tracking, location, experiment.name, partial(say, session.console)
    )
    with tracking, Progress(specs, ledger.done, session.console, logs, tracking.ended) as progress:
        try:
            runner = find_backend(backend)(session.address, pending)
            pretrain_missing(grid, pending, runner, progress)
            progress.stage(f"running {len(pending)} of {len(specs)} trials")
            policy = _artifact_policy(grid, extensions)
            waits_for = find_waits(pending, policy.first_stages, policy.models, policy.members)
            order = sort_for_launch(pending, lambda spec: _base_bytes(preflight, spec), waits_for)
            runner.run(order, grid.dataset, location, policy, progress, size, waits_for)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            if runner is not None:
                runner.close()
    # A location that was lost would show no trial as done.
    write_or_refuse(location, location.require)
    ledger = write_or_refuse(location, lambda: read_ledger(location, _trial_ids(selected)))
    # Tune returns normally on Ctrl-C; then some trials are neither done nor failed.
    unfinished = any(state.state in ("absent", "corrupt") for state in ledger.states.values())
    return RunOutcome(grid, location, ledger, len(pending), interrupted or unfinished)


def _base_bytes(preflight: Preflight, spec: TrialSpec) -> float:
    """Bytes of a trial's base model; 1 for miniatures and for files that are not known."""
    files = preflight.files(spec)
    return float(sum(files.sizes.values())) if files else 1.0


def _trial_ids(cells: list[Cell]) -> list[str]:
    return [spec.trial_id for cell in cells for spec in cell.specs]


def _artifact_policy(grid: Grid, extensions: Mapping[str, str]) -> ArtifactPolicy:
    """Files that trials write besides their results, as the experiment says."""
    storage, cost = grid.experiment.storage, grid.experiment.cost
    cells = [tuple(spec.trial_id for spec in cell.specs) for cell in grid.cells]
    if storage.keep_models != "best":
        cells = []  # else ten thousand names would be sent with every trial
    return ArtifactPolicy(
        models=storage.keep_models,
        cells={trial_id: cell for cell in cells for trial_id in cell},
        explain=grid.experiment.explain,
        checkpoint_minutes=storage.checkpoint_minutes,
        extensions=extensions,
        first_stages=find_first_stages(grid.specs),
        members=find_members(grid.specs),
        energy_country=cost.energy_country if cost else "",
    )


def _save_texts(location: Results, grid: Grid) -> None:
    """Write the texts of all drawn rows, or remove them if the experiment does not keep texts."""
    name = grid.experiment.name
    if grid.experiment.storage.keep_texts:
        drawn = (row_id for draw in grid.draws for row_id in (*draw.train, *draw.test))
        save_texts(location, name, grid.dataset, drawn)
    else:
        drop_texts(location, name)
