"""Estimate how long the run takes: from trials that are done, else from operations and speed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xlt.analysis.summary.cost import write_cost
from xlt.data.core.errors import InputError
from xlt.data.core.finding import Finding
from xlt.sweep.check.gpu_types import find_bf16_flops
from xlt.sweep.check.outcome import CheckOutcome, duration
from xlt.sweep.check.placement import count_slots
from xlt.sweep.check.preflight import Preflight, TrialGroup
from xlt.trainables.estimates.flops import Matrices, count_prediction_flops, count_training_flops
from xlt.trainables.models.base_models import MINIATURE
from xlt.trainables.models.miniatures import find_miniature
from xlt.trainables.spec.cost import CPU
from xlt.trainables.spec.trial_spec import TrialSpec

COLUMNS = ("time", "# trials to run", "# TFLOP each", "# each", "from", "# at a time", "# in all")
CPU_UTILISATION = 0.6
"""Share of the measured speed that training reaches on CPUs; docs/benchmarks.md has the range."""
GPU_UTILISATION = 0.4
"""Assumed share of a GPU's peak speed; PaLM's training reached 0.46 (Chowdhery et al. 2022, arXiv
2204.02311, table 3)."""
CHARACTER_SECONDS = 2e-5
"""Assumed seconds of a trial with n-grams for each character of its training texts; about twice as
many as for English and Japanese sentences on a CPU core of 2023."""
LARGE = 10**9
"""Number of parameters from which a base model without a GPU is worth a warning."""
CALL_FACTOR = 3
"""Seconds to start an operation of a model for each second of an operation that is measured: the
measured ones follow one another without the Python code of modules and optimiser between them.
benchmarks/step_time.py compares both."""
PRETRAINING_CALLS = 700
"""Assumed operations of a step of a miniature's pre-training; miniatures have two layers."""


@dataclass(frozen=True)
class _Guess:
    """Seconds of one trial, and the source of the number."""

    seconds: float
    source: str
    flops: float = 0.0


def check(preflight: Preflight) -> CheckOutcome:
    """Estimate the time of each group of trials and of all; each row names its source."""
    rows, problems, unknown = [], [], []
    seconds = 0.0
    hours: dict[str, float] = defaultdict(float)
    for label, pretraining in _guess_pretraining(preflight):
        seconds += pretraining.seconds
        hours[CPU] += pretraining.seconds / 3600
        rows.append(_make_row(label, "-", pretraining, "1", pretraining.seconds))
    for group in preflight.groups:
        slots = count_slots(preflight, group)
        guess = _guess(preflight, group) if slots else None
        if guess is None:
            unknown.append(group.label)
            continue
        num = len(group.pending)
        own = guess.seconds * math.ceil(num / slots)
        seconds += own
        kind, amount = _find_hardware(preflight, group.first)
        hours[kind] += num * guess.seconds * amount / 3600
        rows.append(_make_row(group.label, str(num), guess, str(slots), own))
        problems += _check_gpu(preflight, group, guess, own)
    notes = [
        f"about {duration(seconds)} in all, without loading and downloading"
        + (", and without the trials named below" if unknown else ""),
        "each token costs 6 operations for a trained parameter and 4 for a frozen one; CPUs are "
        f"assumed to reach {CPU_UTILISATION:g} of their measured speed, GPUs {GPU_UTILISATION:g}",
    ]
    notes += _describe_cost(preflight, hours)
    notes += _describe_prompts(preflight)
    if unknown:
        notes.append(f"not known: {', '.join(unknown)}")
    return CheckOutcome("Time", COLUMNS, tuple(rows), tuple(problems), tuple(notes))


def _describe_cost(preflight: Preflight, hours: Mapping[str, float]) -> list[str]:
    """Estimate the money for hours of hardware; no sentence without prices."""
    cost = preflight.grid.experiment.cost
    used = {kind: number for kind, number in hours.items() if number}
    if cost is None or not cost.prices or not used:
        return []
    several = len(_list_gpu_types(preflight)) > 1
    dearest = "; of several types of GPUs, the dearest is assumed" * several
    return [f"estimated cost: {write_cost(used, cost)}{dearest}"]


