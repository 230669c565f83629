"""Count the trials that fit on machines at the same time, and explain why a trial does not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from xlt.trainables.spec.resources import ACCELERATOR, Resources

NOT_ASKED_FOR = ("memory", "object_store_memory", "node:")
"""Prefixes of the names of node resources that no trial reserves."""


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """The resources that trials can reserve on a machine.

    Attributes:
        num_cpus: Number of CPUs, as the scheduler counts them.
        num_gpus: Number of GPUs, as the scheduler counts them.
        others: Other resources by name, e.g. the type of GPUs or custom resources.
    """

    num_cpus: float
    num_gpus: float
    others: Mapping[str, float] = field(default_factory=dict)


def read_capacity(resources: Mapping[str, float]) -> Capacity:
    """Read the capacity of a node from its resources as Ray lists them."""
    others = {
        name: amount
        for name, amount in resources.items()
        if name not in ("CPU", "GPU") and not name.startswith(NOT_ASKED_FOR)
    }
    return Capacity(
        num_cpus=resources.get("CPU", 0), num_gpus=resources.get("GPU", 0), others=others
    )


def count_processes(nodes: Sequence[Capacity], request: Resources) -> int:
    """Count the processes of a trial that fit on idle machines at the same time."""
    gpus = _count_gpus(nodes, request)
    return sum(_count_on_node(node, request, gpus) for node in nodes)


def count_trials(nodes: Sequence[Capacity], request: Resources) -> int:
    """Count the trials that fit on idle machines at the same time; 0 if no trial ever fits."""
    return count_processes(nodes, request) // request.workers


def explain_misfit(nodes: Sequence[Capacity], request: Resources) -> str:
    """Explain why a trial never fits, with remedies, in one sentence."""
    gpus = _count_gpus(nodes, request)
    each = f"{request.cpus} CPUs" + (f" and {gpus:g} GPU" if gpus else "")
    each += "".join(f" and {_describe(name, amount)}" for name, amount in request.others.items())
    needed = each if request.workers == 1 else f"{request.workers} processes of {each} each"
    have = ", ".join(map(_describe_node, nodes))
    remedies = []
    missing = {n for n in request.others if not any(node.others.get(n) for node in nodes)}
    if any(name.startswith(ACCELERATOR) for name in missing):
        remedies.append("set resources.accelerator_type to one of these, or remove it")
    if own := sorted(name for name in missing if not name.startswith(ACCELERATOR)):
        remedies.append(f"start nodes with {', '.join(own)} (ray start --resources)")
    largest = int(max(node.num_cpus for node in nodes))
    if request.cpus > largest:
        remedies.append(f"set resources.cpus={largest}")
    if request.workers > 1 and not missing:
        remedies.append(f"set resources.workers={count_processes(nodes, request) or 1}")
    remedies.append("add machines, or give another --address")
    return f"a trial needs {needed}, the cluster's nodes have {have}; {', '.join(remedies)}"


def _count_gpus(nodes: Sequence[Capacity], request: Resources) -> float:
    """Number of GPUs for a process; 0 if no machine has GPUs."""
    return request.gpus if any(node.num_gpus for node in nodes) else 0.0


def _count_on_node(node: Capacity, request: Resources, gpus: float) -> int:
    """Count the processes that fit on a machine; a share of a GPU must lie on one GPU."""
    room = [int(node.num_cpus // request.cpus)]
    if gpus:
        room.append(int(node.num_gpus) * int(1 / gpus + 1e-9))
    for name, amount in request.others.items():
        room.append(int(node.others.get(name, 0) / amount + 1e-9))
    return min(room)


def _describe_node(node: Capacity) -> str:
    """Describe the resources of a node."""
    parts = [f"{node.num_cpus:g} CPUs", f"{node.num_gpus:g} GPUs"]
    parts += [_describe(name, amount) for name, amount in node.others.items()]
    return " and ".join(parts)


def _describe(name: str, amount: float) -> str:
    if name.startswith(ACCELERATOR):
        return f"type {name.removeprefix(ACCELERATOR)}"
    return f"{amount:g} {name}"
