"""How long the run will take: from trials that are done, else from operations and speed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from xlt.data.core.errors import InputError
from xlt.data.core.finding import Finding
from xlt.sweep.check.gpu_types import bf16_flops
from xlt.sweep.check.outcome import Checked, duration
from xlt.sweep.check.placement import slots_of
from xlt.sweep.check.preflight import Preflight, TrialGroup
from xlt.trainables.estimates.flops import Matrices, count_prediction_flops, count_training_flops
from xlt.trainables.models.base_models import MINIATURE
from xlt.trainables.models.miniatures import find_miniature
from xlt.trainables.spec.trial_spec import TrialSpec

COLUMNS = ("time", "# trials to run", "# TFLOP each", "# each", "from", "# at a time", "# in all")
CPU_UTILISATION = 0.6
"""Share of the measured speeds that training reached on CPUs (range: docs/benchmarks.md)."""
GPU_UTILISATION = 0.4
"""Assumed share of a GPU's speed; PaLM's training reached 0.46 (Chowdhery et al. 2022, arXiv
2204.02311, table 3)."""
LARGE = 10**9
"""Parameters from which a base model without a GPU is worth a warning."""
PRETRAINING_CALLS = 2000
"""Taken for the kernels of a step of a miniature's pre-training; they have two layers."""


@dataclass(frozen=True)
class _Guess:
    """Seconds of one trial, and what they come from."""

    seconds: float
    source: str
    flops: float = 0.0


def check(preflight: Preflight) -> Checked:
    """Time of each kind of trial and of all; a guess, and it says of what."""
    rows, problems, unknown = [], [], []
    seconds = 0.0
    for label, guess in _pretraining(preflight):
        seconds += guess.seconds
        rows.append(_row(label, "-", guess, "1", guess.seconds))
    for kind in preflight.kinds:
        slots = slots_of(preflight, kind)
        guess_of = _guess(preflight, kind) if slots else None
        if guess_of is None:
            unknown.append(kind.label)
            continue
        num = len(kind.pending)
        own = guess_of.seconds * math.ceil(num / slots)
        seconds += own
        rows.append(_row(kind.label, str(num), guess_of, str(slots), own))
        problems += _slow(preflight, kind, guess_of, own)
    notes = [
        f"about {duration(seconds)} in all, without loading and downloading"
        + (", and without what is not known" if unknown else ""),
        f"operations: 6 a trained and 4 a frozen parameter and token; {CPU_UTILISATION:g} of the "
        f"measured speed of a CPU and {GPU_UTILISATION:g} of a GPU's are assumed",
    ]
    if unknown:
        notes.append(f"not known: {', '.join(unknown)}")
    return Checked("Time", COLUMNS, tuple(rows), tuple(problems), tuple(notes))


def _row(label: str, num: str, guess: _Guess, slots: str, own: float) -> tuple[str, ...]:
    flops = f"{guess.flops / 1e12:,.2f}" if guess.flops else "-"
    return label, num, flops, duration(guess.seconds), guess.source, slots, duration(own)


def _guess(preflight: Preflight, kind: TrialGroup) -> _Guess | None:
    """Of a trial; None: not known."""
    if not kind.pending:
        return _Guess(0, "all are done")
    try:
        return _done(preflight, kind) or _counted(preflight, kind)
    except InputError:  # told by the check of models
        return None


def _done(preflight: Preflight, kind: TrialGroup) -> _Guess | None:
    """From the timings of done trials of this kind, by the step."""
    seconds = steps = 0.0
    for spec in kind.specs:
        record = preflight.states[spec.trial_id].record
        if record and (timings := record.get("timings")):
            seconds += sum(timings.get(stage, 0.0) for stage in ("build", "fit", "predict"))
            steps += spec.num_steps
    if not steps:
        return None
    mean = sum(spec.num_steps for spec in kind.pending) / len(kind.pending)
    return _Guess(seconds / steps * mean, "done trials")