def _find_hardware(preflight: Preflight, spec: TrialSpec) -> tuple[str, float]:
    """Return the type of hardware that a trial would use, as in prices, and how many of it."""
    request, cost = spec.resources, preflight.grid.experiment.cost
    if preflight.device(spec) == "cpu":
        return CPU, request.workers * request.cpus
    prices = cost.per_gpu_hour if cost else {}
    kinds = _list_gpu_types(preflight) or ["GPU"]  # a type without a price counts as the dearest
    dearest = max(kinds, key=lambda kind: prices.get(kind, math.inf))
    return request.accelerator_type or dearest, request.workers * request.gpus


def _list_gpu_types(preflight: Preflight) -> list[str]:
    return sorted({gpu.accelerator_type for node in preflight.nodes for gpu in node.gpus})


def _describe_prompts(preflight: Preflight) -> list[str]:
    """State the cost of prompts in tokens."""
    notes = []
    for group in preflight.groups:
        try:
            prompts = preflight.prompts(group.first)
        except InputError:  # the check of models reports it
            continue
        if prompts:
            notes.append(
                f"{group.label}: {prompts.num_computed:,} tokens a trial, "
                f"{prompts.num_tokens:,} without the shared beginning of prompts"
            )
    return notes


def _make_row(label: str, num: str, guess: _Guess, slots: str, own: float) -> tuple[str, ...]:
    flops = f"{guess.flops / 1e12:,.2f}" if guess.flops else "-"
    return (
        label,
        num,
        flops,
        duration(guess.seconds),
        guess.source,
        slots,
        duration(own),
    )


def _guess(preflight: Preflight, group: TrialGroup) -> _Guess | None:
    """Guess the time of a trial; None if it is not known."""
    if not group.pending:
        return _Guess(0, "all are done")
    if not group.first.has_base_model:
        return _guess_from_done(preflight, group) or _guess_from_texts(preflight, group)
    try:
        return _guess_from_done(preflight, group) or _guess_from_operations(preflight, group)
    except InputError:  # the check of models reports it
        return None


def _guess_from_done(preflight: Preflight, group: TrialGroup) -> _Guess | None:
    """Guess from the timings of done trials of this group, per step; a baseline counts as one."""
    stages = ("encode" if group.first.is_baseline else "build", "fit", "predict")
    seconds = steps = 0.0
    for spec in group.specs:
        record = preflight.states[spec.trial_id].record
        if record and (timings := record.get("timings")):
            seconds += sum(timings.get(stage, 0.0) for stage in stages)
            steps += spec.num_steps or 1
    if not steps:
        return None
    mean = sum(spec.num_steps or 1 for spec in group.pending) / len(group.pending)
    return _Guess(seconds / steps * mean, "done trials")


def _guess_from_texts(preflight: Preflight, group: TrialGroup) -> _Guess:
    """Guess from the number of characters of the training texts; for n-grams."""
    drawn = {row_id for draw in preflight.grid.draws for row_id in draw.train}
    texts = preflight.grid.dataset.rows(sorted(drawn))["text"].to_pylist()
    length = _mean([len(text) for text in texts])
    rows = _mean([s.pattern.num_train_rows for s in group.pending])
    return _Guess(CHARACTER_SECONDS * length * rows, "length of texts")


