"""Predict masked texts with a decoder, computing common beginnings only once.

A decoder's state at a token depends only on the tokens up to it, and most masked copies of a text
begin alike. So sorted copies are computed in a few stretches of tokens. In each stretch every
different beginning is computed once, with the keys and values of the stretches before it.
"""

from __future__ import annotations

import inspect
import itertools
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from xlt.trainables.explain.last_token import last_token_only

COPY_COST = 0.2
"""Time to copy one token's keys and values to a longer beginning, relative to computing a token.

This constant and the next suit miniatures on a CPU (0.1 and 0.3 were slower there on headlines).
Other values change only the time, not the scores.
"""
STRETCH_COST = 200.0
"""Fixed time of a stretch, in units of the time of a token."""


def can_read_prefixes(model: Any) -> bool:
    """Return whether a classifier can continue from keys and values: decoders can, BERT cannot."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return "past_key_values" in inspect.signature(inner.forward).parameters


def plan_stretches(num_beginnings: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Cut rows into stretches with the least total cost, by dynamic programming over the cuts.

    Args:
        num_beginnings: For each of the length places, the number of different beginnings that end
            there.

    Returns:
        (first token, one past the last token) of each stretch; together they cover all tokens.
    """
    length = len(num_beginnings)
    least, start = np.full(length + 1, np.inf), np.zeros(length + 1, dtype=np.int64)
    least[0] = 0.0
    for end in range(1, length + 1):
        before = np.arange(end)
        tokens = (end - before) + COPY_COST * before
        costs = least[:end] + num_beginnings[end - 1] * tokens + STRETCH_COST
        start[end] = costs.argmin()
        least[end] = costs[start[end]]
    cuts = [length]
    while cuts[-1]:
        cuts.append(int(start[cuts[-1]]))
    cuts.reverse()
    return list(itertools.pairwise(cuts))


def compute_logits_by_prefix(model: Any, rows: NDArray[np.int64]) -> torch.Tensor:
    """Compute the logits of texts of one length, read at their last token.

    Args:
        model: Decoder with a classification head, see :func:`can_read_prefixes`.
        rows: num_rows x length token ids without padding. Sorted rows (numpy.lexsort) with common
            beginnings are neighbours; any other order costs more time.

    Returns:
        num_rows x num_classes logits, float32, on the model's device.
    """
    length, device = rows.shape[1], model.device
    is_new = np.ones(rows.shape, dtype=bool)
    is_new[1:] = np.logical_or.accumulate(rows[1:] != rows[:-1], axis=1)
    beginnings = is_new.cumsum(axis=0) - 1  # of each row, at each place
    cache: Any = None
    logits = torch.empty(0)
    for start, end in plan_stretches(is_new.sum(axis=0)):
        selected = np.flatnonzero(is_new[:, end - 1])  # one row for each beginning
        if start and len(selected) > beginnings[-1, start - 1] + 1:
            parents = beginnings[selected, start - 1]
            cache.batch_select_indices(torch.from_numpy(parents).to(device))
        with last_token_only(model):
            output = model(
                input_ids=torch.from_numpy(rows[selected, start:end]).to(device),
                position_ids=torch.arange(start, end, device=device).expand(len(selected), -1),
                past_key_values=cache,
                use_cache=end < length,
            )
        cache, logits = output.past_key_values, output.logits
    return logits.float()[torch.from_numpy(beginnings[:, -1]).to(device)]
