"""A trained classifier of a trial as an explainer sees it: scores and gradients of token ids."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel

from xlt.trainables.explain.prefixes import can_read_prefixes, compute_logits_by_prefix
from xlt.trainables.explain.target import Target, Values
from xlt.trainables.loading.batching import collate
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.loop import autocast, compute_probabilities, predict
from xlt.trainables.training.watchdog import heartbeat

FORWARD_TOKENS = 1 << 12
"""Tokens a batch on a CPU, where larger ones leave the cache."""
DEVICE_FORWARD_TOKENS = 1 << 15
"""Tokens a batch on a GPU: 32 texts of 1,024 tokens."""


def make_target(model: Any, spec: TrialSpec) -> Target:
    """What explainers need of a trained classifier.

    Args:
        model: As trained; stays as it is.
        spec: Its trial.
    """
    quick = merge_adapters(model)
    on_cpu = model.device.type == "cpu"
    shares = can_read_prefixes(quick)
    num_tokens = FORWARD_TOKENS if on_cpu else DEVICE_FORWARD_TOKENS

    def scores(rows: NDArray[np.int64]) -> Values:
        batch_size = max(1, num_tokens // rows.shape[1])
        # A text is read at its last token that is not padding.
        if shares and (rows[:, -1] != quick.config.pad_token_id).all():
            return _predict_by_prefix(quick, rows, spec, batch_size)
        return predict(quick, rows, spec, batch_size)

    def integrate(
        rows: NDArray[np.int64], baselines: NDArray[np.int64], points: Values, weights: Values
    ) -> Values:
        step = max(1, num_tokens // (rows.shape[1] * len(points)))
        parts = [
            _integrate(quick, spec, rows[i : i + step], baselines[i : i + step], points, weights)
            for i in range(0, len(rows), step)
        ]
        return np.concatenate(parts)

    return Target(scores, integrate)


def _predict_by_prefix(
    model: Any, rows: NDArray[np.int64], spec: TrialSpec, batch_size: int
) -> Values:
    """:func:`predict` of texts of one length, many of which begin alike."""
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
    """The same function in fewer operations: adapters added to a copy of the weights.

    Adapters of rank 8 beside every matrix more than double the time of a small model. Only on a
    CPU, where weights are fp32: the sum would be rounded to the bf16 that a GPU's base has, or to
    the 4 bits of a quantised one.
    """
    in_fp32 = model.device.type == "cpu" and not getattr(model, "is_quantized", False)
    if not isinstance(model, PeftModel) or not in_fp32:
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
) -> Values:
    """Integrated gradients of a few rows at once; arguments and result as ``Integrate`` has them.

    The line runs between token embeddings alone: embeddings of places and, in BERT, of which text
    a token belongs to are added to every point, as LayerIntegratedGradients of captum does with the
    word embeddings.
    """
    heartbeat()
    embedding = model.get_input_embeddings()
    device, num_points = model.device, len(points)
    repeated = np.repeat(rows, num_points, axis=0)
    batch = collate(list(repeated), model.config.pad_token_id, device, model.config.sep_token_id)
    with torch.no_grad():
        ends = embedding(torch.from_numpy(rows).to(device)).float()
        starts = embedding(torch.from_numpy(baselines).to(device)).float()
    along = torch.from_numpy(points).to(device).float()[None, :, None, None]
    line = (starts[:, None] + along * (ends - starts)[:, None]).flatten(0, 1).requires_grad_()

    def instead(module: Any, arguments: Any, output: Any) -> Any:
        return line.to(output.dtype)

    hook = embedding.register_forward_hook(instead)
    try:
        with autocast(spec, device):
            logits = model(**batch).logits
        probability = logits.float().softmax(-1)[:, 1].sum()
        (gradients,) = torch.autograd.grad(probability, line)
    finally:
        hook.remove()
    share = torch.from_numpy(weights).to(device).float()[None, :, None, None]
    mean = (gradients.unflatten(0, (len(rows), num_points)) * share).sum(dim=1)
    attributions: Values = ((ends - starts) * mean).sum(-1).double().cpu().numpy()
    return attributions
