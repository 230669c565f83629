"""TEMPLATES: kinds of clusters, each a file of its launcher filled in from an experiment."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.metadata import version
from pathlib import Path

import yaml

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.settings import Settings
from xlt.sweep.cluster.settings import (
    AwsOptions,
    KubeRayOptions,
    Machines,
    SlurmOptions,
    fitted,
    least_nodes,
)
from xlt.sweep.experiment.experiment import load_experiment, shipped

WORKER_PORTS = 10002, 19999
"""Ray's own default for processes that run trials; stated in every file, for firewalls."""
NODE_STARTS = 5
"""Times that Ray is started on a Slurm node, beside the head's, before the node is given up."""
JOIN_SECONDS = 120
"""Waited for nodes before the sweep begins with those that are there."""
POD_SECONDS = 1800
"""Waited for the first pods, because a cloud may have to start machines and load the image."""
STOP_SECONDS = 120
"""How long before Slurm's limit of time the driver is stopped."""
END_SECONDS = 30
"""Given to Ray on all Slurm nodes to end before it is killed."""
CLAIM = "/mnt/xlt"
"""Where pods see the volume of KubeRayOptions.claim."""


@dataclass(frozen=True)
class Template:
    """A kind of launch file.

    Attributes:
        file: In this folder.
        options: What it asks besides the machines.
        started_by: The command for the printed file.
    """

    file: str
    options: type[Settings]
    started_by: str


TEMPLATES: dict[str, Template] = {
    "slurm": Template("slurm.sbatch.jinja", SlurmOptions, "sbatch FILE"),
    "kuberay": Template("kuberay.yaml.jinja", KubeRayOptions, "kubectl apply -f FILE"),
    "aws": Template("aws.yaml.jinja", AwsOptions, "ray up FILE"),
}
"""Name -> kind of launch file."""


def launch_file(
    kind: str,
    experiment: str,
    settings: Sequence[str] = (),
    results: str | None = None,
    *,
    machines: Machines,
    options: dict[str, str],
) -> str:
    """The launch file of a kind for an experiment; neither data nor base models are read.

    Args:
        kind: A name in :data:`TEMPLATES`.
        experiment: A YAML file, or a shipped name.
        settings: As ``--set`` of ``xlt run``.
        results: Location of the results; None: the experiment's own.
        machines: What is asked for.
        options: Fields of the kind's options.

    Returns:
        The text of the file.

    Raises:
        InputError: An unknown kind or option; trials that never fit; results that the cluster's
            nodes would not share.
    """
    import jinja2

    if kind not in TEMPLATES:
        raise InputError(unknown("kind of cluster", kind, TEMPLATES))
    template = TEMPLATES[kind]
    loaded = load_experiment(experiment, settings)
    chosen = template.options.parse(options, f"options of {kind}")
    machines = fitted(machines, loaded)
    where = _shared(kind, results or loaded.storage.results, chosen)
    source = (
        experiment if experiment in shipped() else str(Path(experiment).expanduser().absolute())
    )
    command = ["xlt", "run", source, *(part for one in settings for part in ("--set", one))]
    least = least_nodes(machines, loaded)
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters |= {"shell": shlex.quote, "quoted": _quoted}
    text = (resources.files("xlt.sweep.cluster") / template.file).read_text("utf-8")
    return environment.from_string(text).render(
        experiment=loaded,
        name=_label(loaded.name),
        file=None if source in shipped() else source,
        command=shlex.join([*command, "--results", where]),
        results=where,
        machines=machines,
        least_nodes=least,
        options=chosen,
        ray_version=version("ray"),
        worker_ports=WORKER_PORTS,
        node_starts=NODE_STARTS,
        join_seconds=JOIN_SECONDS,
        stop_seconds=STOP_SECONDS,
        end_seconds=END_SECONDS,
        pod_seconds=POD_SECONDS,
        pod_resources=_pod_resources(machines),
        remote_command=_on_ec2(command[3:], source, where, least),
        claim=CLAIM,
    )


def _shared(kind: str, results: str, options: Settings) -> str:
    """Results as the cluster's nodes name them.

    Raises:
        InputError: Nodes would each write to a disk of their own.
    """
    is_store = "://" in results and not results.startswith("file://")
    if kind == "slurm":
        return results if "://" in results else str(Path(results).expanduser().absolute())
    if is_store:
        return results
    claim = isinstance(options, KubeRayOptions) and options.claim is not None
    if claim and results.startswith(f"{CLAIM}/"):
        return results
    remedy = "give --results s3://... or gs://..."
    if kind == "kuberay":
        remedy += f", or --option claim=NAME and --results {CLAIM}/..., a folder of that volume"
    raise InputError(f"results location {results!r} would lie on one node's own disk; {remedy}")


def _pod_resources(machines: Machines) -> str:
    """What a pod requests and is limited to, as YAML."""
    asked: dict[str, str] = {"cpu": str(machines.cpus_per_node)}
    if machines.memory_per_node:
        asked["memory"] = f"{machines.memory_per_node}Gi"
    if machines.gpus_per_node:
        asked["nvidia.com/gpu"] = str(machines.gpus_per_node)
    return yaml.safe_dump(asked, default_flow_style=True, width=10**9).strip()


def _on_ec2(settings: Sequence[str], source: str, results: str, nodes: int) -> str:
    """The command for the head, where the experiment's file was copied to the home folder."""
    file = source if source in shipped() else "experiment.yaml"
    wait = f"xlt cluster wait --address auto --nodes {nodes + 1} --seconds {POD_SECONDS}"
    run = shlex.join(["xlt", "run", file, *settings, "--results", results, "--address", "auto"])
    return f"cd && {wait} && {run}"


def _quoted(value: str) -> str:
    """A YAML string that means just this text, whatever it holds."""
    return yaml.safe_dump(value, default_style='"', width=10**9, allow_unicode=True).strip()


def _label(name: str) -> str:
    """An experiment's name where only lower-case letters, digits and dashes may stand."""
    return "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-")[:40].strip("-")
