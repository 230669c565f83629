"""The machines of a Ray cluster, asked by a task that reserves nothing, so that none waits."""

from __future__ import annotations

from dataclasses import replace

from sweep.ray_connection import RayConnection  # isort: skip  sets what Ray reads at import

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from data.errors import InputError
from sweep.capacity import capacity_of
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
        try:
            told = ray.get(asked, timeout=ANSWER_SECONDS)
        except ray.exceptions.RayError as error:
            raise InputError(
                f"a node of the cluster gives no answer: {str(error).strip().splitlines()[-1]}; "
                "is the project installed on it?"
            ) from error
        counted = [capacity_of(node["Resources"]) for node in alive]
        return tuple(
            replace(found, num_cpus=has.num_cpus, num_gpus=has.num_gpus, others=has.others)
            for has, found in zip(counted, told, strict=True)
        )
    finally:
        connection.close()