def _guess_from_operations(preflight: Preflight, group: TrialGroup) -> _Guess | None:
    """Guess from the operations, their number and their floating-point operations."""
    spec = group.first
    if preflight.files(spec) is None:
        return None
    rows = preflight.rows(group)
    run = preflight.dry_run(spec, rows)
    flops = _mean([_count_flops(preflight, s, run.matrices) for s in group.pending])
    processes = spec.resources.workers
    micro_batches = -(-spec.training.batch_size // (rows * processes))
    calls = run.num_calls * micro_batches * _mean([s.num_steps for s in group.pending])
    if spec.is_baseline:
        calls = run.num_calls * _mean([_count_passes(preflight, s) for s in group.pending])
    tokens = rows * round(_mean(preflight.lengths(spec)))
    width = run.matrices.attention_width
    speed, call_seconds, source = _find_speed(preflight, spec, tokens, width)
    if not speed:
        return None
    computing, starting = flops / speed / processes, CALL_FACTOR * calls * call_seconds
    if preflight.device(spec) == "cuda":  # kernels are started while others compute
        return _Guess(max(computing / GPU_UTILISATION, starting), source, flops)
    return _Guess((computing + starting) / CPU_UTILISATION, source, flops)


def _count_flops(preflight: Preflight, spec: TrialSpec, matrices: Matrices) -> int:
    """Operations of training and prediction of a trial; every text has the mean length."""
    if prompts := preflight.prompts(spec):
        num_before, rests = len(prompts.beginning), preflight.lengths(spec)
        before = count_prediction_flops(matrices, [num_before])
        return before + count_prediction_flops(matrices, rests, num_before)
    length = round(_mean(preflight.lengths(spec)))
    if spec.is_baseline:
        return count_prediction_flops(matrices, [length] * _count_embedded(spec))
    checkpointing = spec.resources.gradient_checkpointing
    step = [length] * spec.training.batch_size
    if spec.method == "head":  # no gradient passes the frozen matrices
        trained = count_prediction_flops(matrices, step)
    else:
        trained = count_training_flops(matrices, step, gradient_checkpointing=checkpointing)
    num_scored = spec.max_test_rows + spec.num_scored_rows
    tested = count_prediction_flops(matrices, [length] * num_scored)
    return spec.num_steps * trained + tested


def _count_passes(preflight: Preflight, spec: TrialSpec) -> int:
    """Count the passes of a baseline through its base model."""
    if prompts := preflight.prompts(spec):
        from xlt.trainables.baselines.prompt_scores import list_batches

        return len(list_batches(prompts)) + bool(len(prompts.beginning))
    return _count_embedded(spec)


def _count_embedded(spec: TrialSpec) -> int:
    """Count the texts that a baseline reads; later trials of a process find some in memory."""
    return spec.pattern.num_train_rows + spec.max_test_rows


def _find_speed(
    preflight: Preflight, spec: TrialSpec, tokens: int, width: int
) -> tuple[float, float, str]:
    """Return operations per second, seconds per call and their source, for one process."""
    import torch

    from xlt.trainables.estimates.throughput import measure_throughput

    device = preflight.device(spec)
    threads = spec.resources.cpus
    if device == "cpu" or torch.cuda.is_available():
        throughput = measure_throughput(device, tokens=tokens, width=width, num_threads=threads)
        share = spec.resources.gpus if device == "cuda" else 1.0
        return throughput.flops * share, throughput.call_seconds, "speed measured here"
    gpus = [gpu.name for node in preflight.nodes for gpu in node.gpus]
    peak = min((find_bf16_flops(name) for name in gpus), default=0.0)
    return peak * spec.resources.gpus, 0.0, "data sheet of the GPU"


def _check_gpu(preflight: Preflight, group: TrialGroup, guess: _Guess, own: float) -> list[Finding]:
    """Warn about a large base model where there is no GPU."""
    if preflight.device(group.first) == "cuda" or not guess.flops or not group.pending:
        return []
    if preflight.dry_run(group.first, preflight.rows(group)).num_parameters < LARGE:
        return []
    message = (
        f"no GPU: a trial takes about {duration(guess.seconds)}, all {len(group.pending)} "
        f"{duration(own)}"
    )
    remedy = "give --address of a cluster with GPUs, or a smaller base model"
    return [Finding(group.label, "warning", message, remedy)]


def _guess_pretraining(preflight: Preflight) -> list[tuple[str, _Guess]]:
    """Guess the pre-training of each miniature that is not cached, by label.

    Every document counts as long as the longest, so that the guess is an upper bound.
    """
    from xlt.trainables.estimates.throughput import measure_throughput

    guesses = []
    for group in {group.first.base_identity: group for group in preflight.groups}.values():
        identity = group.first.base_identity
        if not group.pending or not identity.startswith(MINIATURE) or preflight.files(group.first):
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
        throughput = measure_throughput("cpu", tokens=sum(lengths), width=width)
        starting = CALL_FACTOR * steps * PRETRAINING_CALLS * throughput.call_seconds
        seconds = (flops / throughput.flops + starting) / CPU_UTILISATION
        guess = _Guess(seconds, "speed measured here", flops)
        guesses.append((f"pre-training {group.first.base_model}", guess))
    return guesses


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
