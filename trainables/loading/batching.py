"""Put rows into batches, and turn a batch into padded tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

BUCKET_BATCHES = 8
"""Number of batches whose shuffled rows are sorted by length together.

Sorting saves padding, and buckets keep most of the shuffle. The idea is that of group_by_length in
transformers (trainer_pt_utils.py), whose buckets hold 50 batches; our epochs have only about 60.
"""


def draw_batches(
    lengths: Sequence[int], batch_size: int, rng: np.random.Generator
) -> Iterator[list[int]]:
    """Draw the batches of one epoch: every row once, rows of similar length together.

    Args:
        lengths: Number of tokens of each row.
        batch_size: Rows per batch; the last batch may be smaller.
        rng: Random generator of the order.

    Returns:
        Row numbers of each batch.
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
    padding_side: str = "right",
) -> dict[str, torch.Tensor]:
    """Make the padded tensors of a batch, each num_rows x longest row.

    Args:
        token_ids: Token ids of each row.
        pad_token_id: Token id that fills rows up to the longest one.
        device: Device of the tensors.
        separator_id: Id of the token that ends each text of a pair, for models that distinguish the
            two texts (BERT); None for other models.
        padding_side: Side of the padding, ``right`` or ``left``.

    Returns:
        ``input_ids``, ``attention_mask`` and, with a separator, ``token_type_ids``, which is 0 up
        to the first separator and 1 after it.
    """
    width = max(map(len, token_ids))
    input_ids = np.full((len(token_ids), width), pad_token_id, dtype=np.int64)
    mask = np.zeros((len(token_ids), width), dtype=np.int64)
    for row, ids in enumerate(token_ids):
        start = width - len(ids) if padding_side == "left" else 0
        input_ids[row, start : start + len(ids)] = ids
        mask[row, start : start + len(ids)] = 1
    batch: dict[str, Any] = {"input_ids": input_ids, "attention_mask": mask}
    if separator_id is not None:
        ends = input_ids == separator_id
        batch["token_type_ids"] = ((np.cumsum(ends, axis=1) - ends) > 0) * mask
    return {name: torch.from_numpy(array).to(device) for name, array in batch.items()}


def collate_for(
    model: Any, token_ids: Sequence[Sequence[int] | NDArray[np.int64]]
) -> dict[str, torch.Tensor]:
    """Make the tensors of a batch as the config of a loaded model says, see :func:`collate`."""
    config = model.config
    side = getattr(config, "padding_side", "right")
    return collate(token_ids, config.pad_token_id, model.device, find_separator(config), side)


def find_separator(config: Any) -> int | None:
    """Find the id of the token that ends each text of a pair; None without token types.

    BERT adds an embedding that says which text of a pair a token belongs to; decoders do not.
    """
    if getattr(config, "type_vocab_size", 0) <= 1:
        return None
    separator: int | None = config.sep_token_id
    return separator
