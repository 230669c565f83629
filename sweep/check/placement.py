"""Whether the cluster can ever hold each trial, and whether its GPUs can do what is asked."""

from __future__ import annotations

from sweep.check.finding import Checked, Problem
from sweep.check.preflight import Kind, Preflight
from sweep.nodes import Node
from trainables.spec import Resources

COLUMNS = ("trials", "# processes", "# CPUs each", "# GPUs each", "# at a time")
BF16_CAPABILITY = (8, 0)
"""Compute capability from which GPUs compute in bfloat16 (CUDA C++ programming guide, table of
arithmetic throughput); older ones emulate it, slowly."""


def check(preflight: Preflight) -> Checked:
    """Requests against nodes; the inline backend reserves nothing."""
    notes = tuple(map(_describe, preflight.nodes))
    problems = [problem for kind in preflight.kinds for problem in _gpus(preflight, kind)]
    if preflight.backend == "inline":
        return Checked("Machines", problems=tuple(problems), notes=notes)
    rows = []
    for kind in preflight.kinds:
        request, slots = kind.first.resources, slots_of(preflight, kind)
        gpus = request.gpus if preflight.has_gpus else 0
        cells = (request.workers, request.cpus, f"{gpus:g}", slots)
        rows.append((kind.label, *map(str, cells)))
        if not slots:
            problems.append(Problem("error", kind.label, _too_much(preflight, request)))
    return Checked("Machines", COLUMNS, tuple(rows), tuple(problems), notes)


def slots_of(preflight: Preflight, kind: Kind) -> int:
    """Trials of a kind that fit side by side; one after the other inline."""
    if preflight.backend == "inline":
        return 1
    request = kind.first.resources
    return _all_processes(preflight, request) // request.workers


def processes_on(num_cpus: float, num_gpus: float, request: Resources, has_gpus: bool) -> int:
    """Processes of a trial that a node holds side by side; a share of a GPU is of one GPU.

    Args:
        num_cpus: Of the node.
        num_gpus: Of the node.
        request: What the trial reserves.
        has_gpus: Whether any node of the cluster has some; else GPUs do not count.
    """
    by_cpus = int(num_cpus // request.cpus)
    if not has_gpus or not request.gpus:
        return by_cpus
    return min(by_cpus, int(num_gpus) * int(1 / request.gpus + 1e-9))


def _all_processes(preflight: Preflight, request: Resources) -> int:
    """Processes of a trial that all nodes hold."""
    return sum(
        processes_on(node.num_cpus, node.num_gpus, request, preflight.has_gpus)
        for node in preflight.nodes
    )


def _too_much(preflight: Preflight, request: Resources) -> str:
    """Why a trial would wait for ever."""
    nodes = preflight.nodes
    gpus = request.gpus if preflight.has_gpus else 0
    each = f"{request.cpus} CPUs" + (f" and {gpus:g} GPU" if gpus else "")
    asked = each if request.workers == 1 else f"{request.workers} processes of {each} each"
    have = ", ".join(f"{n.num_cpus:g} CPUs and {n.num_gpus:g} GPUs" for n in nodes)
    remedies = []
    if request.cpus > max(node.num_cpus for node in nodes):
        remedies.append(f"set resources.cpus={int(max(node.num_cpus for node in nodes))}")
    if request.workers > 1:
        remedies.append(f"set resources.workers={_all_processes(preflight, request) or 1}")
    remedies.append("add machines, or give another --address")
    return f"a trial needs {asked}, the cluster's nodes have {have}; {', '.join(remedies)}"


def _gpus(preflight: Preflight, kind: Kind) -> list[Problem]:
    """What is wrong with the GPUs that a trial would get."""
    problems = []
    if preflight.device(kind.first) == "cpu":
        return []
    for node in preflight.nodes:
        if node.num_gpus and node.torch.endswith("+cpu"):
            problems.append(
                Problem(
                    "error",
                    kind.label,
                    f"{node.name} has GPUs and a torch without CUDA ({node.torch}); install the "
                    "build for CUDA, or set resources.gpus=0",
                )
            )
        old = [gpu for gpu in node.gpus if gpu.capability < BF16_CAPABILITY]
        if old and kind.first.training.precision != "fp32":
            version = ".".join(map(str, old[0].capability))
            problems.append(
                Problem(
                    "warning",
                    kind.label,
                    f"{old[0].name} on {node.name} (compute capability {version}) has no bf16 "
                    "arithmetic and emulates it slowly; set training.precision=fp32",
                )
            )
    return problems


def _describe(node: Node) -> str:
    """A node in a line."""
    memory = f"{node.memory / 2**30:.0f} GiB"
    gpus = ", ".join(f"{gpu.name} ({gpu.memory / 2**30:.0f} GiB)" for gpu in node.gpus)
    told = gpus or (f"{node.num_gpus:g} GPUs" if node.num_gpus else "no GPU")
    return f"{node.name}: {node.num_cpus:g} CPUs, {memory}, {told}, torch {node.torch}"
