"""Check that each trial fits into the memory of its GPU or machine."""

from __future__ import annotations

from typing import Any

from xlt.data.core.errors import InputError
from xlt.data.core.finding import Finding
from xlt.sweep.check.outcome import CheckOutcome, gib
from xlt.sweep.check.placement import count_slots
from xlt.sweep.check.preflight import Preflight, TrialGroup
from xlt.trainables.estimates.memory import GPU_CONTEXT, PROCESS, Memory
from xlt.trainables.models.tokenizer_files import TOKENIZER
from xlt.trainables.spec.resources import Resources
from xlt.trainables.spec.trial_spec import TrialSpec

COLUMNS = (
    "GiB of a trial", "on", "# rows", "# base", "# trained", "# gradients", "# AdamW",
    "# activations", "# prediction", "# peak", "# process", "# measured", "# there is",
)  # fmt: skip
REMEDIES: tuple[dict[str, Any], ...] = (
    {"gradient_checkpointing": True},
    {"micro_batch_size": 1},
    {"gradient_checkpointing": True, "micro_batch_size": 1},
)
"""Settings of ``resources`` that need less memory and do not change what is learnt."""


def check(preflight: Preflight) -> CheckOutcome:
    """Compare the estimate of :mod:`xlt.trainables.estimates.dry_run` with each device."""
    rows, problems = [], []
    unknown = []
    for group in preflight.groups:
        if not group.first.has_base_model:
            continue
        try:
            if preflight.files(group.first) is None:
                unknown.append(group.label)
                continue
            row, group_problems = _check_group(preflight, group)
        except InputError:
            unknown.append(group.label)  # the check of models reports it
            continue
        rows.append(row)
        problems += group_problems
    notes = [
        "# rows is the size of a micro-batch, each row as long as the longest text; weights, "
        "gradients and AdamW's moments are counted, activations by a dry run (docs/gpus.md)",
        f"# process is # peak and what is not a tensor: {gib(GPU_CONTEXT)} GiB on a GPU; on a CPU "
        f"{gib(PROCESS)} GiB, the tokenizer, gaps between activations, and checkpoints",
    ]
    if unknown:
        notes.append(f"not known: {', '.join(unknown)}")
    return CheckOutcome("Memory", COLUMNS, tuple(rows), tuple(problems), tuple(notes))


def estimate_memory(preflight: Preflight, spec: TrialSpec, rows: int) -> Memory:
    """Estimate the memory of one process of a trial."""
    run = preflight.dry_run(spec, rows)
    request = spec.resources
    layers = run.matrices.num_layers
    return run.memory.shared(request.workers, request.sharding, layers, spec.method == "full")


def _check_group(preflight: Preflight, group: TrialGroup) -> tuple[tuple[str, ...], list[Finding]]:
    """Return the row of a group and its problems."""
    spec = group.first
    device, available = preflight.device(spec), _find_available(preflight, spec)
    rows = preflight.rows(group)
    memory = estimate_memory(preflight, spec, rows)
    problems = []
    needed = _add_overhead(preflight, spec, memory)
    if available and needed > available and device == "cuda" and not spec.is_baseline:
        fitting = _halve_rows(preflight, group, available)
        if fitting:
            message = (
                f"{rows} rows at once need {gib(memory.peak)} GiB, a process has {gib(available)}; "
                f"micro-batches are halved until they fit, about {fitting}"
            )
            remedy = f"set resources.micro_batch_size={fitting}"
            problems.append(Finding(group.label, "warning", message, remedy))
            rows, memory = fitting, estimate_memory(preflight, spec, fitting)
    if available and _add_overhead(preflight, spec, memory) > available:
        message = _explain_shortage(preflight, group, memory, available)
        problems.append(Finding(group.label, "error", message))
    elif available and device == "cpu":
        problems += _check_side_by_side(preflight, group, memory)
    parts = (
        memory.base, memory.trained + memory.copies, memory.gradients, memory.optimizer,
        memory.activations, memory.prediction, memory.peak,
    )  # fmt: skip
    measured = _find_measured_peak(preflight, group)
    process = gib(_add_overhead(preflight, spec, memory))
    ends = (process, gib(measured) if measured else "-", gib(available) if available else "-")
    return (group.label, device, str(rows), *map(gib, parts), *ends), problems


