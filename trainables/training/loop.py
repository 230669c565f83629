"""The one training loop, and prediction with the trained classifier."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from xlt.trainables.loading.batching import collate
from xlt.trainables.spec.trial_spec import Optimizer, TrialSpec
from xlt.trainables.training.checkpoints import Checkpoints, LoopState
from xlt.trainables.training.watchdog import heartbeat
from xlt.trainables.training.workers import Workers

Report = Callable[[int, int, float], None]
"""Called with (step, num_steps, loss) every few steps."""
Steps = Generator[list[int], Any, pa.Table]
"""A training under way: it yields the rows of a step, is sent their mean loss once the gradients of
that are in the parameters (at first, None), and returns the history."""

REPORT_STEPS = 10
"""Steps between reports; each one waits for the device."""
EVAL_BATCH_SIZE = 64
"""Rows a batch that a trial is scored with; fixed, because it can change a score's last bits."""


class DivergedError(RuntimeError):
    """The loss, or a score of the trained classifier, is no longer a finite number."""


def learning_rate_at(step: int, num_steps: int, peak: float, settings: Optimizer) -> float:
    """Learning rate of a step (0-based), as get_linear_schedule_with_warmup in transformers."""
    warmup = math.ceil(num_steps * settings.warmup_ratio)
    if step < warmup:
        return peak * step / max(1, warmup)
    if settings.lr_schedule == "constant":
        return peak
    return peak * max(0.0, (num_steps - step) / max(1, num_steps - warmup))


