"""The machines of a Ray cluster, asked by a task that reserves nothing, so that none waits."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from sweep.ray_connection import RayConnection  # isort: skip  sets what Ray reads at import

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from data.errors import InputError
from sweep.nodes import Node, read_node

ANSWER_SECONDS = 120
"""Waited for all nodes; the first task of a node starts a process there."""


def nodes_of(address: str | None) -> tuple[Node, ...]:
    """Every living node, with what Ray lets trials reserve there.

    Raises:
        InputError: No cluster, or a node that does not answer.
    """
    connection = RayConnection(address)
    try:
        alive = [node for node in ray.nodes() if node["Alive"]]
        ask = ray.remote(num_cpus=0)(read_node)
        asked = [
            ask.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ).remote()
            for node in alive
        ]
        deadline = time.monotonic() + ANSWER_SECONDS
        answers = (_answer(node, ref, deadline) for node, ref in zip(alive, asked, strict=True))
        return tuple(answer for answer in answers if answer is not None)
    finally:
        connection.close()


def _answer(node: dict[str, Any], asked: Any, deadline: float) -> Node | None:
    """What a node told; None: it died meanwhile, so that trials would not find it either."""
    try:
        found: Node = ray.get(asked, timeout=max(0.0, deadline - time.monotonic()))
    except ray.exceptions.RayError as error:
        if node["NodeID"] not in {one["NodeID"] for one in ray.nodes() if one["Alive"]}:
            return None
        raise InputError(
            f"a node of the cluster gives no answer: {str(error).strip().splitlines()[-1]}; "
            "is the project installed on it?"
        ) from error
    has = node["Resources"]
    return replace(found, num_cpus=has.get("CPU", 0), num_gpus=has.get("GPU", 0))
