"""Find the machines that trials can run on: this one, or the nodes of a cluster."""

from __future__ import annotations

import os
import sys

from xlt.sweep.machines.nodes import Node, read_node


def read_nodes(address: str | None) -> tuple[Node, ...]:
    """Read the machines that trials can run on.

    Args:
        address: Address of a running Ray cluster. None: the cluster of RAY_ADDRESS or the one that
            this process is connected to, else this machine alone, without starting Ray.

    Raises:
        InputError: There is no cluster at the address, or its nodes do not answer.
    """
    if uses_running_cluster(address):
        from xlt.sweep.on_ray.nodes import list_nodes  # ray

        return list_nodes(address)
    return (read_node(),)


def uses_running_cluster(address: str | None) -> bool:
    """Whether a command with this address uses a cluster that runs already, or starts Ray here."""
    return bool(address or os.environ.get("RAY_ADDRESS")) or _is_connected()


def _is_connected() -> bool:
    """Whether this process, e.g. a notebook, is connected to a cluster; imports nothing."""
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()
