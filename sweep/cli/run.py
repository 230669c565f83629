"""xlt plan, run and clean: print the grid, run what is not done, remove what is left over."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from xlt.data.core.errors import InputError
from xlt.data.core.stages import show_stages
from xlt.sweep.cli.arguments import (
    add_address,
    add_adopt,
    add_backend,
    add_command,
    add_experiment,
    add_metric,
    add_only,
    add_wait,
)
from xlt.sweep.cli.exit_status import INTERRUPTED, OK, SOME_FAILED
from xlt.sweep.driver.quick_command import quick_command

if TYPE_CHECKING:
    from xlt.sweep.experiment.experiment import Experiment


def add_commands(commands: Any) -> None:
    """Add ``plan``, ``run`` and ``clean`` to the parser."""
    plan = add_command(
        commands, "plan", _plan, "Print every trial and what is done already; nothing runs.",
        "plan quickstart", "plan my.yaml --only model=llama2,pattern=ja16",
        "plan my.yaml --to-find 0.03 --earlier results",
        "plan my.yaml --to-find 0.03 --std 0.02 0.01",
    )  # fmt: skip
    plan.add_argument(
        "--to-find", type=float, metavar="D",
        help="also print how many seeds or test rows would find a true difference D of two cells",
    )  # fmt: skip
    known = plan.add_mutually_exclusive_group()
    known.add_argument(
        "--earlier", metavar="RESULTS",
        help="results with which --to-find estimates variances (default: those of the experiment)",
    )  # fmt: skip
    known.add_argument(
        "--std", type=float, nargs=2, metavar=("SEEDS", "ROWS"),
        help="standard deviations for --to-find: of a cell's score over seeds, and of the "
        "difference of two cells over test rows",
    )  # fmt: skip
    add_metric(plan)
    run = add_command(
        commands, "run", _run, "Run every trial that is not done yet, then print the tables.",
        "run quickstart",
        "run my.yaml --results s3://bucket/results --address 10.0.0.1:6379",
        "run my.yaml --set seeds=[0,1,2] --only pattern=ja0 --backend inline",
    )  # fmt: skip
    for parser in (plan, run):
        add_experiment(parser)
        add_only(parser)
    add_address(run)
    add_backend(run, "inline for a single trial on this machine, else ray")
    add_wait(run)
    add_adopt(run)
    clean = add_command(
        commands, "clean", _clean,
        "List files of a results location that no command reads again, with their sizes; --yes "
        "removes them.",
        "clean results",
        "clean s3://bucket/results --yes",
    )  # fmt: skip
    clean.add_argument("results", metavar="RESULTS", help="results location: a folder or a URI")
    clean.add_argument("--yes", action="store_true", help="remove the listed files")


@quick_command()
def _plan(options: argparse.Namespace) -> int:
    from xlt.sweep.experiment.experiment import load_experiment
    from xlt.sweep.plan_text.text import describe_plan
    from xlt.sweep.planning.grid import expand
    from xlt.sweep.planning.prepare import prepare
    from xlt.sweep.planning.rescue import read_rescued
    from xlt.trainables.metrics.registry import selection_metric
    from xlt.trainables.results.result import Results

    experiment = load_experiment(options.experiment, options.settings)
    selection = experiment.select(options.only)
    location = Results(options.results or experiment.storage.results)
    with show_stages():
        grid = expand(prepare(experiment), read_rescued(experiment, location))
        options.metric = options.metric or selection_metric(len(grid.dataset.classes))
        text = "" if options.to_find is None else _sizes(experiment, location.uri, options)
        plan = describe_plan(grid, location, selection)
    print(plan)
    if text:
        print(f"\n{text}")
    return OK


def _sizes(experiment: Experiment, uri: str, options: argparse.Namespace) -> str:
    from xlt.analysis.trials.collect import collect
    from xlt.sweep.plan_text.to_find import describe_sizes, earlier_variances, state_variances

    left_out: list[str] = []
    if options.std:
        known = state_variances(experiment, options.std)
    else:
        try:
            collected = collect(options.earlier or uri)
        except InputError as error:
            why = f"{error}; --to-find needs earlier results (--earlier) or --std SEEDS ROWS"
            raise InputError(why) from error
        known, left_out = earlier_variances(experiment, collected, options.metric)
    text = describe_sizes(experiment, options.to_find, options.metric, known)
    return "\n".join([text, *(f"Left out: {why}" for why in left_out)])


def _run(options: argparse.Namespace) -> int:
    from xlt.analysis.tables.report import render_tables
    from xlt.analysis.trials.collect import collect
    from xlt.data.core.text import first_line
    from xlt.sweep.experiment.experiment import load_experiment
    from xlt.sweep.run import run_sweep

    experiment = load_experiment(options.experiment, options.settings)
    outcome = run_sweep(
        experiment,
        options.results,
        backend=options.backend,
        address=options.address,
        only=options.only,
        wait=options.wait,
        adopt=options.adopt,
    )
    print(render_tables(collect(outcome.results, experiment.name)))
    ledger = outcome.ledger
    num_trials, num_planned = len(ledger.states), len(outcome.grid.specs)
    print(f"Results: {outcome.results.uri}")
    print(f"Report:  xlt report {outcome.results.uri} --experiment {experiment.name} --format md")
    if outcome.num_run == 0:
        print(f"All {num_trials} trials were done already; nothing ran.")
    if num_trials < num_planned:
        print(f"Selected: {num_trials} of {num_planned} trials; the others are unchanged.")
    for trial_id, error in ledger.failed.items():
        print(f"FAILED {trial_id}: {first_line(error)}", file=sys.stderr)
    again = "the same command runs the other trials, and none twice."
    if outcome.interrupted:
        print(
            f"Stopped with {len(ledger.done)} of {num_trials} trials done; {again}", file=sys.stderr
        )
        return INTERRUPTED
    if ledger.failed:
        print(f"{len(ledger.failed)} of {num_trials} trials failed; {again}", file=sys.stderr)
        return SOME_FAILED
    return OK


def _clean(options: argparse.Namespace) -> int:
    from xlt.sweep.driver.console import make_console
    from xlt.sweep.driver.lease import hold_lease
    from xlt.sweep.driver.leftovers import list_leftovers, remove_leftover
    from xlt.trainables.results.result import Results

    results = Results(options.results)
    try:
        results.check()
        results.require()
        for experiment in results.leased() if options.yes else ():
            with hold_lease(results, experiment, make_console()):
                pass  # no driver of it lives
        leftovers = list_leftovers(results)
        for leftover in leftovers:
            print(f"{leftover.size / 1e6:10,.1f} MB  {leftover.why}: {leftover.path}", flush=True)
            if options.yes:
                remove_leftover(results, leftover)
    except OSError as error:
        raise InputError(f"cannot be cleaned: {error}", f"results {results.uri}") from error
    total = f"{len(leftovers)} leftovers, {sum(item.size for item in leftovers) / 1e6:,.1f} MB"
    print(f"{total}, removed" if options.yes else total)
    if leftovers and not options.yes:
        print(f"Remove them: xlt clean {options.results} --yes", file=sys.stderr)
    return OK
