"""Wait until the nodes of a cluster have joined, for a limited time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from xlt.data.core.errors import InputError
from xlt.sweep.on_ray.connection import RayConnection
from xlt.sweep.on_ray.nodes import list_living

POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Joined:
    """The nodes that joined a cluster.

    Attributes:
        hosts: Names of the machines, sorted.
        resources: Resources of all nodes together, e.g. ``{"CPU": 6.0, "GPU": 6.0}``.
        seconds: Time until the nodes joined.
    """

    hosts: list[str]
    resources: dict[str, float]
    seconds: float


def wait_for_nodes(address: str, nodes: int, seconds: float) -> Joined:
    """Wait until a number of nodes have joined, or the time is over.

    Args:
        address: Address of the cluster, whose head may still be starting.
        nodes: Number of nodes, head included.
        seconds: Longest time to wait, for the head and the other nodes together.

    Raises:
        InputError: The head does not answer in time.
    """
    start = time.monotonic()
    connection = _until(lambda: RayConnection(address), start + seconds)
    try:
        while len(list_living()) < nodes and time.monotonic() < start + seconds:
            time.sleep(POLL_SECONDS)
        alive = list_living()
        totals = {
            kind: sum(node["Resources"].get(kind, 0.0) for node in alive) for kind in ("CPU", "GPU")
        }
        hosts = sorted(node["NodeManagerHostname"] for node in alive)
        return Joined(hosts, totals, time.monotonic() - start)
    finally:
        connection.close()


def _until(connect: Callable[[], RayConnection], deadline: float) -> RayConnection:
    while True:
        try:
            return connect()
        except InputError:
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_SECONDS)
