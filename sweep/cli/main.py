"""xlt: plan, run, search, status, report and everything that is read from results or data."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

from xlt.data.core.errors import InputError
from xlt.sweep.cli.analysis import add_analysis_commands, add_interval_method
from xlt.sweep.cli.arguments import add_address, add_cells, add_experiment_arguments, add_wait
from xlt.sweep.cli.check import add_check_command
from xlt.sweep.cli.cluster import add_cluster_commands
from xlt.sweep.cli.data import add_data_commands
from xlt.sweep.cli.explain import add_explain_commands
from xlt.sweep.cli.lit import add_lit_commands
from xlt.sweep.cli.predict import add_predict_command
from xlt.sweep.cli.report import WATCH_SECONDS, write_report
from xlt.sweep.cli.search import add_search_command
from xlt.sweep.cli.submit import add_submit_commands

DONE, SOME_FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
"""Exit statuses: all trials done; some failed; nothing was started; Ctrl-C."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    command: Callable[[Any], int] = options.command
    try:
        return command(options)
    except InputError as error:
        print(f"xlt: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader, e.g. head, has seen enough
        sys.stderr.close()
        return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="xlt",
        description="Measures how well language models carry a task from one language to another.",
        epilog="Exit status: 0 all done, 1 some trials failed, 2 bad input, 130 interrupted.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[Any], int], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(command=command)
        return sub

    plan = add("plan", _plan, "Print the grid and what is done already; launch nothing.")
    run = add("run", _run, "Run every trial that is not done yet, then print the tables.")
    for sub in (plan, run):
        add_experiment_arguments(sub)
        add_cells(sub)
    add_address(run)
    add_wait(run)
    run.add_argument("--backend", default="tune", help="tune (default) or inline")

    add_submit_commands(commands)
    add_check_command(commands)
    add_cluster_commands(commands)

    status = add("status", _status, "Print what is done, failed and missing in a location.")
    report = add("report", write_report, "Print the tables of an experiment.")
    for sub in (status, report):
        sub.add_argument("results", metavar="RESULTS", help="folder or URI")
        sub.add_argument("--experiment", metavar="NAME", help="which one, if there are several")
    report.add_argument(
        "--format", default="text", help="text (default), md, latex, csv, html or parquet (rows)"
    )
    report.add_argument("--out", metavar="FILE", help="write it there; html and parquet need one")
    report.add_argument(
        "--watch", nargs="?", type=int, const=WATCH_SECONDS, metavar="SECONDS",
        help=f"html: write it again while trials end, until all are done ({WATCH_SECONDS})",
    )  # fmt: skip
    report.add_argument(
        "--published",
        action="store_true",
        help="put the paper's values beside ours; html always does",
    )
    report.add_argument(
        "--intervals",
        action="store_true",
        help="put 95 %% intervals over seeds and test rows; html always does",
    )
    add_interval_method(report)
    add_analysis_commands(commands)
    add_explain_commands(commands)
    add_lit_commands(commands)
    add_predict_command(commands)
    add_data_commands(commands)
    add_search_command(commands)
    return parser


def _plan(options: argparse.Namespace) -> int:
    from xlt.sweep.experiment.experiment import load_experiment
    from xlt.sweep.experiment.selection import select_cells
    from xlt.sweep.planning.grid import expand
    from xlt.sweep.planning.prepare import prepare
    from xlt.sweep.planning.rescue import read_rescued
    from xlt.sweep.planning.text import describe_plan
    from xlt.trainables.results.result import Results

    experiment = load_experiment(options.experiment, options.settings)
    selection = select_cells(options.cells, experiment)
    location = Results(options.results or experiment.storage.results)
    grid = expand(prepare(experiment), read_rescued(experiment, location))
    print(describe_plan(grid, location, selection))
    return DONE


def _run(options: argparse.Namespace) -> int:
    from rich.console import Console

    from xlt.data.core.text import first_line
    from xlt.sweep.experiment.experiment import load_experiment
    from xlt.sweep.experiment.selection import select_cells
    from xlt.sweep.run import run

    experiment = load_experiment(options.experiment, options.settings)
    outcome = run(
        experiment,
        options.results,
        selection=select_cells(options.cells, experiment),
        backend=options.backend,
        address=options.address,
        wait=options.wait,
        console=Console(stderr=True),
    )
    print(_tables(outcome.results, experiment.name))
    ledger = outcome.ledger
    num_trials, num_planned = len(ledger.states), len(outcome.grid.specs)
    print(f"Results: {outcome.results.uri}")
    print(f"Report:  xlt report {outcome.results.uri} --experiment {experiment.name} --format md")
    if outcome.num_run == 0:
        print(f"All {num_trials} trials were done already; nothing ran.")
    if num_trials < num_planned:
        print(f"Selected: {num_trials} of {num_planned} trials; the others are left as they are.")
    for trial_id, error in ledger.failed.items():
        print(f"FAILED {trial_id}: {first_line(error)}", file=sys.stderr)
    again = "the same command runs what is left, and nothing twice."
    if outcome.interrupted:
        print(
            f"Stopped with {len(ledger.done)} of {num_trials} trials done; {again}", file=sys.stderr
        )
        return INTERRUPTED
    if ledger.failed:
        print(f"{len(ledger.failed)} of {num_trials} trials failed; {again}", file=sys.stderr)
        return SOME_FAILED
    return DONE


def _status(options: argparse.Namespace) -> int:
    from xlt.analysis.trials.collect import collect
    from xlt.analysis.trials.status import status

    print(status(collect(options.results, options.experiment, allow_mixed=True)))
    return DONE


def _tables(results: Any, experiment: str) -> str:
    from xlt.analysis.tables.report import render_tables
    from xlt.analysis.trials.collect import collect

    return render_tables(collect(results, experiment))
