"""run: from an experiment to result folders; whatever is done already is not run again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import pyarrow as pa
from rich.console import Console

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.retry import retry
from xlt.sweep.backends.events import Unwritable
from xlt.sweep.backends.registry import (
    BACKENDS,
    Backend,
    find_backend,
    pretrain_missing,
    refuse_unresolved,
)
from xlt.sweep.backends.worker import ArtifactPolicy, refuse_unwritable
from xlt.sweep.check.machines import read_nodes
from xlt.sweep.check.preflight import Preflight
from xlt.sweep.check.registry import refuse_problems
from xlt.sweep.driver.lease import held
from xlt.sweep.driver.progress import Progress
from xlt.sweep.experiment.chosen_rates import ChosenRates
from xlt.sweep.experiment.experiment import Experiment
from xlt.sweep.planning.gate import check_data, data_warnings, refuse_errors
from xlt.sweep.planning.grid import Cell, Grid, expand
from xlt.sweep.planning.launch_order import launch_order
from xlt.sweep.planning.ledger import Ledger, read_ledger
from xlt.sweep.planning.packs import pack_size
from xlt.sweep.planning.prepare import Prepared, prepare
from xlt.sweep.planning.rescue import Stuck, read_rescued, save_rescued, stuck_cells
from xlt.trainables.results.result import Results
from xlt.trainables.results.texts import drop_texts, save_texts
from xlt.trainables.spec.selection import EVERY_CELL, Selection
from xlt.trainables.spec.trial_spec import TrialSpec

Made = TypeVar("Made")


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        grid: What was planned.
        results: Where the results lie.
        ledger: What is done, failed and pending now of the selected cells.
        num_run: Trials that this run started with; 0 if everything was done before.
        interrupted: Whether Ctrl-C ended it.
    """

    grid: Grid
    results: Results
    ledger: Ledger
    num_run: int
    interrupted: bool = False


def run(
    experiment: Experiment,
    results: str | None = None,
    *,
    selection: Selection = EVERY_CELL,
    backend: str = "ray",
    address: str | None = None,
    wait: bool = False,
    console: Console | None = None,
) -> Outcome:
    """Run every trial of an experiment that is not done yet.

    The plan beside the results is of the whole experiment, whatever is selected.

    Args:
        experiment: What to run.
        results: Location of the results; None: the experiment's own.
        selection: Which cells.
        backend: A name in :data:`BACKENDS`.
        address: Of a running Ray cluster; None: RAY_ADDRESS, else a local one.
        wait: Whether to wait while another driver runs or searches the same experiment.
        console: Where progress is shown; None: standard error.

    Returns:
        What is done, failed and pending. Failed trials do not raise; the next run tries them again.

    Raises:
        InputError: Data, grid, location or cluster cannot be used, or another driver holds the
            experiment, and nothing was started; or the location takes no more files; what was
            finished by then is kept.
    """
    if backend not in BACKENDS:
        raise InputError(unknown("backend", backend, BACKENDS))
    console = console or Console(stderr=True)
    location = Results(results or experiment.storage.results)
    location.prepare()
    with held(location, experiment.name, console, wait=wait):
        return _run(prepare(experiment), location, selection, backend, address, console)


def _run(
    prepared: Prepared, location: Results, selection: Selection, backend: str,
    address: str | None, console: Console,
) -> Outcome:  # fmt: skip
    """As :func:`run`, by the driver that holds the experiment."""
    experiment = prepared.experiment
    if experiment.learning_rate == "auto":
        prepared, interrupted = _searched(prepared, location, address, console)
        if interrupted:
            grid = expand(prepared)
            ledger = read_ledger(location, _trial_ids(grid.selected(selection)))
            return Outcome(grid, location, ledger, 0, interrupted=True)
    grid = expand(prepared, read_rescued(experiment, location))
    outcome = _run_grid(grid, location, selection, backend, address, console)
    if experiment.on_stuck == "report" or outcome.interrupted:
        return outcome
    selected = grid.selected(selection)
    stuck = [one for one in stuck_cells(selected, location) if not one.cell.rescued]
    if not stuck:
        return outcome
    rescued = _rescue(prepared, location, stuck, address, console)
    if rescued is None:
        return replace(outcome, interrupted=True)
    grid = expand(prepared, rescued)
    again = _run_grid(grid, location, selection, backend, address, console)
    return replace(again, num_run=outcome.num_run + again.num_run)


def _searched(
    prepared: Prepared, location: Results, address: str | None, console: Console
) -> tuple[Prepared, bool]:
    """The experiment with searched learning rates; whether the search was interrupted.

    Of every cell: the plan names the trials of all, and a rate is part of a trial's identity.
    """
    from xlt.sweep.search.run import search_held

    outcome = search_held(prepared, location, EVERY_CELL, address, console)
    return prepared.with_rates(outcome.chosen), outcome.interrupted


