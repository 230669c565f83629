"""Which rows go into which batch, and how a batch becomes tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

BUCKET_BATCHES = 8
"""Batches' worth of shuffled rows that are sorted by length together: less padding, and enough
left of the shuffle. The same idea as group_by_length in transformers (trainer_pt_utils.py), whose
buckets hold 50 batches; our epochs have only about 60."""


def draw_batches(
    lengths: Sequence[int], batch_size: int, rng: np.random.Generator
) -> Iterator[list[int]]:
    """Row numbers of each batch of one epoch; every row once, similar lengths together.

    Args:
        lengths: Tokens of each row.
        batch_size: Rows a batch; the last one may be smaller.
        rng: Draws the order.
    """
    order = rng.permutation(len(lengths))
    span = batch_size * BUCKET_BATCHES
    buckets = [order[start : start + span].tolist() for start in range(0, len(order), span)]
    batches = []
    for bucket in buckets:
        bucket.sort(key=lambda row: lengths[row])
        batches += [bucket[i : i + batch_size] for i in range(0, len(bucket), batch_size)]
    return (batches[i] for i in rng.permutation(len(batches)))


def collate(
    token_ids: Sequence[Sequence[int] | NDArray[np.int64]],
    pad_token_id: int,
    device: torch.device,
    separator_id: int | None = None,
) -> dict[str, torch.Tensor]:
    """Right-padded tensors of a batch, each num_rows x longest row.

    Args:
        token_ids: Token ids of each row.
        pad_token_id: Fills the rows up.
        device: Where the tensors go.
        separator_id: The token that ends each text of a pair, for models that are told which text
            a token belongs to (BERT); None for others.

    Returns:
        ``input_ids``, ``attention_mask`` and, with a separator, ``token_type_ids``: 0 up to the
        first separator, 1 after it.
    """
    width = max(map(len, token_ids))
    input_ids = np.full((len(token_ids), width), pad_token_id, dtype=np.int64)
    mask = np.zeros((len(token_ids), width), dtype=np.int64)
    for row, ids in enumerate(token_ids):
        input_ids[row, : len(ids)] = ids
        mask[row, : len(ids)] = 1
    batch: dict[str, Any] = {"input_ids": input_ids, "attention_mask": mask}
    if separator_id is not None:
        ends = input_ids == separator_id
        batch["token_type_ids"] = ((np.cumsum(ends, axis=1) - ends) > 0) * mask
    return {name: torch.from_numpy(array).to(device) for name, array in batch.items()}
