"""Call a function on each node of a Ray cluster.

The tasks request no resources, so they never wait for trials.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from xlt.data.core.errors import InputError
from xlt.sweep.machines.capacity import read_capacity
from xlt.sweep.machines.nodes import Node, read_node
from xlt.sweep.on_ray.connection import RayConnection

ANSWER_SECONDS = 120
"""Time to wait for all nodes together; the first task of a node has to start a process."""
AGAIN_SECONDS = 1.0
"""Time before asking a node again that other nodes do not know yet, or do not know any more."""


def list_nodes(address: str | None) -> tuple[Node, ...]:
    """Return every living node, with the resources that trials can request there.

    Args:
        address: Address of a running cluster, see :class:`RayConnection`.

    Raises:
        InputError: The cluster cannot be reached, or a living node does not answer.
    """
    connection = RayConnection(address)
    try:
        return tuple(_with_capacity(node, answer) for node, answer in ask_nodes(read_node))
    finally:
        connection.close()


def _with_capacity(node: dict[str, Any], answer: Node | ray.exceptions.RayError) -> Node:
    if isinstance(answer, ray.exceptions.RayError):
        raise InputError(
            f"node {node['NodeManagerAddress']} gives no answer: "
            f"{str(answer).strip().splitlines()[-1]}; install xlt-sweep on every node"
        ) from answer
    capacity = read_capacity(node["Resources"])
    return replace(
        answer,
        num_cpus=capacity.num_cpus,
        num_gpus=capacity.num_gpus,
        others=capacity.others,
    )


def ask_nodes(
    function: Callable[..., Any], *arguments: Any
) -> Iterator[tuple[dict[str, Any], Any]]:
    """Call a function once on each living node of the cluster that this process is connected to.

    Args:
        function: The function, which runs in a worker process of the node.
        *arguments: Arguments of the function.

    Returns:
        Ray's record of each node, and the value of the function or the RayError. Nodes that died
        in the meantime are left out, because trials would not run there either.
    """
    references = [(node, ask_node(node, function, *arguments)) for node in list_living()]
    deadline = time.monotonic() + ANSWER_SECONDS
    for node, reference in references:
        while True:
            try:
                answer = ray.get(reference, timeout=max(0.0, deadline - time.monotonic()))
            except ray.exceptions.RayError as error:
                if node["NodeID"] not in {other["NodeID"] for other in list_living()}:
                    break
                # Nodes learn later than the head that a node joined or left.
                is_unknown = isinstance(error, ray.exceptions.TaskUnschedulableError)
                if is_unknown and time.monotonic() < deadline:
                    time.sleep(AGAIN_SECONDS)
                    reference = ask_node(node, function, *arguments)
                    continue
                answer = error
            yield node, answer
            break


def list_living() -> list[dict[str, Any]]:
    """Return Ray's record of each living node."""
    return [node for node in ray.nodes() if node["Alive"]]


def ask_node(node: dict[str, Any], function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function on a node; returns the reference of its value."""
    strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    return ray.remote(num_cpus=0)(function).options(scheduling_strategy=strategy).remote(*arguments)