def _counted(preflight: Preflight, kind: TrialGroup) -> _Guess | None:
    """From operations and kernel calls, and how fast both are here."""
    spec = kind.first
    if preflight.files(spec) is None:
        return None
    run = preflight.dry_run(spec, kind.rows)
    flops = _mean([_flops(preflight, s, run.matrices) for s in kind.pending])
    processes = spec.resources.workers
    micro_batches = -(-spec.training.batch_size // (kind.rows * processes))
    calls = run.num_calls * micro_batches * _mean([s.num_steps for s in kind.pending])
    tokens = kind.rows * round(_mean(preflight.lengths(spec)))
    width = run.matrices.attention_width
    speed, call_seconds, source = _speed(preflight, spec, tokens, width)
    if not speed:
        return None
    computing, starting = flops / speed / processes, calls * call_seconds
    if preflight.device(spec) == "cuda":  # kernels are started while others compute
        return _Guess(max(computing / GPU_UTILISATION, starting), source, flops)
    return _Guess((computing + starting) / CPU_UTILISATION, source, flops)


def _flops(preflight: Preflight, spec: TrialSpec, matrices: Matrices) -> int:
    """Of training and prediction of a trial, every text as long as the mean of all."""
    length = round(_mean(preflight.lengths(spec)))
    checkpointing = spec.resources.gradient_checkpointing
    step = [length] * spec.training.batch_size
    trained = count_training_flops(matrices, step, gradient_checkpointing=checkpointing)
    tested = count_prediction_flops(matrices, [length] * spec.sampling.test_rows)
    return spec.num_steps * trained + tested


def _speed(
    preflight: Preflight, spec: TrialSpec, tokens: int, width: int
) -> tuple[float, float, str]:
    """(operations a second, seconds a call, where they come from) of one process."""
    import torch

    from xlt.trainables.estimates.throughput import measure_throughput

    device = preflight.device(spec)
    threads = spec.resources.cpus
    if device == "cpu" or torch.cuda.is_available():
        found = measure_throughput(device, tokens=tokens, width=width, num_threads=threads)
        share = spec.resources.gpus if device == "cuda" else 1.0
        return found.flops * share, found.call_seconds, "speed measured here"
    gpus = [gpu.name for node in preflight.nodes for gpu in node.gpus]
    peak = min((bf16_flops(name) for name in gpus), default=0.0)
    return peak * spec.resources.gpus, 0.0, "data sheet of the GPU"


def _slow(preflight: Preflight, kind: TrialGroup, guess: _Guess, own: float) -> list[Finding]:
    """A large base model where there is no GPU."""
    if preflight.device(kind.first) == "cuda" or not guess.flops or not kind.pending:
        return []
    if preflight.dry_run(kind.first, kind.rows).num_parameters < LARGE:
        return []
    message = (
        f"no GPU: a trial takes about {duration(guess.seconds)}, all {len(kind.pending)} "
        f"{duration(own)}"
    )
    remedy = "give --address of a cluster with GPUs, or a smaller base model"
    return [Finding(kind.label, "warning", message, remedy)]


def _pretraining(preflight: Preflight) -> list[tuple[str, _Guess]]:
    """(label, guess) of each miniature that is not cached: documents of full length, at most."""
    from xlt.trainables.estimates.throughput import measure_throughput

    guesses = []
    for kind in {kind.first.base_identity: kind for kind in preflight.kinds}.values():
        identity = kind.first.base_identity
        if not kind.pending or not identity.startswith(MINIATURE) or preflight.files(kind.first):
            continue
        recipe = find_miniature(identity.split(":")[1])
        corpus = preflight.grid.experiment.pretraining
        steps = round(recipe.num_steps * corpus.step_factor)
        width, num_mlp = recipe.hidden_size, 3 if recipe.architecture == "llama" else 2
        layer = 4 * width**2 + num_mlp * width * recipe.intermediate_size
        vocabulary = round(recipe.vocab_factor * corpus.vocab_size) * width
        matrices = Matrices(0, recipe.num_layers * layer + vocabulary, recipe.num_layers, width)
        lengths = [recipe.max_tokens] * recipe.batch_size
        flops = steps * count_training_flops(matrices, lengths)
        found = measure_throughput("cpu", tokens=sum(lengths), width=width)
        seconds = flops / found.flops + steps * PRETRAINING_CALLS * found.call_seconds
        seconds /= CPU_UTILISATION
        guess = _Guess(seconds, "speed measured here", flops)
        guesses.append((f"pre-training {kind.first.base_model}", guess))
    return guesses


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
