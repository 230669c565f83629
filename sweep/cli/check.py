"""xlt check: report problems, needs and duration of a run before it starts."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from xlt.data.core.memory import paused_collector
from xlt.sweep.cli.arguments import (
    add_address,
    add_backend,
    add_command,
    add_experiment,
    add_only,
)
from xlt.sweep.cli.exit_status import FINDINGS, OK


def add_commands(commands: Any) -> None:
    """Add ``check`` to the parser."""
    parser = add_command(
        commands, "check", _check,
        "Check access, memory, machines, disk and time before a run; exit status 3 if something "
        "would stop it.",
        "check paper --address 10.0.0.1:6379",
        "check my.yaml --only model=llama2 --backend inline",
    )  # fmt: skip
    add_experiment(parser)
    add_only(parser)
    add_address(parser)
    add_backend(parser)


@paused_collector()
def _check(options: argparse.Namespace) -> int:
    from xlt.data.core.finding import Finding
    from xlt.sweep.backends.registry import refuse_unknown_backend
    from xlt.sweep.check.registry import prepare_checks, run_checks
    from xlt.sweep.check.text import describe_check, describe_problems
    from xlt.sweep.driver.session import open_session
    from xlt.sweep.experiment.experiment import load_experiment

    refuse_unknown_backend(options.backend)
    experiment = load_experiment(options.experiment, options.settings)
    session = open_session(
        experiment, options.results, backend=options.backend, address=options.address,
        only=options.only,
    )  # fmt: skip
    preflight = prepare_checks(experiment, session)
    num_done = sum(state.state == "done" for state in preflight.states.values())
    print(f"Experiment {experiment.name}: {len(preflight.states)} trials, {num_done} done\n")
    problems: list[Finding] = []
    for outcome in run_checks(preflight):
        print(describe_check(outcome))
        sys.stdout.flush()  # the next check may take long
        problems += outcome.problems
    print(describe_problems(problems))
    return FINDINGS if any(p.severity == "error" for p in problems) else OK
