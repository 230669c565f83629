"""xlt cluster: launch files for clusters, and waiting until one's nodes are there."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from xlt.data.core.errors import InputError
from xlt.sweep.cli.arguments import add_experiment_arguments

DONE = 0


def add_cluster_commands(commands: Any) -> None:
    """Add ``cluster template`` and ``cluster wait`` to the parser."""
    text = "Launch an experiment on Slurm, Kubernetes or EC2."
    group = commands.add_parser("cluster", help=text, description=text)
    subcommands = group.add_subparsers(required=True, metavar="COMMAND")

    text = "Print a launch file filled in from an experiment; launch nothing."
    template = subcommands.add_parser("template", help=text, description=text)
    template.set_defaults(command=_template)
    template.add_argument("kind", help="slurm, kuberay or aws")
    add_experiment_arguments(template)
    for flag, text in (
        ("--nodes", "slurm: all nodes (2); else the most beside the head"),
        ("--gpus-per-node", "1; 0: trials run on CPUs"),
        ("--cpus-per-node", "default: what the trials on its GPUs reserve"),
        ("--memory-per-node", "GiB; default: what the cluster gives"),
    ):
        template.add_argument(flag, type=int, metavar="N", help=text)
    template.add_argument("--image", help="container image; kuberay and aws need one")
    template.add_argument(
        "--option", action="append", default=[], metavar="KEY=VALUE", dest="options",
        help="of one kind, e.g. partition=gpu; docs/cluster.md lists them; repeatable",
    )  # fmt: skip

    text = "Wait until the nodes of a Ray cluster are there, and say which are."
    wait = subcommands.add_parser("wait", help=text, description=text)
    wait.set_defaults(command=_wait)
    wait.add_argument("--address", required=True, metavar="RAY", help="of the cluster")
    wait.add_argument("--nodes", required=True, type=int, metavar="N", help="the head included")
    wait.add_argument(
        "--seconds", type=float, default=120, help="then go on with those there (120)"
    )


def _template(options: argparse.Namespace) -> int:
    from xlt.sweep.cluster import TEMPLATES, launch_file
    from xlt.sweep.cluster.settings import Machines

    asked = {name: getattr(options, name) for name in Machines.model_fields}
    special = dict(map(_key_and_value, options.options))
    if options.image is not None:
        special["image"] = options.image
    print(
        launch_file(
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
    return DONE


def _key_and_value(option: str) -> tuple[str, str]:
    """Not YAML, to which a time such as 1:00:00 is a number."""
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
        f"{len(joined.hosts)} of {options.nodes} nodes are there after {joined.seconds:.0f} s, "
        f"with {has}: {', '.join(joined.hosts)}"
    )
    missing = options.nodes - len(joined.hosts)
    if missing > 0:
        print(f"xlt: {missing} nodes stayed away; going on without them", file=sys.stderr)
    return DONE
