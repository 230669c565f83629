"""Features of ``method: embed``: mean-pooled embeddings of the frozen base model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from xlt.trainables.baselines.logistic import FitFeatures
from xlt.trainables.loading.base import Base
from xlt.trainables.loading.tokenize import count_truncated, encode, list_texts
from xlt.trainables.spec.methods import Embed
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.loop import autocast, collate_rows, uses_bf16
from xlt.trainables.training.watchdog import heartbeat


def make_features(spec: TrialSpec, base: Base | None) -> FitFeatures:
    """Make the function that embeds rows; there is nothing to fit to training rows.

    Args:
        spec: Trial with prefix, text length and precision.
        base: Base model of the trial.
    """
    assert base is not None  # the method has a base model
    loaded = base
    return lambda train: lambda rows: embed_rows(loaded, rows, spec)


def embed_rows(base: Base, rows: pa.Table, spec: TrialSpec) -> NDArray[np.float64]:
    """Average the last hidden layer over the tokens of each row, special tokens included.

    Each text passes the model alone. So its embedding depends on no other text, needs no padding,
    and can be reused by later trials of the process.

    Args:
        base: Base model; its ``embeddings`` are the cache.
        rows: num_rows x at least (id, text, text_pair).
        spec: Trial with prefix, text length and precision.

    Returns:
        num_rows x hidden_size.
    """
    model, prefixed = base.model, add_prefix(rows, spec)
    token_ids = encode(base, prefixed, spec.training.max_length)
    key = (spec.training.max_length, uses_bf16(spec, model.device))
    cached = base.embeddings.setdefault(key, {})
    texts = list_texts(prefixed)
    for text, ids in zip(texts, token_ids, strict=True):
        if text not in cached:
            cached[text] = _embed(base, ids, spec)
            heartbeat()
    return np.stack([cached[text] for text in texts]).astype(np.float64)


def _embed(base: Base, token_ids: Sequence[int], spec: TrialSpec) -> NDArray[np.float32]:
    model = base.model
    with torch.inference_mode(), autocast(spec, model.device):
        hidden = model.base_model(**collate_rows(model, [list(token_ids)], [0])).last_hidden_state
    mean: NDArray[np.float32] = hidden[0].float().mean(dim=0).cpu().numpy()
    return mean


def add_prefix(rows: pa.Table, spec: TrialSpec) -> pa.Table:
    """Put the prefix of the trial before each text, and before the first text of a pair."""
    prefix = spec.embed.prefix if spec.embed else Embed().prefix
    texts = pa.array([prefix + text for text in rows["text"].to_pylist()], pa.string())
    return rows.set_column(rows.column_names.index("text"), "text", texts)


def count_cut_texts(base: Base, rows: pa.Table, spec: TrialSpec) -> int:
    """Count the rows whose texts were cut; call :func:`embed_rows` for them first."""
    return count_truncated(base, add_prefix(rows, spec), spec.training.max_length)