def fit(steps: Steps, gradients: Callable[[list[int]], torch.Tensor]) -> pa.Table:
    """Train to the end.

    Args:
        steps: The training, as :func:`training_steps` makes it.
        gradients: Adds the gradients of a batch's mean loss, and returns that loss.

    Returns:
        The history.
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
    workers: Workers | None = None,
    checkpoints: Checkpoints | None = None,
    parts: dict[str, torch.Tensor] | None = None,
) -> Steps:
    """Train in place; whatever the task, ``batches`` and who computes gradients say what is learnt.

    It asks for gradients instead of computing them, so that several trainings can go on side by
    side and share what computes them.

    Args:
        model: Its ``requires_grad`` parameters are trained.
        batches: Rows of each step, at least ``num_steps`` of them.
        num_steps: Optimiser steps.
        num_epoch_steps: Steps that make one epoch; only counts them in the history.
        learning_rate: At its peak.
        settings: Schedule, decay, clipping.
        report: Told the progress.
        workers: Those that train together, each of them here; None: this process alone.
        checkpoints: Where the state is kept, and gone on from; None: nowhere.
        parts: Tensors that are filled as gradients are computed, each worker its part of them.

    Yields:
        The rows of each step; their mean loss is to be sent once its gradients are there.

    Returns:
        num_steps x (step, epoch, learning_rate, loss, grad_norm); step counts from 1, grad_norm
        is the global L2 norm before clipping.

    Raises:
        DivergedError: The loss became nan or infinite.
        PreemptedError: The process has to go; a checkpoint was written.
    """
    workers = workers or Workers()
    parameters = [p for p in model.parameters() if p.requires_grad]
    device = parameters[0].device
    # Biases and norms are vectors; the HF Trainer spares the same ones (get_decay_parameter_names),
    # but not the magnitudes that DoRA splits off its matrices.
    magnitudes = {id(p) for name, p in model.named_parameters() if "lora_magnitude_vector" in name}
    decayed = [p for p in parameters if p.ndim > 1 or id(p) in magnitudes]
    spared = [p for p in parameters if p.ndim <= 1 and id(p) not in magnitudes]
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW([g for g in groups if g["params"]], fused=True)
    rates = [learning_rate_at(s, num_steps, learning_rate, settings) for s in range(num_steps)]
    measured = torch.zeros(num_steps, 2, device=device)
    carried = LoopState({"measured": measured}, parts or {})
    first = checkpoints.restore(model, optimizer, carried, workers) if checkpoints else 0
    model.train()
    for step, batch in enumerate(itertools.islice(batches, first, num_steps), start=first + 1):
        for group in optimizer.param_groups:
            group["lr"] = rates[step - 1]
        loss = yield batch
        norm = torch.nn.utils.clip_grad_norm_(parameters, settings.max_grad_norm)
        optimizer.step()
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
        if checkpoints and workers.any_true(checkpoints.is_due(), device):
            checkpoints.save(model, optimizer, step, carried, workers)
            checkpoints.raise_if_preempted(step, workers, device)
    values = measured.cpu().numpy()
    steps = np.arange(1, num_steps + 1)
    return pa.table(
        {
            "step": pa.array(steps, pa.int32()),
            "epoch": pa.array(steps / num_epoch_steps, pa.float64()),
            "learning_rate": pa.array(rates, pa.float64()),
            "loss": pa.array(values[:, 0]),
            "grad_norm": pa.array(values[:, 1]),
        }
    )


def predict(
    model: Any,
    token_ids: Sequence[Sequence[int]] | NDArray[np.int64],
    spec: TrialSpec,
    batch_size: int = EVAL_BATCH_SIZE,
    workers: Workers | None = None,
) -> NDArray[np.float64]:
    """Probabilities of each row, float64.

    Args:
        model: A sequence classifier of transformers.
        token_ids: Token ids of each row.
        spec: Its precision.
        batch_size: Rows a batch; another one can change the last bits of a score.
        workers: Those that share the rows, each of them here; None: this process alone.

    Returns:
        num_rows probabilities of class 1 if there are two classes, else num_rows x num_classes.

    Raises:
        DivergedError: A score is nan: the last step spoilt the weights.
    """
    model.eval()
    workers = workers or Workers()
    logits = torch.zeros(len(token_ids), model.config.num_labels, device=model.device)
    order = sorted(range(len(token_ids)), key=lambda row: len(token_ids[row]))
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    mine = workers.take_share(batches)
    # Sharded weights need every worker in every pass, also where there is no batch left for one.
    extra = batches[:1] * (math.ceil(len(batches) / workers.size) - len(mine))
    with torch.inference_mode(), autocast(spec, model.device):
        for number, rows in enumerate([*mine, *extra]):
            heartbeat()
            scored = model(**collate_rows(model, token_ids, rows)).logits.float()
            if number < len(mine):
                logits[rows] = scored
    workers.sum(logits)
    return compute_probabilities(logits, spec)


def compute_probabilities(logits: torch.Tensor, spec: TrialSpec) -> NDArray[np.float64]:
    """Probabilities of num_rows x num_classes logits; result and errors as :func:`predict`."""
    scores = softmax(logits)
    if not np.isfinite(scores).all():
        raise DivergedError(
            f"scores are not numbers after training; lower the learning rate ({spec.learning_rate})"
        )
    return scores


def softmax(logits: torch.Tensor) -> NDArray[np.float64]:
    """Of class 1 if there are two classes, else num_rows x num_classes."""
    scores: NDArray[np.float64] = logits.double().softmax(-1).cpu().numpy()
    return scores[:, 1] if scores.shape[1] == 2 else scores


def collate_rows(
    model: Any, token_ids: Sequence[Sequence[int]] | NDArray[np.int64], rows: Sequence[int]
) -> dict[str, torch.Tensor]:
    """The rows' tensors, on the model's device."""
    config = model.config
    return collate(
        [token_ids[row] for row in rows], config.pad_token_id, model.device, config.sep_token_id
    )


def uses_bf16(spec: TrialSpec, device: torch.device) -> bool:
    """Whether the trial computes in bfloat16: on request, else on a GPU."""
    if spec.training.precision == "auto":
        return device.type == "cuda"
    return spec.training.precision == "bf16"


def choose_base_dtype(spec: TrialSpec, device: torch.device) -> torch.dtype:
    """Type of a base's weights: a frozen base needs no fp32 copy where it computes in bf16."""
    half = spec.method == "lora" and uses_bf16(spec, device)
    return torch.bfloat16 if half else torch.float32


def autocast(spec: TrialSpec, device: torch.device) -> torch.autocast:
    """Mixed precision where the trial uses it, nothing elsewhere."""
    return torch.autocast(device.type, torch.bfloat16, enabled=uses_bf16(spec, device))
