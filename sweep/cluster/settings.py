"""What a cluster is to have, and what each kind of launch file asks besides."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Annotated

import pydantic

from xlt.data.core.errors import InputError
from xlt.data.core.settings import Settings
from xlt.sweep.experiment.experiment import Experiment
from xlt.sweep.machines.capacity import Capacity, num_processes
from xlt.trainables.spec.trial_spec import Resources

Word = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:@-]*$")]
"""A name that needs no quotes in YAML, in a shell and in a line of sbatch."""


class Machines(Settings):
    """Nodes that run trials, all alike."""

    nodes: int = pydantic.Field(default=2, gt=0)
    """Slurm: all, the head's included. Else: most nodes beside the head, which runs no trials."""
    gpus_per_node: int = pydantic.Field(default=1, ge=0)
    """GPUs of each."""
    cpus_per_node: int | None = pydantic.Field(default=None, gt=0)
    """CPU cores of each; None: what the trials that its GPUs hold reserve."""
    memory_per_node: int | None = pydantic.Field(default=None, gt=0)
    """Main memory of each in GiB; None: what the cluster gives."""


class SlurmOptions(Settings):
    """What Slurm asks besides."""

    time: Annotated[str, pydantic.Field(pattern=r"^[0-9]+(-[0-9]+)?(:[0-9]+){0,2}$")] = "24:00:00"
    """Limit of a turn, as sbatch reads it; what is not done by then goes on in the next turn."""
    partition: Word | None = None
    """Partition; None: the default one."""
    account: Word | None = None
    """Who is charged; None: the default account."""
    bin: str = str(Path(sys.executable).parent)
    """Folder of xlt and ray on every node; default: this environment's."""
    scratch: str = "/tmp"
    """Folder on each node's own disk for Ray's sockets and logs; its path has to be short."""


class KubeRayOptions(Settings):
    """What Kubernetes asks besides."""

    image: Word
    """Container image with the project, see sweep/cluster/Dockerfile."""
    namespace: Word = "default"
    """Namespace of everything in the file."""
    token_secret: Word = "xlt-ray-token"
    """Secret whose key auth_token is the cluster's token."""
    claim: Word | None = None
    """PersistentVolumeClaim (ReadWriteMany) with results and downloaded base models; None: results
    go to an object store, and every node downloads its own."""
    hub_token_secret: Word | None = None
    """Secret whose key token opens gated base models of the hub."""
    service_account: Word | None = None
    """Account of the pods, e.g. one that may write to the bucket."""


class AwsOptions(Settings):
    """What EC2 asks besides."""

    image: Word
    """Container image with the project, see sweep/cluster/Dockerfile."""
    region: Word = "us-east-1"
    """Region."""
    instance_type: Word = "g5.2xlarge"
    """Of nodes that run trials; decides on CPUs, GPUs and memory."""
    head_instance_type: Word = "m5.xlarge"
    """Of the head, which runs the driver; on demand."""
    spot: bool = True
    """Whether nodes that run trials are spot instances, which may be taken away at any time."""
    token_file: str = "~/.ray/auth_token"
    """File with the cluster's token on the machine that runs ``ray up``."""
    instance_profile: Word | None = None
    """ARN of the instance profile that may write to the bucket; None: Ray's own, which may not
    unless its role was given the right."""


def fitted(machines: Machines, experiment: Experiment) -> Machines:
    """Machines with their CPU cores filled in.

    Raises:
        InputError: Some trial fits on no such cluster.
    """
    requests = requests_of(experiment)
    if machines.cpus_per_node is None:
        cores = max(_cores(machines, request) for request in requests.values())
        machines = machines.model_copy(update={"cpus_per_node": cores})
    problems = [
        f"{name}: a trial needs {request.workers} x ({request.cpus} CPUs, {request.gpus:g} GPU), "
        f"{machines.nodes} nodes with {machines.cpus_per_node} CPUs and {machines.gpus_per_node} "
        f"GPUs hold {machines.nodes * held} of these; ask for more, or lower its resources"
        for name, request in requests.items()
        if (held := processes_a_node(machines, request)) * machines.nodes < request.workers
    ]
    if problems:
        raise InputError(problems)
    return machines


def requests_of(experiment: Experiment) -> dict[str, Resources]:
    """What a trial of each base model reserves."""
    return {model.name: experiment.resources or model.resources for model in experiment.models}


def processes_a_node(machines: Machines, request: Resources) -> int:
    """Processes of a trial that a node holds side by side."""
    node = Capacity(num_cpus=machines.cpus_per_node or 0, num_gpus=machines.gpus_per_node)
    return num_processes([node], request)


def least_nodes(machines: Machines, experiment: Experiment) -> int:
    """Nodes that have to be there before the first trial, so that the largest one fits."""
    return max(
        math.ceil(request.workers / processes_a_node(machines, request))
        for request in requests_of(experiment).values()
    )


def _cores(machines: Machines, request: Resources) -> int:
    """Cores so that no GPU is idle for want of one."""
    if not machines.gpus_per_node or not request.gpus:
        return request.cpus
    by_gpus = Capacity(num_cpus=10**9, num_gpus=machines.gpus_per_node)
    return request.cpus * num_processes([by_gpus], request)