def _find_available(preflight: Preflight, spec: TrialSpec) -> int:
    """Bytes for a process: its share of the smallest GPU, or the memory of the largest machine.

    Returns:
        0 if the memory of the GPUs is not known.
    """
    if preflight.device(spec) == "cuda":
        smallest = min((n.gpu_memory for n in preflight.nodes if n.gpu_memory), default=0)
        return int(smallest * spec.resources.gpus)
    return max(node.memory for node in preflight.nodes)


def _add_overhead(preflight: Preflight, spec: TrialSpec, memory: Memory) -> int:
    """Count the bytes of a process, on a GPU or in main memory: its tensors and all else."""
    if preflight.device(spec) == "cuda":
        return memory.peak + GPU_CONTEXT
    files = preflight.files(spec)
    tokenizer_bytes = files.sizes.get(TOKENIZER, 0) if files else 0
    minutes = preflight.grid.experiment.storage.checkpoint_minutes
    return memory.resident(tokenizer_bytes, writes_checkpoints=minutes is not None)


def _halve_rows(preflight: Preflight, group: TrialGroup, available: int) -> int:
    """Halve the micro-batch until it fits; 0 if no size fits."""
    rows = group.rows // 2
    spec = group.first
    while rows:
        memory = estimate_memory(preflight, spec, rows)
        if _add_overhead(preflight, spec, memory) <= available:
            break
        rows //= 2
    return rows


def _explain_shortage(
    preflight: Preflight, group: TrialGroup, memory: Memory, available: int
) -> str:
    spec = group.first
    device = preflight.device(spec)
    place = "its share of a GPU" if device == "cuda" else "the largest machine"
    message = (
        f"a trial needs {gib(_add_overhead(preflight, spec, memory))} GiB, "
        f"{place} has {gib(available)}"
    )
    for changes in () if spec.is_baseline else REMEDIES:
        resources = Resources.parse(spec.resources.model_dump() | changes)
        changed = spec.model_copy(update={"resources": resources})
        rows = min(resources.micro_batch_size or group.rows, group.rows)
        needed = _add_overhead(preflight, changed, estimate_memory(preflight, changed, rows))
        if needed <= available:
            settings = " and ".join(f"resources.{k}={str(v).lower()}" for k, v in changes.items())
            return f"{message}; set {settings} ({gib(needed)} GiB)"
    if spec.is_baseline:
        return f"{message}; give a smaller base model, or a device with more memory"
    smaller = "method lora" if spec.method == "full" else "lora.quantize_base=nf4 on a GPU"
    more = "more workers with sharding fsdp, " if device == "cuda" else ""
    return (
        f"{message}, and neither checkpointing nor single rows bring it below; {smaller}, {more}"
        "a smaller base model, or a device with more memory"
    )


def _check_side_by_side(preflight: Preflight, group: TrialGroup, memory: Memory) -> list[Finding]:
    """Warn about trials that need too much memory together."""
    machines, slots = len(preflight.nodes), count_slots(preflight, group)
    spec = group.first
    needed = slots * spec.resources.workers * _add_overhead(preflight, spec, memory)
    available = sum(node.memory for node in preflight.nodes)
    if needed <= available:
        return []
    message = (
        f"{slots} trials side by side on {machines} machines need {gib(needed)} GiB, and there are "
        f"{gib(available)}"
    )
    remedy = "raise resources.cpus, so that fewer run at a time"
    return [Finding(group.label, "warning", message, remedy)]


def _find_measured_peak(preflight: Preflight, group: TrialGroup) -> int:
    """Highest peak that done trials have recorded, in bytes; 0 if none has."""
    records = (preflight.states[spec.trial_id].record or {} for spec in group.specs)
    executions = [record.get("execution", {}) for record in records]
    alone = [e for e in executions if e.get("packed", 1) == 1]  # else it is the peak of a pack
    return max((int(e.get("peak_memory_bytes") or 0) for e in alone), default=0)
