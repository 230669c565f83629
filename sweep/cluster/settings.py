"""Settings of launch files: the machines of a cluster, and the options of each kind of cluster."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Annotated, Literal

import pydantic

from xlt.data.core.errors import InputError
from xlt.data.core.settings import Settings
from xlt.sweep.experiment.experiment import Experiment
from xlt.sweep.machines.capacity import Capacity, count_processes
from xlt.trainables.spec.resources import Resources

Word = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:@-]*$")]
"""A name that needs no quotes in YAML, a shell or a line of sbatch."""

Label = Annotated[str, pydantic.Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$")]
"""A name that Kubernetes accepts as the value of a label and as the name of an object."""


class Machines(Settings):
    """The nodes that run trials; all are alike."""

    nodes: int = pydantic.Field(default=2, gt=0)
    """Number of nodes. Slurm and SkyPilot: all nodes, head included. Other clusters: the largest
    number of nodes besides the head, which runs no trials."""
    gpus_per_node: int = pydantic.Field(default=1, ge=0)
    """GPUs of each node."""
    cpus_per_node: int | None = pydantic.Field(default=None, gt=0)
    """CPU cores of each node; None: as many as the trials on its GPUs request."""
    memory_per_node: int | None = pydantic.Field(default=None, gt=0)
    """Main memory of each node in GiB; None: the default of the cluster."""


class SlurmOptions(Settings):
    """Options of Slurm."""

    time: Annotated[str, pydantic.Field(pattern=r"^[0-9]+(-[0-9]+)?(:[0-9]+){0,2}$")] = "24:00:00"
    """Time limit in sbatch's format; the job then requeues itself and resumes."""
    partition: Word | None = None
    """Partition; None: the default partition."""
    account: Word | None = None
    """Account to charge; None: the default account."""
    bin: str = str(Path(sys.executable).parent)
    """Folder of the commands xlt and ray on every node; default: the folder of this environment."""
    scratch: str = "/tmp"
    """Folder on each node's own disk for Ray's sockets and logs; its path must be short."""


class KubeRayOptions(Settings):
    """Options of KubeRay."""

    image: Word
    """Container image with the project, see sweep/cluster/Dockerfile."""
    namespace: Word = "default"
    """Namespace of all resources in the file."""
    token_secret: Word = "xlt-ray-token"
    """Secret whose key auth_token is the cluster's token."""
    claim: Word | None = None
    """PersistentVolumeClaim (ReadWriteMany) for results and downloaded base models; None: results
    go to an object store, and every node downloads base models itself."""
    hub_token_secret: Word | None = None
    """Secret whose key token gives access to gated base models of the hub."""
    service_account: Word | None = None
    """Service account of the pods, e.g. with write access to the bucket."""
    queue: Label | None = None
    """Queue in which the job waits until all its pods fit; None: no queue."""
    queue_of: Literal["kueue", "volcano"] = "kueue"
    """Scheduler of the queue: a LocalQueue of Kueue in the job's namespace, or a Queue of Volcano
    (KubeRay with ``--batch-scheduler=volcano``). With Kueue the number of workers is fixed."""


class SkyPilotOptions(Settings):
    """Options of SkyPilot."""

    image: Word
    """Container image with the project, see sweep/cluster/Dockerfile."""
    gpu: Word = "A10G"
    """SkyPilot's name of the GPU, as ``sky gpus list`` shows it."""
    infra: Word | None = None
    """Where to start machines, e.g. aws/us-east-1, k8s or slurm; None: where it is cheapest."""
    spot: bool = True
    """Whether to use machines that may be taken back; `sky jobs launch` replaces them."""


class AwsOptions(Settings):
    """Options of EC2."""

    image: Word
    """Container image with the project, see sweep/cluster/Dockerfile."""
    region: Word = "us-east-1"
    """Region of all machines."""
    instance_type: Word = "g5.2xlarge"
    """Instance type of the nodes that run trials; determines CPUs, GPUs and memory."""
    head_instance_type: Word = "m5.xlarge"
    """Instance type of the head, an on-demand machine that runs the driver."""
    spot: bool = True
    """Whether the nodes that run trials are spot instances, which EC2 may reclaim at any time."""
    token_file: str = "~/.ray/auth_token"
    """File with the cluster's token on the machine that runs ``ray up``."""
    instance_profile: Word | None = None
    """ARN of an instance profile with write access to the bucket; None: the profile of Ray, which
    has no such access by default."""


def fill_in_cores(machines: Machines, experiment: Experiment) -> Machines:
    """Fill in the CPU cores of machines.

    Raises:
        InputError: A trial does not fit on such a cluster.
    """
    requests = list_requests(experiment)
    if machines.cpus_per_node is None:
        cores = max(_cores(machines, request) for request in requests.values())
        machines = machines.model_copy(update={"cpus_per_node": cores})
    problems = [
        f"{name}: a trial needs {request.workers} x ({request.cpus} CPUs, {request.gpus:g} GPU), "
        f"{machines.nodes} nodes with {machines.cpus_per_node} CPUs and {machines.gpus_per_node} "
        f"GPUs hold {machines.nodes * held} of these; use more, or lower its resources"
        for name, request in requests.items()
        if (held := count_processes_per_node(machines, request)) * machines.nodes < request.workers
    ]
    if problems:
        raise InputError(problems)
    return machines


def list_requests(experiment: Experiment) -> dict[str, Resources]:
    """Return the resource request of a trial of each base model."""
    given = experiment.resources
    return {model.name: model.choose_resources(given) for model in experiment.models}


def count_processes_per_node(machines: Machines, request: Resources) -> int:
    """Return the number of processes of a trial that a node holds side by side."""
    node = Capacity(num_cpus=machines.cpus_per_node or 0, num_gpus=machines.gpus_per_node)
    return count_processes([node], request)


def least_nodes(machines: Machines, experiment: Experiment) -> int:
    """Return the number of nodes that the largest trial needs."""
    return max(
        math.ceil(request.workers / count_processes_per_node(machines, request))
        for request in list_requests(experiment).values()
    )


def _cores(machines: Machines, request: Resources) -> int:
    """Return the number of cores that keeps all GPUs of a node busy."""
    if not machines.gpus_per_node or not request.gpus:
        return request.cpus
    by_gpus = Capacity(num_cpus=10**9, num_gpus=machines.gpus_per_node)
    return request.cpus * count_processes([by_gpus], request)
