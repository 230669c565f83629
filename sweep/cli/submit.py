"""xlt submit and xlt job: a sweep as a job of a running cluster, followed, left and stopped."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from xlt.sweep.cli.arguments import add_cells, add_experiment_arguments, add_wait

DONE, INTERRUPTED = 0, 130


def add_submit_commands(commands: Any) -> None:
    """Add ``submit`` and ``job`` to the parser."""
    text = "Hand a sweep to a running Ray cluster as a job; this machine is not needed any more."
    submit = commands.add_parser("submit", help=text, description=text)
    submit.set_defaults(command=_submit)
    add_experiment_arguments(submit)
    _add_server(submit)
    add_cells(submit)
    add_wait(submit)
    submit.add_argument(
        "--installed", action="store_true", help="run the xlt that nodes have, send none along"
    )
    submit.add_argument("--detach", action="store_true", help="do not follow the job")

    text = "Follow a submitted job to its end; Ctrl-C stops following, not the job."
    job = commands.add_parser("job", help=text, description=text)
    job.set_defaults(command=_job)
    job.add_argument("job", metavar="JOB", help="as `xlt submit` has called it")
    _add_server(job)
    job.add_argument("--stop", action="store_true", help="stop it, as Ctrl-C stops `xlt run`")


def _add_server(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--address", required=True, metavar="URL", help="of the job server: http://HOST:8265"
    )


def _submit(options: argparse.Namespace) -> int:
    from xlt.sweep.cluster.job_client import connect
    from xlt.sweep.cluster.submit import refuse_local, submit_job
    from xlt.sweep.experiment.experiment import load_experiment
    from xlt.sweep.experiment.selection import select_cells

    experiment = load_experiment(options.experiment, options.settings)
    results = options.results or experiment.storage.results
    select_cells(options.cells, experiment)
    refuse_local(experiment, results)
    client = connect(options.address)
    job_id = submit_job(
        client, experiment, results, cells=options.cells, wait=options.wait,
        installed=options.installed,
    )  # fmt: skip
    print(f"Job {job_id} is submitted; its results go to {results}", flush=True)
    if options.detach:
        print(f"Follow it with: {_again(options, job_id)}")
        return DONE
    return _follow(client, options, job_id)


def _job(options: argparse.Namespace) -> int:
    from xlt.sweep.cluster.job_client import connect, stop

    client = connect(options.address)
    if options.stop and not stop(client, options.job):
        print("It had ended before.", file=sys.stderr)
    return _follow(client, options, options.job)


def _follow(client: Any, options: argparse.Namespace, job_id: str) -> int:
    from xlt.sweep.cluster.job_client import follow

    def write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    try:
        return follow(client, job_id, write)
    except KeyboardInterrupt:
        again = _again(options, job_id)
        print(f"\nThe job goes on. Follow it: {again}\nStop it: {again} --stop", file=sys.stderr)
        return INTERRUPTED


def _again(options: argparse.Namespace, job_id: str) -> str:
    return f"xlt job {job_id} --address {options.address}"
