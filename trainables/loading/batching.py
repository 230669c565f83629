"""Put rows into batches, and turn a batch into padded tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
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
    lengths: Sequence[int],
    batch_size: int,
    rng: np.random.Generator,
    repeated: Sequence[int] = (),
    num_once: int | None = None,
) -> Iterator[list[int]]:
    """Draw the batches of one epoch: rows once, those of similar length together.

    Rows that are repeated are spread evenly: the first batches of the epoch, before batches are
    shuffled, have of them their share of all rows, rounded. So each batch has it up to one row.

    Args:
        lengths: Number of tokens of each row.
        batch_size: Rows per batch; the last batch may be smaller.
        rng: Random generator of the order.
        repeated: Rows to spread over the batches, in this order; a row may stand here often.
        num_once: Number of the first rows, each of which the epoch has once; None: all.

    Returns:
        Row numbers of each batch.
    """
    order = rng.permutation(len(lengths) if num_once is None else num_once).tolist()
    num_rows, num_repeated = len(order) + len(repeated), len(repeated)
    ends = [*range(0, num_rows, batch_size), num_rows]
    # Rounded to the nearest integer, in integers: half of a row counts as a row.
    of_repeated = [(2 * num_repeated * end + num_rows) // (2 * num_rows) for end in ends]
    of_once = [end - others for end, others in zip(ends, of_repeated, strict=True)]
    parts = _cut(order, of_once, lengths), _cut(repeated, of_repeated, lengths)
    batches = [once + others for once, others in zip(*parts, strict=True)]
    return (batches[i] for i in rng.permutation(len(batches)))


def _cut(rows: Sequence[int], ends: Sequence[int], lengths: Sequence[int]) -> list[list[int]]:
    """Cut rows into the parts between ends, sorted by length in buckets of parts."""
    parts = []
    for start in range(0, len(ends) - 1, BUCKET_BATCHES):
        cuts = ends[start : start + BUCKET_BATCHES + 1]
        bucket, sizes = rows[cuts[0] : cuts[-1]], [b - a for a, b in pairwise(cuts)]
        place = {row: place for place, row in enumerate(bucket)}
        in_order = iter(sorted(bucket, key=lambda row: (lengths[row], place[row])))
        # Copies of a row are neighbours now. Dealt to as many parts, they stand in different ones.
        copies = max(Counter(bucket).values(), default=1)
        for first in range(0, len(sizes), copies):
            parts += _deal(in_order, sizes[first : first + copies])
    return parts


def _deal(rows: Iterator[int], sizes: Sequence[int]) -> list[list[int]]:
    """Deal the next rows in turn to parts, until each has its size."""
    parts: list[list[int]] = [[] for _ in sizes]
    for turn in range(max(sizes)):
        for part, size in zip(parts, sizes, strict=True):
            if turn < size:
                part.append(next(rows))
    return parts


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
