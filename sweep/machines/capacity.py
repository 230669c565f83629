"""How many processes of a trial machines hold side by side, and what is said where none fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from xlt.trainables.spec.trial_spec import ACCELERATOR, Resources

NOT_ASKED_FOR = ("memory", "object_store_memory", "node:")
"""How the names of those resources of a node begin that no trial reserves."""


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """What trials can reserve on a machine.

    Attributes:
        num_cpus: As its scheduler counts them.
        num_gpus: The same.
        others: Everything else, e.g. the type of its GPUs or what it was started with.
    """

    num_cpus: float
    num_gpus: float
    others: Mapping[str, float] = field(default_factory=dict)


def capacity_of(resources: Mapping[str, float]) -> Capacity:
    """What a node's resources, as Ray lists them, are to trials."""
    others = {
        name: amount
        for name, amount in resources.items()
        if name not in ("CPU", "GPU") and not name.startswith(NOT_ASKED_FOR)
    }
    return Capacity(
        num_cpus=resources.get("CPU", 0), num_gpus=resources.get("GPU", 0), others=others
    )


def num_processes(nodes: Sequence[Capacity], request: Resources) -> int:
    """Processes of a trial that machines hold side by side, were they idle."""
    gpus = _gpus(nodes, request)
    return sum(_on_one(node, request, gpus) for node in nodes)


def num_trials(nodes: Sequence[Capacity], request: Resources) -> int:
    """Trials that machines hold side by side; 0: they never hold one."""
    return num_processes(nodes, request) // request.workers


def never_fits(nodes: Sequence[Capacity], request: Resources) -> str:
    """Why a trial would wait for ever, and what to do, in one sentence."""
    gpus = _gpus(nodes, request)
    each = f"{request.cpus} CPUs" + (f" and {gpus:g} GPU" if gpus else "")
    each += "".join(f" and {_told(name, amount)}" for name, amount in request.others.items())
    asked = each if request.workers == 1 else f"{request.workers} processes of {each} each"
    have = ", ".join(map(_has, nodes))
    remedies = []
    missing = {n for n in request.others if not any(node.others.get(n) for node in nodes)}
    if any(name.startswith(ACCELERATOR) for name in missing):
        remedies.append("set resources.accelerator_type to one of these, or drop it")
    if own := sorted(name for name in missing if not name.startswith(ACCELERATOR)):
        remedies.append(f"start nodes with {', '.join(own)} (ray start --resources)")
    largest = int(max(node.num_cpus for node in nodes))
    if request.cpus > largest:
        remedies.append(f"set resources.cpus={largest}")
    if request.workers > 1 and not missing:
        remedies.append(f"set resources.workers={num_processes(nodes, request) or 1}")
    remedies.append("add machines, or give another --address")
    return f"a trial needs {asked}, the cluster's nodes have {have}; {', '.join(remedies)}"


def _gpus(nodes: Sequence[Capacity], request: Resources) -> float:
    """GPUs of a process; they count only where there are some."""
    return request.gpus if any(node.num_gpus for node in nodes) else 0.0


def _on_one(node: Capacity, request: Resources, gpus: float) -> int:
    """Processes that a machine holds; a share of a GPU is a share of one."""
    room = [int(node.num_cpus // request.cpus)]
    if gpus:
        room.append(int(node.num_gpus) * int(1 / gpus + 1e-9))
    for name, amount in request.others.items():
        room.append(int(node.others.get(name, 0) / amount + 1e-9))
    return min(room)


def _has(node: Capacity) -> str:
    """A node's resources as people say them."""
    told = [f"{node.num_cpus:g} CPUs", f"{node.num_gpus:g} GPUs"]
    told += [_told(name, amount) for name, amount in node.others.items()]
    return " and ".join(told)


def _told(name: str, amount: float) -> str:
    if name.startswith(ACCELERATOR):
        return f"type {name.removeprefix(ACCELERATOR)}"
    return f"{amount:g} {name}"
