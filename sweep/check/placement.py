"""Check that machines can hold each trial, and compute and measure as the experiment asks."""

from __future__ import annotations

from xlt.data.core.finding import Finding
from xlt.sweep.check.outcome import CheckOutcome
from xlt.sweep.check.preflight import Preflight, TrialGroup
from xlt.sweep.machines.capacity import count_trials, explain_misfit
from xlt.sweep.machines.nodes import Node
from xlt.trainables.trial.energy import find_energy_problem

COLUMNS = ("trials", "# processes", "# CPUs each", "# GPUs each", "# at a time")
BF16_CAPABILITY = (8, 0)
"""Least compute capability with bfloat16 arithmetic (CUDA C++ programming guide, table of
arithmetic throughput); older GPUs emulate it, slowly."""


def check(preflight: Preflight) -> CheckOutcome:
    """Compare what trials reserve with the machines; the inline backend reserves nothing."""
    notes = tuple(map(_describe, preflight.nodes))
    problems = [problem for group in preflight.groups for problem in _check_gpus(preflight, group)]
    cost = preflight.grid.experiment.cost
    if cost and cost.energy and (problem := find_energy_problem(cost.energy_country)):
        problems.append(Finding("cost.energy", "error", *problem))
    if preflight.backend == "inline":
        return CheckOutcome("Machines", problems=tuple(problems), notes=notes)
    rows = []
    for group in preflight.groups:
        request, slots = group.first.resources, count_slots(preflight, group)
        gpus = request.gpus if preflight.has_gpus else 0
        numbers = (request.workers, request.cpus, f"{gpus:g}", slots)
        rows.append((group.label, *map(str, numbers)))
        if not slots:
            problems.append(Finding(group.label, "error", explain_misfit(preflight.nodes, request)))
    return CheckOutcome("Machines", COLUMNS, tuple(rows), tuple(problems), notes)


def count_slots(preflight: Preflight, group: TrialGroup) -> int:
    """Number of trials of a group that run at the same time; 1 with the inline backend."""
    if preflight.backend == "inline":
        return 1
    return count_trials(preflight.nodes, group.first.resources)


def _check_gpus(preflight: Preflight, group: TrialGroup) -> list[Finding]:
    """Problems of the GPUs that a trial would get."""
    problems = []
    if preflight.device(group.first) == "cpu":
        return []
    for node in preflight.nodes:
        if node.num_gpus and node.torch.endswith("+cpu"):
            problems.append(
                Finding(
                    group.label,
                    "error",
                    f"{node.name} has GPUs and a torch without CUDA ({node.torch})",
                    "install the build for CUDA, or set resources.gpus=0",
                )
            )
        old = [gpu for gpu in node.gpus if gpu.capability < BF16_CAPABILITY]
        if old and group.first.training.precision != "fp32":
            version = ".".join(map(str, old[0].capability))
            problems.append(
                Finding(
                    group.label,
                    "warning",
                    f"{old[0].name} on {node.name} (compute capability {version}) has no bf16 "
                    "arithmetic and emulates it slowly",
                    "set training.precision=fp32",
                )
            )
    return problems


def _describe(node: Node) -> str:
    """Describe a node in one line."""
    memory = f"{node.memory / 2**30:.0f} GiB"
    types = ", ".join(f"{gpu.name} ({gpu.memory / 2**30:.0f} GiB)" for gpu in node.gpus)
    gpus = types or (f"{node.num_gpus:g} GPUs" if node.num_gpus else "no GPU")
    return f"{node.name}: {node.num_cpus:g} CPUs, {memory}, {gpus}, torch {node.torch}"
