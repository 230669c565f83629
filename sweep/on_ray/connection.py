"""Connection to a Ray cluster, and the resource requests of trials."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray._private.services import canonicalize_bootstrap_address
from ray.job_config import JobConfig

from xlt.data.core.errors import InputError
from xlt.sweep.driver.head_watch import HeadWatch, answers
from xlt.sweep.driver.scratch import claim, remove_abandoned
from xlt.sweep.machines.capacity import Capacity, count_trials, explain_misfit, read_capacity
from xlt.sweep.machines.ray_folder import find_ray_folder, find_ray_shortage
from xlt.sweep.on_ray.local.forking import forked_workers
from xlt.sweep.on_ray.local.own_node import own_node
from xlt.trainables.spec.resources import Resources
from xlt.trainables.spec.trial_spec import TrialSpec

_VERSIONS = re.compile(
    r"Version mismatch.*?Ray: (\S+)\s+Python: (\S+).*?Ray: (\S+)\s+Python: (\S+)", re.DOTALL
)
CLIENT = "ray://"
CLIENT_PORT = 10001
"""Port of Ray's client server, unless its address gives another."""


class _InstalledCode(JobConfig):  # type: ignore[misc]
    """A job whose workers import installed packages, and nothing from folders of the driver.

    Ray puts the driver's working folder and the folder of its script first on the path of workers,
    where a user's ``statistics.py`` would hide the module of that name. It leaves them out only for
    a job with a working folder of its own, which would cost each worker a second.
    """

    def _runtime_env_has_working_dir(self) -> bool:
        return True


class RayConnection:
    """A connection to a cluster.

    A process that is connected already keeps its connection.

    Args:
        address: Address of a running cluster; None: RAY_ADDRESS, else a new local cluster.

    Raises:
        InputError: There is no cluster at the address, it runs other versions, or no local
            cluster can be started.
    """

    def __init__(self, address: str | None = None) -> None:
        self._is_owner = not ray.is_initialized()
        self._watch: HeadWatch | None = None
        self._stack = ExitStack()
        if self._is_owner:
            # Without "local" Ray would connect to the cluster that was last started here.
            chosen = address or os.environ.get("RAY_ADDRESS") or "local"
            is_client = chosen.startswith(CLIENT)  # a process of the cluster is the driver
            is_local = chosen == "local"
            if is_local and (shortage := find_ray_shortage()):
                raise InputError(f"Ray does not start on this machine: {shortage}")
            with ExitStack() as stack:
                if is_local:
                    stack.enter_context(forked_workers())
                try:
                    _refuse_silence(chosen)
                    with own_node() if is_local else nullcontext():
                        ray.init(
                            address=chosen,
                            job_config=None if is_client else _InstalledCode(),
                            include_dashboard=False,
                            log_to_driver=False,
                            logging_level="ERROR",
                        )
                # Ray raises a plain Exception where one of its own processes does not start.
                except Exception as error:
                    raise InputError(describe_connection_error(chosen, str(error))) from error
                self._stack = stack.pop_all()
            if is_local:
                _claim_session()
            if not is_client:  # Ray's client watches its connection itself
                self._watch = _watch()

    def close(self) -> None:
        """Disconnect if this object made the connection; stop a local cluster that it started."""
        if self._watch:
            self._watch.stop()
        if self._is_owner:
            ray.shutdown()
        self._stack.close()


def describe_connection_error(address: str, error: str) -> str:
    """Word the error with which Ray refused to connect or to start."""
    if versions := _VERSIONS.search(error):
        return (
            f"the cluster at {address} runs Ray {versions[1]} on Python {versions[2]}, and this "
            f"process runs Ray {versions[3]} on Python {versions[4]}; install the same versions, "
            "or use `xlt submit`, which starts the sweep inside the cluster"
        )
    if address == "local":
        return (
            f"Ray does not start on this machine, with its files in {find_ray_folder()}: "
            f"{error.strip()}; set RAY_TMPDIR to a folder with a short path, space and write "
            "access, or use --backend inline, which needs no Ray"
        )
    return (
        f"no Ray cluster at {address}: {error}; start one, fix --address or RAY_ADDRESS, or use "
        "--backend inline, which needs no cluster"
    )


def _claim_session() -> None:
    """Mark the folder of the cluster that this process started; remove those of killed ones."""
    session = Path(ray._private.worker._global_node.get_session_dir_path())
    claim(session)
    remove_abandoned(session.parent, "session_*")


def _refuse_silence(address: str) -> None:
    """Raise ConnectionError if nothing answers at an address; Ray would ask for two minutes."""
    if address.startswith(CLIENT):
        place = address.removeprefix(CLIENT)
        place = place if ":" in place else f"{place}:{CLIENT_PORT}"
    else:
        place = canonicalize_bootstrap_address(address)
    if place and not answers(place):
        raise ConnectionError("nothing answers there")


def _watch() -> HeadWatch:
    """Watch the head, and Ray's process on this machine."""
    context = ray.get_runtime_context()
    (node,) = (node for node in ray.nodes() if node["NodeID"] == context.get_node_id())
    raylet = f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}"
    return HeadWatch(context.gcs_address, raylet, node["ObjectStoreSocketName"])


@dataclass(frozen=True)
class Launch:
    """Trials with the same resource request.

    Attributes:
        specs: The trials, in the given order.
        bundle: Resources that each process of a trial requests, in Ray's format.
        workers: Number of processes of a trial.
        num_at_once: Number of trials that the cluster holds at a time.
    """

    specs: list[TrialSpec]
    bundle: dict[str, float]
    workers: int
    num_at_once: int


def group_by_resources(specs: Sequence[TrialSpec]) -> list[Launch]:
    """Group trials by their resource request; trials of one process come first.

    Raises:
        InputError: A trial does not fit into the cluster.
    """
    groups: dict[tuple[int, str], list[TrialSpec]] = {}
    for spec in specs:
        key = spec.resources.workers, str(make_bundle(spec.resources))
        groups.setdefault(key, []).append(spec)
    nodes = list_capacities()
    launches, problems = [], []
    for (workers, _), group in sorted(groups.items(), key=lambda item: item[0]):
        request = group[0].resources
        num_at_once = count_trials(nodes, request)
        launches.append(Launch(group, make_bundle(request), workers, num_at_once))
        if not num_at_once:
            problems.append(explain_misfit(nodes, request))
    if problems:
        raise InputError(problems)
    return launches


def make_bundle(resources: Resources) -> dict[str, float]:
    """Return the resources that a process of a trial requests; GPUs only if the cluster has any."""
    has_gpus = ray.cluster_resources().get("GPU", 0) > 0
    gpus = {"GPU": resources.gpus} if has_gpus else {}
    return {"CPU": resources.cpus, **gpus, **resources.others}


def make_task_options(bundle: dict[str, float]) -> dict[str, Any]:
    """Return the options of a Ray task or actor that requests a bundle."""
    others = {name: amount for name, amount in bundle.items() if name not in ("CPU", "GPU")}
    return {"num_cpus": bundle["CPU"], "num_gpus": bundle.get("GPU", 0), "resources": others}


def list_capacities() -> list[Capacity]:
    """Return the resources of each living node that trials can request."""
    return [read_capacity(node["Resources"]) for node in ray.nodes() if node["Alive"]]
