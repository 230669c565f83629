"""Launch files of clusters: ``TEMPLATES``, filled in from an experiment."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.registries import Registry
from xlt.data.core.settings import Settings
from xlt.sweep.cluster.settings import (
    AwsOptions,
    KubeRayOptions,
    Machines,
    SkyPilotOptions,
    SlurmOptions,
    fill_in_cores,
    least_nodes,
)
from xlt.sweep.experiment.experiment import load_experiment, read_shipped

WORKER_PORTS = 10002, 19999
"""Ports of processes that run trials, Ray's default; written into each file for firewalls."""
NODE_STARTS = 5
"""Attempts to start Ray on a Slurm node other than the head."""
JOIN_SECONDS = 120
"""Time to wait for all nodes before the sweep starts with the nodes that joined."""
POD_SECONDS = 1800
"""Time to wait for the first pods, because a cloud may start machines and pull the image first."""
STOP_SECONDS = 120
"""Time between stopping the driver and Slurm's time limit."""
END_SECONDS = 30
"""Time for Ray to end on all Slurm nodes before it is killed."""
CLAIM = "/mnt/xlt"
"""Mount path of KubeRayOptions.claim in pods."""


@dataclass(frozen=True)
class Template:
    """A kind of launch file.

    Attributes:
        file: Name of the template in this folder.
        options: Settings besides the machines.
        started_by: Command that uses the printed file.
        package: Package that holds the template, for plug-ins.
        shares_folders: Whether all nodes have the same folders.
    """

    file: str
    options: type[Settings]
    started_by: str
    package: str = "xlt.sweep.cluster"
    shares_folders: bool = False


_OWN = {
    "slurm": Template("slurm.sbatch.jinja", SlurmOptions, "sbatch FILE", shares_folders=True),
    "kuberay": Template("kuberay.yaml.jinja", KubeRayOptions, "kubectl apply -f FILE"),
    "aws": Template("aws.yaml.jinja", AwsOptions, "ray up FILE"),
    "skypilot": Template(
        "skypilot.yaml.jinja", SkyPilotOptions, "sky jobs launch --secret XLT_RAY_TOKEN FILE"
    ),
}


def _check_template(name: str, template: Any) -> str:
    return "" if isinstance(template, Template) else "it is no xlt.sweep.cluster.Template"


TEMPLATES = Registry[Template]("xlt.templates", _OWN, _check_template)
"""Name -> kind of launch file."""


def fill_launch_file(
    kind: str,
    experiment: str,
    settings: Sequence[str] = (),
    results: str | None = None,
    *,
    machines: Machines,
    options: dict[str, str],
) -> str:
    """Fill in the launch file of an experiment, without reading data or base models.

    Args:
        kind: A name in :data:`TEMPLATES`.
        experiment: A YAML file, or the name of a shipped experiment.
        settings: Changes of the experiment, in the format of ``xlt run --set``.
        results: The results location; None: the location in the experiment.
        machines: The machines of the cluster.
        options: Values of the kind's options.

    Returns:
        The text of the file.

    Raises:
        InputError: The kind or an option is unknown, a trial does not fit, or the nodes would not
            share the results location.
    """
    import jinja2

    if kind not in TEMPLATES:
        raise InputError(unknown("kind of cluster", kind, TEMPLATES))
    template = TEMPLATES[kind]
    loaded = load_experiment(experiment, settings)
    chosen = template.options.parse(options, f"options of {kind}")
    machines = fill_in_cores(machines, loaded)
    where = _shared(template, results or loaded.storage.results, chosen)
    source = (
        experiment
        if experiment in read_shipped()
        else str(Path(experiment).expanduser().absolute())
    )
    command = ["xlt", "run", source, *(word for setting in settings for word in ("--set", setting))]
    least = least_nodes(machines, loaded)
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters |= {"shell": shlex.quote, "quoted": _quoted}
    text = (resources.files(template.package) / template.file).read_text("utf-8")
    return environment.from_string(text).render(
        experiment=loaded,
        name=_label(loaded.name),
        file=None if source in read_shipped() else source,
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


def _shared(template: Template, results: str, options: Settings) -> str:
    """Return the results location for the nodes of the cluster.

    Raises:
        InputError: Each node would write to its own disk.
    """
    is_store = "://" in results and not results.startswith("file://")
    if template.shares_folders:
        return results if "://" in results else str(Path(results).expanduser().absolute())
    if is_store:
        return results
    claim = isinstance(options, KubeRayOptions) and options.claim is not None
    if claim and results.startswith(f"{CLAIM}/"):
        return results
    remedy = "give --results s3://... or gs://..."
    if isinstance(options, KubeRayOptions):
        remedy += f", or --option claim=NAME and --results {CLAIM}/..., a folder of that volume"
    raise InputError(f"results location {results!r} would lie on one node's own disk; {remedy}")


def _pod_resources(machines: Machines) -> str:
    """Return the resource request and limit of a pod as YAML."""
    request: dict[str, str] = {"cpu": str(machines.cpus_per_node)}
    if machines.memory_per_node:
        request["memory"] = f"{machines.memory_per_node}Gi"
    if machines.gpus_per_node:
        request["nvidia.com/gpu"] = str(machines.gpus_per_node)
    return yaml.safe_dump(request, default_flow_style=True, width=10**9).strip()


def _on_ec2(settings: Sequence[str], source: str, results: str, nodes: int) -> str:
    """Return the command for the head, whose home folder holds the experiment's file."""
    file = source if source in read_shipped() else "experiment.yaml"
    wait = f"xlt cluster wait --address auto --nodes {nodes + 1} --seconds {POD_SECONDS}"
    run = shlex.join(["xlt", "run", file, *settings, "--results", results, "--address", "auto"])
    return f"cd && {wait} && {run}"


def _quoted(value: str) -> str:
    """Quote any text as a YAML string."""
    return yaml.safe_dump(value, default_style='"', width=10**9, allow_unicode=True).strip()


def _label(name: str) -> str:
    """Turn a name into a label of lower-case letters, digits and dashes."""
    return "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-")[:40].strip("-")
