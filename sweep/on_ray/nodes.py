"""The machines of a Ray cluster, asked by a task that reserves nothing, so that none waits."""

from __future__ import annotations

import time
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
        asked = [(node, _ask(node)) for node in ray.nodes() if node["Alive"]]
        deadline = time.monotonic() + ANSWER_SECONDS
        answers = (_answer(node, ref, deadline) for node, ref in asked)
        return tuple(answer for answer in answers if answer is not None)
    finally:
        connection.close()


def _ask(node: dict[str, Any]) -> Any:
    there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    return ray.remote(num_cpus=0)(read_node).options(scheduling_strategy=there).remote()


def _answer(node: dict[str, Any], asked: Any, deadline: float) -> Node | None:
    """What a node told; None: it died meanwhile, so that trials would not find it either."""
    while True:
        try:
            found: Node = ray.get(asked, timeout=max(0.0, deadline - time.monotonic()))
        except ray.exceptions.RayError as error:
            if node["NodeID"] not in {one["NodeID"] for one in ray.nodes() if one["Alive"]}:
                return None
            # Nodes learn of each other's coming and going a little later than the head.
            is_unknown = isinstance(error, ray.exceptions.TaskUnschedulableError)
            if is_unknown and time.monotonic() < deadline:
                time.sleep(AGAIN_SECONDS)
                asked = _ask(node)
                continue
            raise InputError(
                f"a node of the cluster gives no answer: {str(error).strip().splitlines()[-1]}; "
                "is the project installed on it?"
            ) from error
        has = capacity_of(node["Resources"])
        return replace(found, num_cpus=has.num_cpus, num_gpus=has.num_gpus, others=has.others)
