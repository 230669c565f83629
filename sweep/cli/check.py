"""xlt check: what would stop or spoil a run, what it needs and how long it takes."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from xlt.data.core.errors import InputError, unknown
from xlt.sweep.cli.arguments import (
    add_address,
    add_backend,
    add_command,
    add_experiment,
    add_only,
)
from xlt.sweep.cli.exit_status import FINDINGS, OK


def add_check_command(commands: Any) -> None:
    """Add ``check`` to the parser."""
    parser = add_command(
        commands, "check", _check,
        "Check access, memory, machines, disk and time before anything is spent; exit status 3 "
        "if something would stop the run.",
        "check paper --address 10.0.0.1:6379",
        "check my.yaml --only model=llama2 --backend inline",
    )  # fmt: skip
    add_experiment(parser)
    add_only(parser)
    add_address(parser)
    add_backend(parser)


def _check(options: argparse.Namespace) -> int:
    from xlt.data.core.finding import Finding
    from xlt.sweep.backends.registry import BACKENDS
    from xlt.sweep.check.machines import read_nodes
    from xlt.sweep.check.models import hub_problems
    from xlt.sweep.check.preflight import Preflight
    from xlt.sweep.check.registry import run_checks
    from xlt.sweep.check.text import describe_check, describe_problems
    from xlt.sweep.experiment.experiment import load_experiment
    from xlt.sweep.planning.grid import expand
    from xlt.sweep.planning.ledger import read_ledger
    from xlt.sweep.planning.prepare import prepare
    from xlt.sweep.planning.rescue import read_rescued
    from xlt.trainables.results.result import Results

    if options.backend not in BACKENDS:
        raise InputError(unknown("backend", options.backend, BACKENDS))
    experiment = load_experiment(options.experiment, options.settings)
    selection = experiment.select(options.only)
    location = Results(options.results or experiment.storage.results)
    location.check()
    try:
        grid = expand(prepare(experiment), read_rescued(experiment, location))
    except InputError as error:
        told = [f"{error.where}: {one}" if error.where else one for one in error.problems]
        more = hub_problems(experiment.models)
        raise InputError(dict.fromkeys([*told, *more])) from error
    cells = grid.selected(selection)
    states = read_ledger(location, [s.trial_id for cell in cells for s in cell.specs]).states
    nodes = read_nodes(options.address if options.backend == "ray" else None)
    preflight = Preflight(grid, location, nodes, states, options.backend)
    num_done = sum(state.state == "done" for state in states.values())
    print(f"Experiment {experiment.name}: {len(states)} trials, {num_done} done\n")
    problems: list[Finding] = []
    for one in run_checks(preflight):
        print(describe_check(one))
        sys.stdout.flush()  # the next one may take a while
        problems += one.problems
    print(describe_problems(problems))
    return FINDINGS if any(p.severity == "error" for p in problems) else OK
