"""Whether the results fit where they go."""

from __future__ import annotations

import pyarrow.fs as pafs

from xlt.data.core.errors import InputError
from xlt.data.core.finding import Finding
from xlt.sweep.check.outcome import Checked, gib
from xlt.sweep.check.placement import slots_of
from xlt.sweep.check.preflight import Preflight, TrialGroup
from xlt.sweep.machines.nodes import free_bytes

TRIAL_BYTES = 64 * 1024
"""Taken for a trial's files besides weights; those of `quickstart`, 512 test rows, have 35 kB."""
ROW_BYTES = 64
"""Taken for a test row in them, for sampling with more rows than that."""
LESS = {"all": "best", "best": "adapters", "adapters": "none"}
"""Policy of kept models -> one that keeps less."""


def check(preflight: Preflight) -> Checked:
    """Weights that are kept, checkpoints and the other files of pending trials: is there space?

    Weights are counted where torch may be asked. Results hold trained weights in fp32, and a
    checkpoint AdamW's two moments with them.
    """
    keep = preflight.grid.experiment.storage.keep_models
    needed = 0
    unknown = []
    for kind in preflight.kinds:
        weights = _weights(preflight, kind)
        if weights is None:
            unknown.append(kind.label)
        rows = preflight.grid.experiment.sampling.test_rows * ROW_BYTES
        needed += len(kind.pending) * (TRIAL_BYTES + rows) + (weights or 0)
    uri = preflight.location.uri
    told = f"{uri}: about {gib(needed)} GiB to write (keep_models: {keep})"
    if unknown:
        told += f", without the weights of {', '.join(unknown)}"
    if not isinstance(preflight.location.fs, pafs.LocalFileSystem):
        return Checked("Results", notes=(f"{told}; free space of a store is not known",))
    free = free_bytes(preflight.location.root)
    problems = []
    if needed > free:
        message = f"{gib(needed)} GiB are to be written, {gib(free)} GiB are free"
        less = f", or keep less: storage.keep_models={LESS[keep]}" if keep in LESS else ""
        problems.append(Finding(uri, "error", message, f"free some{less}"))
    return Checked("Results", problems=tuple(problems), notes=(f"{told}, {gib(free)} GiB free",))


def _weights(preflight: Preflight, kind: TrialGroup) -> int | None:
    """Bytes of kept weights and of checkpoints, of all pending trials; None: not known."""
    storage, method = preflight.grid.experiment.storage, kind.first.method
    keeps = storage.keep_models in {"all", "best"} or (
        storage.keep_models == "adapters" and method == "lora"
    )
    running = min(slots_of(preflight, kind), len(kind.pending))
    num_kept = len(kind.pending) if keeps else 0
    if storage.keep_models == "best":  # of each cell, and those that were just trained
        num_kept = min(num_kept, len({spec.pattern.name for spec in kind.pending}) + running)
    num_checkpoints = running if storage.checkpoint_minutes is not None else 0
    if not num_kept and (not num_checkpoints or not preflight.asks_hub):
        return 0
    try:
        trained = _trained_bytes(preflight, kind)
    except InputError:
        return None
    return trained and trained * (num_kept + 3 * num_checkpoints)


def _trained_bytes(preflight: Preflight, kind: TrialGroup) -> int | None:
    """Of a trial's trained weights; without torch, at least those of the checkpoint."""
    files = preflight.files(kind.first)
    if files is None:
        return None
    if preflight.asks_hub:
        return 4 * preflight.dry_run(kind.first, kind.rows).num_trained
    if kind.first.method == "lora":
        return None
    return sum(size for name, size in files.sizes.items() if name.endswith(".safetensors"))
