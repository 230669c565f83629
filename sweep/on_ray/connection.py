"""The way to a Ray cluster, that at an address or a local one, and what a trial reserves there."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray

from xlt.data.core.errors import InputError
from xlt.sweep.driver.head_watch import HeadWatch
from xlt.sweep.machines.capacity import Capacity, capacity_of, never_fits, num_trials
from xlt.trainables.spec.trial_spec import Resources, TrialSpec

_VERSIONS = re.compile(
    r"Version mismatch.*?Ray: (\S+)\s+Python: (\S+).*?Ray: (\S+)\s+Python: (\S+)", re.DOTALL
)


class RayConnection:
    """A connection to a cluster.

    Args:
        address: Of a running cluster; None: RAY_ADDRESS, else a new local one.

    Raises:
        InputError: There is no cluster at the address, or none could be started.
    """

    def __init__(self, address: str | None = None) -> None:
        self._mine = not ray.is_initialized()
        self._watch: HeadWatch | None = None
        if self._mine:
            # Without "local" Ray would take whatever cluster was last started here.
            chosen = address or os.environ.get("RAY_ADDRESS") or "local"
            try:
                ray.init(
                    address=chosen,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level="ERROR",
                )
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise InputError(connection_problem(chosen, str(error))) from error
            if not chosen.startswith("ray://"):  # Ray's client looks after its own connection
                self._watch = _watch()

    def close(self) -> None:
        """Disconnect, if this connection was made here; ends a cluster that was started for it."""
        if self._watch:
            self._watch.stop()
        if self._mine:
            ray.shutdown()


def connection_problem(address: str, error: str) -> str:
    """Word the error with which Ray refused to connect or to start."""
    if versions := _VERSIONS.search(error):
        return (
            f"the cluster at {address} runs Ray {versions[1]} on Python {versions[2]}, and this "
            f"process runs Ray {versions[3]} on Python {versions[4]}; install the same versions, "
            "or use `xlt submit`, which starts the sweep inside the cluster"
        )
    if address == "local":
        return f"Ray does not start on this machine: {error}; --backend inline needs no Ray"
    return (
        f"no Ray cluster at {address}: {error}; start one, fix --address, or use --backend inline, "
        "which needs no cluster"
    )


def _watch() -> HeadWatch:
    """A look at the head, and at Ray's process on this machine."""
    here = ray.get_runtime_context()
    (node,) = (one for one in ray.nodes() if one["NodeID"] == here.get_node_id())
    raylet = f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}"
    return HeadWatch(here.gcs_address, raylet)


@dataclass(frozen=True)
class Launch:
    """Trials that reserve the same.

    Attributes:
        specs: In the order given.
        bundle: What each process of a trial reserves.
        workers: Processes a trial.
        num_at_once: Trials that the cluster holds at a time.
    """

    specs: list[TrialSpec]
    bundle: dict[str, float]
    workers: int
    num_at_once: int


def by_resources(specs: Sequence[TrialSpec]) -> list[Launch]:
    """Trials by what they reserve; those of one process first.

    Raises:
        InputError: The cluster can never hold such a trial.
    """
    groups: dict[tuple[int, str], list[TrialSpec]] = {}
    for spec in specs:
        key = spec.resources.workers, str(worker_bundle(spec.resources))
        groups.setdefault(key, []).append(spec)
    nodes = living_nodes()
    launches, problems = [], []
    for (workers, _), group in sorted(groups.items(), key=lambda item: item[0]):
        request = group[0].resources
        num_at_once = num_trials(nodes, request)
        launches.append(Launch(group, worker_bundle(request), workers, num_at_once))
        if not num_at_once:
            problems.append(never_fits(nodes, request))
    if problems:
        raise InputError(problems)
    return launches


def worker_bundle(resources: Resources) -> dict[str, float]:
    """What a process of a trial reserves; GPUs count only on a cluster that has some."""
    has_gpus = ray.cluster_resources().get("GPU", 0) > 0
    gpus = {"GPU": resources.gpus} if has_gpus else {}
    return {"CPU": resources.cpus, **gpus, **resources.others}


def task_options(bundle: dict[str, float]) -> dict[str, Any]:
    """What a task or actor outside Tune is given to reserve a bundle."""
    others = {name: amount for name, amount in bundle.items() if name not in ("CPU", "GPU")}
    return {"num_cpus": bundle["CPU"], "num_gpus": bundle.get("GPU", 0), "resources": others}


def living_nodes() -> list[Capacity]:
    """What each node of the cluster lets trials reserve."""
    return [capacity_of(node["Resources"]) for node in ray.nodes() if node["Alive"]]
