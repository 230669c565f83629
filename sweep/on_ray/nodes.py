"""The machines of a Ray cluster, asked by a task that reserves nothing, so that none waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from xlt.data.core.errors import InputError
from xlt.sweep.machines.capacity import capacity_of
from xlt.sweep.machines.nodes import Node, read_node
from xlt.sweep.on_ray.connection import RayConnection

ANSWER_SECONDS = 120
"""Waited for all nodes; the first task of a node starts a process there."""
AGAIN_SECONDS = 1.0
"""Until a node is asked again that the rest of the cluster does not know yet, or no more."""


def nodes_of(address: str | None) -> tuple[Node, ...]:
    """Every living node, with what Ray lets trials reserve there.

    Raises:
        InputError: No cluster, or a node that lives and does not answer.
    """
    connection = RayConnection(address)
    try:
        return tuple(_with_capacity(node, answer) for node, answer in ask_nodes(read_node))
    finally:
        connection.close()


def _with_capacity(node: dict[str, Any], answer: Node | ray.exceptions.RayError) -> Node:
    if isinstance(answer, ray.exceptions.RayError):
        raise InputError(
            f"a node of the cluster gives no answer: {str(answer).strip().splitlines()[-1]}; "
            "is the project installed on it?"
        ) from answer
    has = capacity_of(node["Resources"])
    return replace(answer, num_cpus=has.num_cpus, num_gpus=has.num_gpus, others=has.others)


def ask_nodes(
    function: Callable[..., Any], *arguments: Any
) -> Iterator[tuple[dict[str, Any], Any]]:
    """Call a function once on each living node of the cluster that this process is connected to.

    Args:
        function: Called in a worker process of the node; reserves nothing.
        *arguments: Its arguments.

    Returns:
        Ray's record of each node, with what the function returned there, or the RayError that
        came instead. Nodes that died meanwhile are left out: trials would not find them either.
    """
    nodes = [node for node in ray.nodes() if node["Alive"]]
    asked = [(node, _ask(node, function, arguments)) for node in nodes]
    deadline = time.monotonic() + ANSWER_SECONDS
    for node, reference in asked:
        while True:
            try:
                answer = ray.get(reference, timeout=max(0.0, deadline - time.monotonic()))
            except ray.exceptions.RayError as error:
                if node["NodeID"] not in {one["NodeID"] for one in ray.nodes() if one["Alive"]}:
                    break
                # Nodes learn of each other's coming and going a little later than the head.
                is_unknown = isinstance(error, ray.exceptions.TaskUnschedulableError)
                if is_unknown and time.monotonic() < deadline:
                    time.sleep(AGAIN_SECONDS)
                    reference = _ask(node, function, arguments)
                    continue
                answer = error
            yield node, answer
            break


def _ask(node: dict[str, Any], function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    return ray.remote(num_cpus=0)(function).options(scheduling_strategy=there).remote(*arguments)
