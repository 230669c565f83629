"""Make the target of explanations from a trained classifier: its scores and gradients."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from xlt.trainables.explain.prefixes import can_read_prefixes, compute_logits_by_prefix
from xlt.trainables.explain.target import ClassTargets, Target, Values
from xlt.trainables.loading.batching import collate_for
from xlt.trainables.methods.adapted import is_lora
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.loop import autocast, compute_probabilities, predict
from xlt.trainables.training.watchdog import heartbeat

FORWARD_TOKENS = 1 << 12
"""Tokens per batch on a CPU; larger batches do not fit into its cache."""
DEVICE_FORWARD_TOKENS = 1 << 15
"""Tokens per batch on a GPU: 32 texts of 1,024 tokens."""


def make_target(model: Any, spec: TrialSpec) -> Target | ClassTargets:
    """Make the scores and gradients that explainers need from a trained classifier.

    Args:
        model: Trained classifier; it is not changed.
        spec: Trial of the classifier.

    Returns:
        For two classes the target of class 1; else a target for each class.
    """
    merged = merge_adapters(model)
    on_cpu = model.device.type == "cpu"
    shares_prefixes = can_read_prefixes(merged)
    num_tokens = FORWARD_TOKENS if on_cpu else DEVICE_FORWARD_TOKENS

    def scores(rows: NDArray[np.int64]) -> Values:
        batch_size = max(1, num_tokens // rows.shape[1])
        # The classifier reads a text at its last token that is not padding.
        if shares_prefixes and (rows[:, -1] != merged.config.pad_token_id).all():
            return _predict_by_prefix(merged, rows, spec, batch_size)
        return predict(merged, rows, spec, batch_size)

    def integrate(
        label: int,
        rows: NDArray[np.int64],
        baselines: NDArray[np.int64],
        points: Values,
        weights: Values,
    ) -> Values:
        step = max(1, num_tokens // (rows.shape[1] * len(points)))
        line = points, weights, label
        parts = [
            _integrate(merged, spec, rows[i : i + step], baselines[i : i + step], *line)
            for i in range(0, len(rows), step)
        ]
        return np.concatenate(parts)

    def of_class(label: int) -> Target:
        return Target(lambda rows: scores(rows)[:, label], partial(integrate, label), True)

    if merged.config.num_labels > 2:
        return ClassTargets(scores, of_class)
    return Target(scores, partial(integrate, 1))


def _predict_by_prefix(
    model: Any, rows: NDArray[np.int64], spec: TrialSpec, batch_size: int
) -> Values:
    """Predict texts of one length as :func:`predict` does, computing common beginnings once."""
    model.eval()
    logits = torch.empty(len(rows), model.config.num_labels, device=model.device)
    order = np.lexsort(rows.T[::-1])
    with torch.inference_mode(), autocast(spec, model.device):
        for start in range(0, len(order), batch_size):
            heartbeat()
            part = order[start : start + batch_size]
            logits[torch.from_numpy(part)] = compute_logits_by_prefix(model, rows[part])
    return compute_probabilities(logits, spec)


def merge_adapters(model: Any) -> Any:
    """Add adapters to a copy of the weights, which gives the same function in fewer operations.

    Adapters of rank 8 beside every matrix more than double the time of a small model. Only models
    on a CPU are merged, because their weights are fp32. On a GPU the sum would be rounded to the
    base's bf16, or to the 4 bits of a quantised base.
    """
    in_fp32 = model.device.type == "cpu" and not getattr(model, "is_quantized", False)
    if not is_lora(model) or not in_fp32:
        return model
    merged = copy.deepcopy(model).merge_and_unload()
    merged.config.sep_token_id = model.config.sep_token_id
    return merged.eval()


def _integrate(
    model: Any,
    spec: TrialSpec,
    rows: NDArray[np.int64],
    baselines: NDArray[np.int64],
    points: Values,
    weights: Values,
    label: int,
) -> Values:
    """Compute integrated gradients of a few rows; arguments and result as ``Integrate``.

    They are those of the probability of class ``label``.

    The line runs between token embeddings only. BERT's embeddings of positions and of the text of a
    pair are added to every point, as LayerIntegratedGradients of captum does for word embeddings.
    """
    heartbeat()
    embedding = model.get_input_embeddings()
    device, num_points = model.device, len(points)
    repeated = np.repeat(rows, num_points, axis=0)
    batch = collate_for(model, list(repeated))
    with torch.no_grad():
        ends = embedding(torch.from_numpy(rows).to(device)).float()
        starts = embedding(torch.from_numpy(baselines).to(device)).float()
    along = torch.from_numpy(points).to(device).float()[None, :, None, None]
    line = (starts[:, None] + along * (ends - starts)[:, None]).flatten(0, 1).requires_grad_()

    def replace_output(module: Any, arguments: Any, output: Any) -> Any:
        return line.to(output.dtype)

    hook = embedding.register_forward_hook(replace_output)
    try:
        with autocast(spec, device):
            logits = model(**batch).logits
        probability = logits.float().softmax(-1)[:, label].sum()
        (gradients,) = torch.autograd.grad(probability, line)
    finally:
        hook.remove()
    share = torch.from_numpy(weights).to(device).float()[None, :, None, None]
    mean = (gradients.unflatten(0, (len(rows), num_points)) * share).sum(dim=1)
    attributions: Values = ((ends - starts) * mean).sum(-1).double().cpu().numpy()
    return attributions
