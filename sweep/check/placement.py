"""Whether the cluster can ever hold each trial, and whether its GPUs can do what is asked."""

from __future__ import annotations

from xlt.data.core.finding import Finding
from xlt.sweep.check.outcome import Checked
from xlt.sweep.check.preflight import Preflight, TrialGroup
from xlt.sweep.machines.capacity import never_fits, num_trials
from xlt.sweep.machines.nodes import Node

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
            problems.append(Finding(kind.label, "error", never_fits(preflight.nodes, request)))
    return Checked("Machines", COLUMNS, tuple(rows), tuple(problems), notes)


def slots_of(preflight: Preflight, kind: TrialGroup) -> int:
    """Trials of a kind that fit side by side; one after the other inline."""
    if preflight.backend == "inline":
        return 1
    return num_trials(preflight.nodes, kind.first.resources)


def _gpus(preflight: Preflight, kind: TrialGroup) -> list[Finding]:
    """What is wrong with the GPUs that a trial would get."""
    problems = []
    if preflight.device(kind.first) == "cpu":
        return []
    for node in preflight.nodes:
        if node.num_gpus and node.torch.endswith("+cpu"):
            problems.append(
                Finding(
                    kind.label,
                    "error",
                    f"{node.name} has GPUs and a torch without CUDA ({node.torch})",
                    "install the build for CUDA, or set resources.gpus=0",
                )
            )
        old = [gpu for gpu in node.gpus if gpu.capability < BF16_CAPABILITY]
        if old and kind.first.training.precision != "fp32":
            version = ".".join(map(str, old[0].capability))
            problems.append(
                Finding(
                    kind.label,
                    "warning",
                    f"{old[0].name} on {node.name} (compute capability {version}) has no bf16 "
                    "arithmetic and emulates it slowly",
                    "set training.precision=fp32",
                )
            )
    return problems


def _describe(node: Node) -> str:
    """A node in a line."""
    memory = f"{node.memory / 2**30:.0f} GiB"
    gpus = ", ".join(f"{gpu.name} ({gpu.memory / 2**30:.0f} GiB)" for gpu in node.gpus)
    told = gpus or (f"{node.num_gpus:g} GPUs" if node.num_gpus else "no GPU")
    return f"{node.name}: {node.num_cpus:g} CPUs, {memory}, {told}, torch {node.torch}"