def _rescue(
    prepared: Prepared, location: Results, stuck: list[Stuck], address: str | None,
    console: Console,
) -> ChosenRates | None:  # fmt: skip
    """Search the learning rates of stuck cells; None if that was interrupted."""
    from xlt.sweep.search.run import search_held

    for one in stuck:
        console.print(
            f"{one.cell.key} did not train: {one}; searching a "
            "learning rate on dev rows",
            highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip
    selection = Selection(cells=frozenset(one.cell.key for one in stuck))
    experiment = prepared.experiment
    named = prepared.renamed(f"{experiment.name}-stuck")
    outcome = search_held(named, location, selection, address, console)
    if outcome.interrupted:
        return None
    return _write(location, lambda: save_rescued(experiment, location, stuck, outcome.chosen))


def _run_grid(
    grid: Grid, location: Results, selection: Selection, backend: str, address: str | None,
    console: Console,
) -> Outcome:  # fmt: skip
    """Run what is not done of a grid's selected cells."""
    experiment, selected = grid.experiment, grid.selected(selection)
    _refuse_other_settings(location, grid)
    findings = check_data(grid)
    refuse_errors(grid, findings)
    plan = grid.plan(data_warnings(findings))
    _write(location, lambda: location.save_experiment(plan, experiment.to_yaml()))
    _write(location, lambda: _keep_texts(location, grid))
    specs = [spec for cell in selected for spec in cell.specs]
    ledger = read_ledger(location, _trial_ids(selected))
    for trial_id, why in ledger.corrupt.items():
        place = location.set_aside(trial_id)
        console.print(f"{trial_id} is damaged ({why}); set aside in {place}, runs again")
    for trial_id in ledger.failed:
        location.remove_leftovers(trial_id)
    pending = [spec for spec in specs if spec.trial_id in set(ledger.pending)]
    if not pending:
        return Outcome(grid, location, ledger, 0)
    refuse_unresolved(pending)
    nodes = read_nodes(address if backend == "ray" else None)
    preflight = Preflight(grid, location, nodes, ledger.states, backend, asks_hub=False)
    refuse_problems(preflight)
    size = pack_size(experiment.packing, has_gpus=preflight.has_gpus)

    interrupted = False
    runner: Backend | None = None
    with Progress(specs, ledger.done, console) as progress:
        try:
            runner = find_backend(backend)(address, pending)
            pretrain_missing(grid, pending, runner, progress)
            progress.stage(f"running {len(pending)} of {len(specs)} trials")
            order = launch_order(pending, lambda spec: _size(preflight, spec))
            runner.run(order, grid.dataset, location, _artifact_policy(grid), progress, size)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            if runner is not None:
                runner.close()
    ledger = retry(lambda: read_ledger(location, _trial_ids(selected)))
    # Tune ends quietly on Ctrl-C: what was neither done nor failed was not let finish.
    unfinished = any(state.state in ("absent", "corrupt") for state in ledger.states.values())
    return Outcome(grid, location, ledger, len(pending), interrupted or unfinished)


def _write(location: Results, function: Callable[[], Made]) -> Made:
    """What a function that writes returns, after an outage if need be.

    Raises:
        InputError: The location takes no files, and waiting did not help.
    """
    try:
        return retry(function)
    except (pa.ArrowException, OSError) as error:
        refuse_unwritable(location, Unwritable(str(error)))
        raise


def _size(preflight: Preflight, spec: TrialSpec) -> float:
    """Bytes of a trial's base model; those that are not known, miniatures too, count alike."""
    files = preflight.files(spec)
    return float(sum(files.sizes.values())) if files else 1.0


def _trial_ids(cells: list[Cell]) -> list[str]:
    return [spec.trial_id for cell in cells for spec in cell.specs]


def _artifact_policy(grid: Grid) -> ArtifactPolicy:
    """What trials leave besides their results, as the experiment says."""
    storage = grid.experiment.storage
    cells = [tuple(spec.trial_id for spec in cell.specs) for cell in grid.cells]
    if storage.keep_models != "best":
        cells = []  # ten thousand names would travel to every trial
    return ArtifactPolicy(
        models=storage.keep_models,
        cells={trial_id: cell for cell in cells for trial_id in cell},
        explain=grid.experiment.explain,
        checkpoint_minutes=storage.checkpoint_minutes,
    )


def _keep_texts(location: Results, grid: Grid) -> None:
    """The texts of all rows that the grid draws, or none, as the experiment says."""
    name = grid.experiment.name
    if grid.experiment.storage.keep_texts:
        drawn = (row_id for draw in grid.draws for row_id in (*draw.train, *draw.test))
        save_texts(location, name, grid.dataset, drawn)
    else:
        drop_texts(location, name)


def _refuse_other_settings(location: Results, grid: Grid) -> None:
    """Refuse to put two experiments of one name, but other settings, into one place.

    Base models, patterns, seeds, overrides, resources and storage may change between runs:
    that is how an experiment grows.
    """
    experiment = grid.experiment
    if experiment.name not in location.experiments():
        return
    there = Experiment.from_yaml(*location.read_experiment(experiment.name))
    differences = [
        f"{field}.{key}: {old.get(key)!r} there, {new.get(key)!r} here"
        for field in ("task", "sampling", "training")
        for old, new in [
            (getattr(there, field).model_dump(), getattr(experiment, field).model_dump())
        ]
        for key in new
        if old.get(key) != new[key]
    ]
    if location.read_plan(experiment.name).data_fingerprint != grid.dataset.fingerprint:
        differences.append("data: other rows there than here")
    if differences:
        raise InputError(
            [
                f"an experiment {experiment.name!r} with other settings lies in {location.uri}; "
                "give this one another name (--set name=...) or another --results",
                *differences,
            ]
        )
