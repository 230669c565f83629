"""Which machines trials can run on: this one, or the nodes of a cluster."""

from __future__ import annotations

import os
import sys

from xlt.sweep.machines.nodes import Node, read_node


def read_nodes(address: str | None) -> tuple[Node, ...]:
    """The machines that trials can run on.

    Args:
        address: Of a running Ray cluster; None: RAY_ADDRESS or the one that this process is
            connected to, else this machine alone, for which nothing is started.

    Raises:
        InputError: There is no cluster at the address, or its nodes do not answer.
    """
    if address or os.environ.get("RAY_ADDRESS") or _is_connected():
        from xlt.sweep.on_ray.nodes import nodes_of  # ray

        return nodes_of(address)
    return (read_node(),)


def _is_connected() -> bool:
    """Whether this process uses a cluster already, as a notebook's may; imports nothing."""
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()
