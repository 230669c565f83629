"""Whether each trial fits into the memory of what it runs on."""

from __future__ import annotations

from typing import Any

from xlt.data.core.errors import InputError
from xlt.data.core.finding import Finding
from xlt.sweep.check.outcome import Checked, gib
from xlt.sweep.check.placement import slots_of
from xlt.sweep.check.preflight import Preflight, TrialGroup
from xlt.trainables.estimates.memory import GPU_CONTEXT, PROCESS, Memory
from xlt.trainables.spec.trial_spec import Resources, TrialSpec

COLUMNS = (
    "GiB of a trial", "on", "# rows", "# base", "# trained", "# gradients", "# AdamW",
    "# activations", "# prediction", "# peak", "# measured", "# there is",
)  # fmt: skip
REMEDIES: tuple[dict[str, Any], ...] = (
    {"gradient_checkpointing": True},
    {"micro_batch_size": 1},
    {"gradient_checkpointing": True, "micro_batch_size": 1},
)
"""Settings of ``resources`` that need less memory and change nothing that is learnt."""


def check(preflight: Preflight) -> Checked:
    """The estimate of :mod:`xlt.trainables.estimates.dry_run` against each device."""
    rows, problems = [], []
    unknown = []
    for kind in preflight.kinds:
        try:
            if preflight.files(kind.first) is None:
                unknown.append(kind.label)
                continue
            row, found = _kind(preflight, kind)
        except InputError:
            unknown.append(kind.label)  # told by the check of models
            continue
        rows.append(row)
        problems += found
    notes = [
        "rows: of a micro-batch, as long as the longest text; weights, gradients and AdamW's "
        "moments are counted, activations of a step without content (docs/gpus.md)",
        f"beyond tensors: {gib(PROCESS)} GiB a process on a CPU and {gib(GPU_CONTEXT)} GiB a GPU "
        "are assumed and not in the table",
    ]
    if unknown:
        notes.append(f"not known: {', '.join(unknown)}")
    return Checked("Memory", COLUMNS, tuple(rows), tuple(problems), tuple(notes))


def estimate(preflight: Preflight, spec: TrialSpec, rows: int) -> Memory:
    """Of one process of a trial."""
    run = preflight.dry_run(spec, rows)
    request = spec.resources
    layers = run.matrices.num_layers
    return run.memory.shared(request.workers, request.sharding, layers, spec.method == "full")


def _kind(preflight: Preflight, kind: TrialGroup) -> tuple[tuple[str, ...], list[Finding]]:
    spec = kind.first
    device, there = preflight.device(spec), _there(preflight, spec)
    rows, memory = kind.rows, estimate(preflight, spec, kind.rows)
    problems = []
    if there and _needed(memory, device) > there and device == "cuda":
        fitting = _halved(preflight, kind, there)
        if fitting:
            message = (
                f"{rows} rows at once need {gib(memory.peak)} GiB, a process has {gib(there)}; "
                f"micro-batches are halved until they fit, about {fitting}"
            )
            remedy = f"set resources.micro_batch_size={fitting}"
            problems.append(Finding(kind.label, "warning", message, remedy))
            rows, memory = fitting, estimate(preflight, spec, fitting)
    if there and _needed(memory, device) > there:
        problems.append(Finding(kind.label, "error", _too_much(preflight, kind, memory, there)))
    elif there and device == "cpu":
        problems += _side_by_side(preflight, kind, memory)
    parts = (
        memory.base, memory.trained, memory.gradients, memory.optimizer, memory.activations,
        memory.prediction, memory.peak,
    )  # fmt: skip
    measured = _measured(preflight, kind)
    told = (gib(measured) if measured else "-", gib(there) if there else "-")
    return (kind.label, device, str(rows), *map(gib, parts), *told), problems


def _there(preflight: Preflight, spec: TrialSpec) -> int:
    """Bytes for a process: its share of the smallest GPU, or a node's memory; 0: not known."""
    if preflight.device(spec) == "cuda":
        smallest = min((n.gpu_memory for n in preflight.nodes if n.gpu_memory), default=0)
        return int(smallest * spec.resources.gpus)
    return max(node.memory for node in preflight.nodes)


def _needed(memory: Memory, device: str) -> int:
    return memory.peak + (GPU_CONTEXT if device == "cuda" else PROCESS)


def _halved(preflight: Preflight, kind: TrialGroup, there: int) -> int:
    """The largest halved micro-batch that fits; 0: none does."""
    rows = kind.rows // 2
    while rows and _needed(estimate(preflight, kind.first, rows), "cuda") > there:
        rows //= 2
    return rows


def _too_much(preflight: Preflight, kind: TrialGroup, memory: Memory, there: int) -> str:
    spec = kind.first
    device = preflight.device(spec)
    place = "its share of a GPU" if device == "cuda" else "the largest machine"
    told = f"a trial needs {gib(_needed(memory, device))} GiB, {place} has {gib(there)}"
    for changes in REMEDIES:
        resources = Resources.parse(spec.resources.model_dump() | changes)
        changed = spec.model_copy(update={"resources": resources})
        rows = min(resources.micro_batch_size or kind.rows, kind.rows)
        if _needed(needed := estimate(preflight, changed, rows), device) <= there:
            settings = " and ".join(f"resources.{k}={str(v).lower()}" for k, v in changes.items())
            return f"{told}; set {settings} ({gib(_needed(needed, device))} GiB)"
    smaller = "method lora" if spec.method == "full" else "lora.quantize_base=nf4 on a GPU"
    more = "more workers with sharding fsdp, " if device == "cuda" else ""
    return (
        f"{told}, and neither checkpointing nor single rows bring it below; {smaller}, {more}"
        "a smaller base model, or a device with more memory"
    )


def _side_by_side(preflight: Preflight, kind: TrialGroup, memory: Memory) -> list[Finding]:
    """Trials that share a machine's memory."""
    machines, slots = len(preflight.nodes), slots_of(preflight, kind)
    needed = slots * kind.first.resources.workers * _needed(memory, "cpu")
    there = sum(node.memory for node in preflight.nodes)
    if needed <= there:
        return []
    message = (
        f"{slots} trials side by side on {machines} machines need {gib(needed)} GiB, there are "
        f"{gib(there)}"
    )
    remedy = "raise resources.cpus, so that fewer run at a time"
    return [Finding(kind.label, "warning", message, remedy)]


def _measured(preflight: Preflight, kind: TrialGroup) -> int:
    """The highest peak that done trials have recorded, in bytes; 0: none has."""
    records = (preflight.states[spec.trial_id].record or {} for spec in kind.specs)
    ways = [record.get("execution", {}) for record in records]
    alone = [way for way in ways if way.get("packed", 1) == 1]  # else it is a whole pack's
    return max(
        (int(way["peak_memory_bytes"]) for way in alone if way.get("peak_memory_bytes")), default=0
    )
