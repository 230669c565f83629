"""Start a Ray on this machine, without processes that no trial needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray._private.node import Node
from ray._private.parameter import RayParams

from xlt.sweep.on_ray.local import launcher


class _OwnNode(Node):  # type: ignore[misc]  # Ray's class has no types
    """The node of a Ray that ends with this process.

    It has no monitors of logs and of autoscaling, and no server of the dashboard. Ray would start
    all three also without a dashboard, and ``ray.init`` would wait until the server answers.
    """

    def __init__(self, ray_params: RayParams, **settings: Any) -> None:
        ray_params.update(include_log_monitor=False, no_monitor=True, worker_path=launcher.__file__)
        super().__init__(ray_params, **settings)

    def start_api_server(self, **settings: Any) -> None:
        """Start nothing."""


@contextmanager
def own_node() -> Iterator[None]:
    """Let ``ray.init`` start such a node in the block."""
    ray._private.node.Node = _OwnNode
    try:
        yield
    finally:
        ray._private.node.Node = Node
