"""How many processes of a trial machines hold side by side, and what is said where none fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trainables.spec import Resources


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """What trials can reserve on a machine.

    Attributes:
        num_cpus: As its scheduler counts them.
        num_gpus: The same.
    """

    num_cpus: float
    num_gpus: float


def num_processes(nodes: Sequence[Capacity], request: Resources) -> int:
    """Processes of a trial that machines hold side by side, were they idle."""
    gpus = _gpus(nodes, request)
    return sum(_on_one(node, request.cpus, gpus) for node in nodes)


def num_trials(nodes: Sequence[Capacity], request: Resources) -> int:
    """Trials that machines hold side by side; 0: they never hold one."""
    return num_processes(nodes, request) // request.workers


def never_fits(nodes: Sequence[Capacity], request: Resources) -> str:
    """Why a trial would wait for ever, and what to do, in one sentence."""
    gpus = _gpus(nodes, request)
    each = f"{request.cpus} CPUs" + (f" and {gpus:g} GPU" if gpus else "")
    asked = each if request.workers == 1 else f"{request.workers} processes of {each} each"
    have = ", ".join(f"{node.num_cpus:g} CPUs and {node.num_gpus:g} GPUs" for node in nodes)
    remedies = []
    largest = int(max(node.num_cpus for node in nodes))
    if request.cpus > largest:
        remedies.append(f"set resources.cpus={largest}")
    if request.workers > 1:
        remedies.append(f"set resources.workers={num_processes(nodes, request) or 1}")
    remedies.append("add machines, or give another --address")
    return f"a trial needs {asked}, the cluster's nodes have {have}; {', '.join(remedies)}"


def _gpus(nodes: Sequence[Capacity], request: Resources) -> float:
    """GPUs of a process; they count only where there are some."""
    return request.gpus if any(node.num_gpus for node in nodes) else 0.0


def _on_one(node: Capacity, cpus: int, gpus: float) -> int:
    """Processes that a machine holds; a share of a GPU is a share of one."""
    by_cpus = int(node.num_cpus // cpus)
    if not gpus:
        return by_cpus
    return min(by_cpus, int(node.num_gpus) * int(1 / gpus + 1e-9))
