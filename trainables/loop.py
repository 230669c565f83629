"""The one training loop, and prediction with the trained classifier."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from data.seeds import derive_seed
from trainables.batching import collate, epoch_batches
from trainables.checkpoints import Carried, Checkpoints
from trainables.micro_batches import MicroBatches
from trainables.spec import Optimizer, TrialSpec
from trainables.stalled import alive
from trainables.workers import Workers

Report = Callable[[int, int, float], None]
"""Called with (step, num_steps, loss) every few steps."""

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


def fit(
    model: torch.nn.Module,
    batches: Iterable[list[int]],
    gradients: Callable[[list[int]], torch.Tensor],
    *,
    num_steps: int,
    num_epoch_steps: int,
    learning_rate: float,
    settings: Optimizer,
    report: Report,
    workers: Workers | None = None,
    checkpoints: Checkpoints | None = None,
    parts: dict[str, torch.Tensor] | None = None,
) -> pa.Table:
    """Train in place; whatever the task, ``batches`` and ``gradients`` say what is learnt.

    Args:
        model: Its ``requires_grad`` parameters are trained.
        batches: Rows of each step, at least ``num_steps`` of them.
        gradients: Adds the gradients of a batch's mean loss, and returns that loss.
        num_steps: Optimiser steps.
        num_epoch_steps: Steps that make one epoch; only counts them in the history.
        learning_rate: At its peak.
        settings: Schedule, decay, clipping.
        report: Told the progress.
        workers: Those that train together, each of them here; None: this process alone.
        checkpoints: Where the state is kept, and gone on from; None: nowhere.
        parts: Tensors that ``gradients`` fills as it goes, each worker its part of them.

    Returns:
        num_steps x (step, epoch, learning_rate, loss, grad_norm); step counts from 1, grad_norm
        is the global L2 norm before clipping.

    Raises:
        DivergedError: The loss became nan or infinite.
        LeavingError: The process has to go; a checkpoint was written.
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
    carried = Carried({"measured": measured}, parts or {})
    first = checkpoints.restore(model, optimizer, carried, workers) if checkpoints else 0
    model.train()
    for step, batch in enumerate(itertools.islice(batches, first, num_steps), start=first + 1):
        for group in optimizer.param_groups:
            group["lr"] = rates[step - 1]
        loss = gradients(batch)
        norm = torch.nn.utils.clip_grad_norm_(parameters, settings.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        measured[step - 1] = torch.stack([loss.float(), workers.whole(norm).float()])
        if step % REPORT_STEPS == 0 or step == num_steps:
            last = measured[step - 1, 0].item()
            if not math.isfinite(last):
                raise DivergedError(
                    f"the loss is {last} at step {step} of {num_steps}; "
                    f"lower the learning rate ({learning_rate})"
                )
            alive()
            report(step, num_steps, last)
        if checkpoints and workers.first_says(checkpoints.is_due(), device):
            checkpoints.save(model, optimizer, step, carried, workers)
            checkpoints.leave_if_asked(step, workers, device)
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


@dataclass(frozen=True)
class Fitted:
    """What training left besides the weights.

    Attributes:
        history: As :func:`fit` returns it.
        train_score: Probabilities that the training rows had when they were last trained on, as
            :func:`predict`: they cost nothing and tell whether it trained.
        micro_batch_size: Rows a forward pass in the end; None: whole batches.
        num_halved: How often it was halved because memory ran out.
    """

    history: pa.Table
    train_score: NDArray[np.float64]
    micro_batch_size: int | None
    num_halved: int


def fit_classifier(
    model: Any,
    token_ids: Sequence[list[int]],
    labels: Sequence[int],
    spec: TrialSpec,
    report: Report,
    checkpoints: Checkpoints | None = None,
) -> Fitted:
    """:func:`fit` a sequence classifier with cross-entropy on labelled texts.

    Args:
        model: A sequence classifier of transformers.
        token_ids: Token ids of each training row.
        labels: Class of each training row.
        spec: Epochs, batch size, optimiser and seed.
        report: Told the progress.
        checkpoints: Where the state is kept while it trains; None: nowhere.
    """
    training, resources = spec.training, spec.resources
    workers = Workers.current()
    forward = workers.spread(model, resources.sharding)
    device = model.device  # sharding has moved it
    y_true = torch.tensor(labels, device=device)
    lengths = [len(ids) for ids in token_ids]
    num_epoch_steps = math.ceil(len(labels) / training.batch_size)
    last_logits = torch.zeros(len(labels), model.config.num_labels, device=device)

    def batches() -> Iterator[list[int]]:
        for epoch in range(training.num_train_epochs):
            order = np.random.default_rng(derive_seed(spec.seed, "order", epoch))
            yield from epoch_batches(lengths, training.batch_size, order)

    def loss_of(rows: list[int]) -> torch.Tensor:
        with autocast(spec, device):
            logits = forward(**_batch(model, token_ids, rows)).logits.float()
        last_logits[rows] = logits.detach()
        return torch.nn.functional.cross_entropy(logits, y_true[rows])

    micro_batches = MicroBatches(forward, loss_of, resources.micro_batch_size, workers)

    def gradients(batch: list[int]) -> torch.Tensor:
        last_logits[batch] = 0  # another worker may have had these rows before
        loss = micro_batches(batch)
        if workers.rank >= len(batch):  # had none of them, and only kept the others company
            last_logits[batch] = 0
        return loss

    history = fit(
        model,
        batches(),
        gradients,
        num_steps=num_epoch_steps * training.num_train_epochs,
        num_epoch_steps=num_epoch_steps,
        learning_rate=spec.learning_rate,
        settings=training,
        report=report,
        workers=workers,
        checkpoints=checkpoints,
        parts={"last_logits": last_logits},
    )
    score = _softmax(workers.sum(last_logits))
    return Fitted(history, score, micro_batches.size, micro_batches.num_halved)


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
    mine = workers.share(batches)
    # Sharded weights need every worker in every pass, also where there is no batch left for one.
    extra = batches[:1] * (math.ceil(len(batches) / workers.size) - len(mine))
    with torch.inference_mode(), autocast(spec, model.device):
        for number, rows in enumerate([*mine, *extra]):
            alive()
            scored = model(**_batch(model, token_ids, rows)).logits.float()
            if number < len(mine):
                logits[rows] = scored
    workers.sum(logits)
    return probabilities(logits, spec)


def probabilities(logits: torch.Tensor, spec: TrialSpec) -> NDArray[np.float64]:
    """Probabilities of num_rows x num_classes logits; result and errors as :func:`predict`."""
    scores = _softmax(logits)
    if not np.isfinite(scores).all():
        raise DivergedError(
            f"scores are not numbers after training; lower the learning rate ({spec.learning_rate})"
        )
    return scores


def _softmax(logits: torch.Tensor) -> NDArray[np.float64]:
    """Of class 1 if there are two classes, else num_rows x num_classes."""
    scores: NDArray[np.float64] = logits.double().softmax(-1).cpu().numpy()
    return scores[:, 1] if scores.shape[1] == 2 else scores


def _batch(
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


def base_dtype(spec: TrialSpec, device: torch.device) -> torch.dtype:
    """Type of a base's weights: a frozen base needs no fp32 copy where it computes in bf16."""
    half = spec.method == "lora" and uses_bf16(spec, device)
    return torch.bfloat16 if half else torch.float32


def autocast(spec: TrialSpec, device: torch.device) -> torch.autocast:
    """Mixed precision where the trial uses it, nothing elsewhere."""
    return torch.autocast(device.type, torch.bfloat16, enabled=uses_bf16(spec, device))
