"""Check that disks have space for all results, and for the files of a Ray that starts here."""

from __future__ import annotations

import pyarrow.fs as pafs

from xlt.data.core.errors import InputError
from xlt.data.core.finding import Finding
from xlt.sweep.check.outcome import CheckOutcome, gib
from xlt.sweep.check.placement import count_slots
from xlt.sweep.check.preflight import Preflight, TrialGroup
from xlt.sweep.machines.nodes import count_free_bytes
from xlt.sweep.machines.ray_folder import find_ray_shortage
from xlt.trainables.models.tokenizer_files import SENTENCEPIECE, TOKENIZER, VOCABULARIES
from xlt.trainables.spec.methods import OF_A_PART

TRIAL_BYTES = 64 * 1024
"""Assumed size of a trial's files without weights; a trial of `quickstart`, with 512 test rows, has
35 kB."""
ROW_BYTES = 64
"""Assumed size of a test row in these files, for experiments with more test rows than that."""
LESS = {"all": "best", "best": "adapters", "adapters": "none"}
"""Value of storage.keep_models -> the value that keeps the next smaller amount."""


def check(preflight: Preflight) -> CheckOutcome:
    """Compare free space with the weights, checkpoints and other files of pending trials.

    Weights are counted only if torch may be imported. Results hold trained weights in fp32, and a
    checkpoint holds AdamW's two moments beside them.
    """
    keep = preflight.grid.experiment.storage.keep_models
    needed = 0
    unknown = []
    for group in preflight.groups:
        weights = _estimate_weights(preflight, group)
        if weights is None:
            unknown.append(group.label)
        rows = group.first.max_test_rows * ROW_BYTES
        needed += len(group.pending) * (TRIAL_BYTES + rows) + (weights or 0)
    uri = preflight.location.uri
    note = f"{uri}: about {gib(needed)} GiB to write (keep_models: {keep})"
    if unknown:
        note += f", without the weights of {', '.join(unknown)}"
    problems = []
    if preflight.starts_ray and (shortage := find_ray_shortage()):
        problems.append(Finding("Ray", "error", shortage))
    if not isinstance(preflight.location.fs, pafs.LocalFileSystem):
        note += "; free space of a store is not known"
        return CheckOutcome("Results", problems=tuple(problems), notes=(note,))
    free = count_free_bytes(preflight.location.root)
    if needed > free:
        message = f"{gib(needed)} GiB are to be written, {gib(free)} GiB are free"
        less = f", or keep less: storage.keep_models={LESS[keep]}" if keep in LESS else ""
        problems.append(Finding(uri, "error", message, f"free some{less}"))
    notes = (f"{note}, {gib(free)} GiB free",)
    return CheckOutcome("Results", problems=tuple(problems), notes=notes)


def _estimate_weights(preflight: Preflight, group: TrialGroup) -> int | None:
    """Bytes of kept weights and checkpoints of all pending trials; None if not known."""
    if group.first.is_baseline:  # keeps no weights and writes no checkpoints
        return 0
    storage, method = preflight.grid.experiment.storage, group.first.method
    keeps = storage.keep_models in {"all", "best"} or (
        storage.keep_models == "adapters" and method in OF_A_PART
    )
    running = min(count_slots(preflight, group), len(group.pending))
    num_kept = len(group.pending) if keeps else 0
    if storage.keep_models == "best":  # one a cell, and those of running trials
        num_kept = min(num_kept, len({spec.pattern.name for spec in group.pending}) + running)
    num_checkpoints = running if storage.checkpoint_minutes is not None else 0
    if not num_kept and (not num_checkpoints or not preflight.asks_hub):
        return 0
    try:
        trained = _estimate_trained_bytes(preflight, group)
    except InputError:
        return None
    if trained is None:
        return None
    return trained * (num_kept + 3 * num_checkpoints) + num_kept * _count_tokenizer_bytes(
        preflight, group
    )


def _count_tokenizer_bytes(preflight: Preflight, group: TrialGroup) -> int:
    """Bytes of the tokenizer that is kept with the weights of a trial; 0 if not known."""
    files = preflight.files(group.first)
    sizes = files.sizes if files else {}
    return sum(sizes.get(name, 0) for name in (TOKENIZER, *SENTENCEPIECE, *VOCABULARIES))


def _estimate_trained_bytes(preflight: Preflight, group: TrialGroup) -> int | None:
    """Bytes of a trial's trained weights; without torch, the size of the base model's files."""
    files = preflight.files(group.first)
    if files is None:
        return None
    if preflight.asks_hub:
        return 4 * preflight.dry_run(group.first, group.rows).num_trained
    if group.first.method in OF_A_PART:
        return None
    return sum(size for name, size in files.sizes.items() if name.endswith(".safetensors"))
