"""Memory of real training and prediction, and of a dry run."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch
from dry_run_specs import HEADS, LENGTH, ROWS
from tiny_checkpoints import make_classifier, make_measured_config
from torch.profiler import ProfilerActivity, profile

from xlt.trainables.estimates.dry_run import DryRun, dry_run
from xlt.trainables.loading.base import Base
from xlt.trainables.methods.registry import METHODS
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.classification import fit_classifier
from xlt.trainables.training.loop import predict


def allocated_peak(work: Callable[[], object]) -> int:
    """The most bytes that PyTorch's CPU allocator held at a time, from its own events."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        kept = work()
    events = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]
    assert len(events) > 100
    del kept
    now = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most


def token_ids(num_rows: int) -> list[list[int]]:
    """Texts of different lengths, so that batches are padded; the longest have LENGTH tokens."""
    lengths = random.Random(0).choices(range(LENGTH // 2, LENGTH), k=num_rows)
    return [[5] * (LENGTH if row % ROWS == 0 else n) for row, n in enumerate(lengths)]


def real_peaks(spec: TrialSpec, architecture: str, size: str) -> tuple[int, int]:
    """Bytes at the peak of training, and of prediction."""
    dtype = torch.bfloat16 if spec.training.precision == "bf16" else None
    half = dtype if spec.method == "lora" else None
    torch.set_num_threads(1)

    def build() -> tuple[Base, Any]:
        model = make_classifier(make_measured_config(architecture, size), half)
        base = Base(tokenizer=None, model=model, head_modules=HEADS[architecture])
        classifier: Any = METHODS[spec.method](base, spec)
        if spec.resources.gradient_checkpointing:
            classifier.activation_checkpointing_enable({"use_reentrant": False})
        return base, classifier

    def train() -> object:
        base, model = build()
        fit_classifier(model, token_ids(2 * ROWS), [0, 1] * ROWS, spec, lambda *_: None)
        return base, model

    def test() -> object:
        base, model = build()
        predict(model, token_ids(64), spec)
        return base, model

    return allocated_peak(train), allocated_peak(test)


COUNTED: dict[tuple[object, ...], DryRun] = {}
"""Dry runs of this process: several tests compare with the same one."""


def counted(
    spec: TrialSpec, architecture: str, size: str = "middle", rows: int = ROWS, device: str = "cpu"
) -> DryRun:
    key = (spec.model_dump_json(), architecture, size, rows, device)
    if key not in COUNTED:
        config = make_measured_config(architecture, size)
        COUNTED[key] = dry_run(spec, config, device=device, rows=rows, length=LENGTH)
    return COUNTED[key]
