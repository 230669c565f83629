"""The training loop, and prediction with a trained classifier."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from xlt.trainables.loading.batching import collate_for
from xlt.trainables.methods.adalora import RankAllocation
from xlt.trainables.metrics.arrays import select_scores
from xlt.trainables.spec.methods import BASELINES
from xlt.trainables.spec.training import Optimizer
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.checkpoints import Checkpoints, LoopState
from xlt.trainables.training.epoch_ends import EpochEnds
from xlt.trainables.training.watchdog import heartbeat
from xlt.trainables.training.workers import Workers

Report = Callable[[int, int, float], None]
"""Called with (step, num_steps, loss) every few steps."""
Steps = Generator[list[int], Any, pa.Table]
"""A running training, as a generator.

It yields the rows of a step. The caller adds the gradients of their mean loss to the parameters and
sends that loss (at first None). It returns the history.
"""

REPORT_STEPS = 10
"""Number of steps between two reports; each report waits for the device."""
EVAL_BATCH_SIZE = 64
"""Rows per batch when a trial is scored; fixed, because it can change the last bits of a score."""


class DivergedError(RuntimeError):
    """The loss or a score of the trained classifier is nan or infinite."""


def learning_rate_at(step: int, num_steps: int, peak: float, settings: Optimizer) -> float:
    """Return the learning rate of a step (0-based).

    The schedule is that of get_linear_schedule_with_warmup in transformers.
    """
    warmup = math.ceil(num_steps * settings.warmup_ratio)
    if step < warmup:
        return peak * step / max(1, warmup)
    if settings.lr_schedule == "constant":
        return peak
    return peak * max(0.0, (num_steps - step) / max(1, num_steps - warmup))


def fit(steps: Steps, gradients: Callable[[list[int]], torch.Tensor]) -> pa.Table:
    """Train to the end.

    Args:
        steps: Steps from :func:`training_steps`.
        gradients: Function that adds the gradients of a batch's mean loss and returns that loss.

    Returns:
        The history, as :func:`training_steps`.
    """
    loss = None
    while True:
        try:
            batch = steps.send(loss)
        except StopIteration as end:
            history: pa.Table = end.value
            return history
        loss = gradients(batch)


def training_steps(
    model: torch.nn.Module,
    batches: Iterable[list[int]],
    *,
    num_steps: int,
    num_epoch_steps: int,
    learning_rate: float,
    settings: Optimizer,
    report: Report,
    epoch_ends: EpochEnds | None = None,
    rank_allocation: RankAllocation | None = None,
    workers: Workers | None = None,
    checkpoints: Checkpoints | None = None,
    parts: dict[str, torch.Tensor] | None = None,
) -> Steps:
    """Train a model in place; ``batches`` and the caller's gradients define the task.

    The generator asks for gradients instead of computing them, so that several trainings can run
    side by side and share forward passes.

    Args:
        model: Model whose ``requires_grad`` parameters are trained.
        batches: Rows of each step, at least ``num_steps`` batches.
        num_steps: Number of optimiser steps, at most.
        num_epoch_steps: Steps per epoch.
        learning_rate: Peak learning rate.
        settings: Schedule, weight decay and gradient clipping.
        report: Function that receives the progress.
        epoch_ends: Ends of the epochs, which may stop the training; None: nothing happens there.
        rank_allocation: Rule that gives ranks to AdaLoRA's adapters; None for other methods.
        workers: Workers that train together, each in its own call; None means this process alone.
        checkpoints: Where checkpoints are written and resumed from; None disables them.
        parts: Tensors that each worker fills in part while it computes gradients.

    Yields:
        The rows of each step. Send their mean loss after adding its gradients.

    Returns:
        (step, epoch, learning_rate, loss, grad_norm) of each step. Steps count from 1; losses are
        in nats; grad_norm is the global L2 norm before clipping.

    Raises:
        DivergedError: The loss became nan or infinite.
        PreemptedError: The process must exit; a checkpoint was written.
    """
    workers = workers or Workers()
    parameters = [p for p in model.parameters() if p.requires_grad]
    device = parameters[0].device
    optimizer = _make_optimizer(model, settings)
    rates = [learning_rate_at(s, num_steps, learning_rate, settings) for s in range(num_steps)]
    measured = torch.zeros(num_steps, 2, device=device)
    ends = epoch_ends or EpochEnds(num_steps // num_epoch_steps)
    ranks = rank_allocation.state if rank_allocation else {}
    loop_state = LoopState({"measured": measured} | ends.values | ranks, parts or {}, ends.copies)
    first = checkpoints.restore(model, optimizer, loop_state, workers) if checkpoints else 0
    model.train()
    remaining, step = itertools.islice(batches, first, num_steps), first
    while not ends.is_over and (batch := next(remaining, None)):
        step += 1
        for group in optimizer.param_groups:
            group["lr"] = rates[step - 1]
        loss = yield batch
        if rank_allocation:
            rank_allocation.before_step(step)
        norm = torch.nn.utils.clip_grad_norm_(parameters, settings.max_grad_norm)
        optimizer.step()
        if rank_allocation:
            rank_allocation.after_step(step)
        optimizer.zero_grad(set_to_none=True)
        measured[step - 1] = torch.stack([loss.float(), workers.unshard(norm).float()])
        if step % REPORT_STEPS == 0 or step == num_steps:
            last = measured[step - 1, 0].item()
            if not math.isfinite(last):
                raise DivergedError(
                    f"the loss is {last} at step {step} of {num_steps}; "
                    f"lower the learning rate ({learning_rate})"
                )
            heartbeat()
            report(step, num_steps, last)
        if step % num_epoch_steps == 0:
            ends.after_epoch(step // num_epoch_steps)
        if checkpoints and workers.any_true(checkpoints.is_due(), device):
            checkpoints.save(model, optimizer, step, loop_state, workers)
            checkpoints.raise_if_preempted(step, workers, device)
    return _make_history(measured[:step], rates[:step], num_epoch_steps)


def _make_optimizer(model: torch.nn.Module, settings: Optimizer) -> torch.optim.Optimizer:
    """Make AdamW over the trained parameters, with weight decay for matrices only."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    # Vectors (biases and norms) have no weight decay, as in get_decay_parameter_names of the HF
    # Trainer. The magnitudes that DoRA splits off its matrices are vectors, but they do decay.
    magnitudes = {id(p) for name, p in model.named_parameters() if "lora_magnitude_vector" in name}
    decayed = [p for p in parameters if p.ndim > 1 or id(p) in magnitudes]
    not_decayed = [p for p in parameters if p.ndim <= 1 and id(p) not in magnitudes]
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": not_decayed, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], fused=True)


