"""xlt cluster, submit and job: launch files for clusters, nodes that join, and sweeps as jobs."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from xlt.data.core.errors import InputError
from xlt.sweep.cli.arguments import (
    Names,
    add_command,
    add_experiment,
    add_group,
    add_only,
    add_wait,
)
from xlt.sweep.cli.exit_status import INTERRUPTED, OK


def add_commands(commands: Any) -> None:
    """Add ``submit``, ``job``, ``cluster template`` and ``cluster wait`` to the parser."""
    _add_submission(commands)
    _add_cluster(commands)


def _add_cluster(commands: Any) -> None:
    group = add_group(
        commands, "cluster", "Launch an experiment on Slurm, Kubernetes, EC2 or SkyPilot."
    )
    template = add_command(
        group, "template", _template,
        "Print a launch file for an experiment; launch nothing.",
        "cluster template slurm my.yaml --nodes 4 --option partition=gpu > job.sh",
        "cluster template kuberay my.yaml --image IMAGE --results s3://bucket/results",
    )  # fmt: skip
    template.add_argument(
        "kind", metavar="KIND", choices=Names(("slurm", "kuberay", "aws", "skypilot")),
        help="slurm, kuberay, aws or skypilot",
    )  # fmt: skip
    add_experiment(template)
    for flag, text in (
        ("--nodes", "number of nodes (default: 2); kuberay, aws: most nodes beside the head"),
        ("--gpus-per-node", "GPUs of a node (default: 1); 0: trials run on CPUs"),
        ("--cpus-per-node", "CPUs of a node (default: what the trials on its GPUs reserve)"),
        ("--memory-per-node", "memory of a node in GiB (default: what the cluster gives)"),
    ):
        template.add_argument(flag, type=int, metavar="N", help=text)
    template.add_argument("--image", help="container image; kuberay, aws and skypilot need one")
    template.add_argument(
        "--option", action="append", default=[], metavar="KEY=VALUE", dest="options",
        help="option of one kind of cluster, e.g. partition=gpu (docs/cluster.md); repeatable",
    )  # fmt: skip

    wait = add_command(
        group, "wait", _wait, "Wait until the nodes of a Ray cluster have joined, and list them.",
        "cluster wait --address HOST:6379 --nodes 4",
    )  # fmt: skip
    wait.add_argument(
        "--address", required=True, metavar="RAY", help="address of the cluster: HOST:6379"
    )
    wait.add_argument(
        "--nodes", required=True, type=int, metavar="N", help="number of nodes with the head"
    )
    wait.add_argument(
        "--seconds", type=float, default=120,
        help="continue with the nodes that have joined after so long (default: 120)",
    )  # fmt: skip


def _add_submission(commands: Any) -> None:
    submit = add_command(
        commands, "submit", _submit,
        "Submit a sweep as a job of a running Ray cluster; this machine may then be switched off.",
        "submit my.yaml --address http://HOST:8265 --results s3://bucket/results",
        "submit paper --address http://HOST:8265 --results s3://bucket/results --detach",
    )  # fmt: skip
    add_experiment(submit)
    _add_server(submit)
    add_only(submit)
    add_wait(submit)
    submit.add_argument(
        "--installed", action="store_true",
        help="run the xlt that is installed on the nodes, instead of sending this one",
    )  # fmt: skip
    submit.add_argument("--detach", action="store_true", help="do not follow the job")

    job = add_command(
        commands, "job", _job,
        "Follow a submitted job to its end; Ctrl-C stops following, not the job.",
        "job JOB --address http://HOST:8265",
        "job JOB --address http://HOST:8265 --stop",
    )  # fmt: skip
    job.add_argument("job", metavar="JOB", help="name of the job, as `xlt submit` printed it")
    _add_server(job)
    job.add_argument("--stop", action="store_true", help="stop it, as Ctrl-C stops `xlt run`")


def _template(options: argparse.Namespace) -> int:
    from xlt.sweep.cluster import TEMPLATES, fill_launch_file
    from xlt.sweep.cluster.settings import Machines

    asked = {name: getattr(options, name) for name in Machines.model_fields}
    special = dict(map(_key_and_value, options.options))
    if options.image is not None:
        special["image"] = options.image
    print(
        fill_launch_file(
            options.kind,
            options.experiment,
            options.settings,
            options.results,
            machines=Machines.parse({k: v for k, v in asked.items() if v is not None}),
            options=special,
        ),
        end="",
    )
    print(f"Start it with: {TEMPLATES[options.kind].started_by}", file=sys.stderr)
    return OK


def _key_and_value(option: str) -> tuple[str, str]:
    """Split KEY=VALUE; not with YAML, which reads a time such as 1:00:00 as a number."""
    key, equals, value = option.partition("=")
    if not key or not equals:
        raise InputError(f"--option {option!r} is not key=value, e.g. partition=gpu")
    return key, value


def _wait(options: argparse.Namespace) -> int:
    from xlt.sweep.on_ray.joining import wait_for_nodes

    if options.nodes < 1:
        raise InputError(
            f"--nodes {options.nodes}: a cluster has at least its head; give 1 or more"
        )
    joined = wait_for_nodes(options.address, options.nodes, options.seconds)
    has = " and ".join(f"{count:g} {kind}s" for kind, count in joined.resources.items())
    print(
        f"{len(joined.hosts)} of {options.nodes} nodes joined after {joined.seconds:.0f} s, "
        f"with {has}: {', '.join(joined.hosts)}"
    )
    missing = options.nodes - len(joined.hosts)
    if missing > 0:
        print(f"xlt: {missing} nodes did not join; continuing without them", file=sys.stderr)
    return OK


def _add_server(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--address", required=True, metavar="URL", help="job server of Ray: http://HOST:8265"
    )


def _submit(options: argparse.Namespace) -> int:
    from xlt.sweep.cluster.job_client import connect
    from xlt.sweep.cluster.submit import submit_job
    from xlt.sweep.experiment.experiment import load_experiment

    experiment = load_experiment(options.experiment, options.settings)
    results = options.results or experiment.storage.results
    job_id = submit_job(
        experiment, options.address, results, only=options.only, wait=options.wait,
        installed=options.installed,
    )  # fmt: skip
    print(f"Job {job_id} is submitted; its results go to {results}", flush=True)
    if options.detach:
        print(f"Follow it with: {_again(options, job_id)}")
        return OK
    return _follow(connect(options.address), options, job_id)


def _job(options: argparse.Namespace) -> int:
    from xlt.sweep.cluster.job_client import connect, stop

    client = connect(options.address)
    if options.stop and not stop(client, options.job):
        print("The job had ended before.", file=sys.stderr)
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
        print(f"\nThe job continues. Follow it: {again}\nStop it: {again} --stop", file=sys.stderr)
        return INTERRUPTED


def _again(options: argparse.Namespace, job_id: str) -> str:
    return f"xlt job {job_id} --address {options.address}"