def _make_history(measured: torch.Tensor, rates: Sequence[float], num_epoch_steps: int) -> pa.Table:
    """Make the history of :func:`training_steps` from num_steps x (loss, gradient norm)."""
    values = measured.cpu().numpy()
    steps = np.arange(1, len(values) + 1)
    return pa.table(
        {
            "step": pa.array(steps, pa.int32()),
            "epoch": pa.array(steps / num_epoch_steps, pa.float64()),
            "learning_rate": pa.array(rates, pa.float64()),
            "loss": pa.array(values[:, 0]),
            "grad_norm": pa.array(values[:, 1]),
        }
    )


NO_HISTORY = _make_history(torch.empty(0, 2), (), 1)
"""The history of a trial that is not trained by steps."""


def predict(
    model: Any,
    token_ids: Sequence[Sequence[int]] | NDArray[np.int64],
    spec: TrialSpec,
    batch_size: int = EVAL_BATCH_SIZE,
    workers: Workers | None = None,
) -> NDArray[np.float64]:
    """Predict the probabilities of each row, float64.

    Args:
        model: Sequence classifier of transformers.
        token_ids: Token ids of each row.
        spec: Trial whose precision is used.
        batch_size: Rows per batch; another size can change the last bits of a score.
        workers: Workers that share the rows, each in its own call; None means this process alone.

    Returns:
        num_rows probabilities of class 1 if there are two classes, else num_rows x num_classes.

    Raises:
        DivergedError: A score is nan, because the last step destroyed the weights.
    """
    model.eval()
    workers = workers or Workers()
    logits = torch.zeros(len(token_ids), model.config.num_labels, device=model.device)
    order = sorted(range(len(token_ids)), key=lambda row: len(token_ids[row]))
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    own = workers.take_share(batches)
    # Sharded weights need every worker in every pass, also workers that have no batch left.
    extra = batches[:1] * (math.ceil(len(batches) / workers.size) - len(own))
    with torch.inference_mode(), autocast(spec, model.device):
        for number, rows in enumerate([*own, *extra]):
            heartbeat()
            row_logits = model(**collate_rows(model, token_ids, rows)).logits.float()
            if number < len(own):
                logits[rows] = row_logits
    workers.sum(logits)
    return compute_probabilities(logits, spec)


def compute_probabilities(logits: torch.Tensor, spec: TrialSpec) -> NDArray[np.float64]:
    """Turn num_rows x num_classes logits into the probabilities of :func:`predict`.

    Raises:
        DivergedError: A score is nan.
    """
    scores = softmax(logits)
    if not np.isfinite(scores).all():
        raise DivergedError(
            f"scores are not numbers after training; lower the learning rate ({spec.learning_rate})"
        )
    return scores


def softmax(logits: torch.Tensor) -> NDArray[np.float64]:
    """Return probabilities: num_rows of class 1 for two classes, else num_rows x num_classes."""
    return select_scores(logits.double().softmax(-1).cpu().numpy())


def collate_rows(
    model: Any, token_ids: Sequence[Sequence[int]] | NDArray[np.int64], rows: Sequence[int]
) -> dict[str, torch.Tensor]:
    """Make the tensors of rows on the model's device, as :func:`collate_for`."""
    return collate_for(model, [token_ids[row] for row in rows])


def uses_bf16(spec: TrialSpec, device: torch.device) -> bool:
    """Return whether the trial computes in bfloat16: on request, or by default on a GPU."""
    if spec.training.precision == "auto":
        return device.type == "cuda"
    return spec.training.precision == "bf16"


def choose_base_dtype(spec: TrialSpec, device: torch.device) -> torch.dtype:
    """Choose the data type of a base's weights; a frozen base in bf16 needs no fp32 copy.

    Full fine-tuning, and methods of plug-ins, train the weights themselves: in bf16 they would lose
    AdamW's small steps. Biases are trained in fp32 beside their matrices, which need the same type.
    """
    is_frozen = spec.method in ("lora", "peft", "head", *BASELINES)
    return torch.bfloat16 if is_frozen and uses_bf16(spec, device) else torch.float32


def autocast(spec: TrialSpec, device: torch.device) -> torch.autocast:
    """Return the context of mixed precision; it does nothing if the trial computes in fp32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=uses_bf16(spec, device))
