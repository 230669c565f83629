"""Masked texts read by a decoder with common beginnings computed once.

A decoder's state at a token depends on the tokens up to it alone, and masked copies of a text
mostly begin alike. So sorted copies are read in a few stretches of tokens: in each stretch every
different beginning once, with the keys and values of the stretches before it.
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
"""Time to hand one token's keys and values on to a longer beginning, as a share of the time to
compute a token. Both constants suit miniatures on a CPU (0.1 and 0.3 were slower there on
headlines); others change the time that scores take and not the scores."""
STRETCH_COST = 200.0
"""Time that a stretch takes beside its tokens, in tokens."""


def can_read_prefixes(model: Any) -> bool:
    """Whether a classifier can go on from keys and values, as decoders can and BERT cannot."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return "past_key_values" in inspect.signature(inner.forward).parameters


def plan_stretches(num_beginnings: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Where to cut rows so that reading them costs least (dynamic programming over the cuts).

    Args:
        num_beginnings: At each of length places, how many different beginnings end there.

    Returns:
        (first, one past the last) token of each stretch, which together are all tokens.
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
    """Logits of texts of one length, read at their last token.

    Args:
        model: A decoder with a classification head, see :func:`can_read_prefixes`.
        rows: num_rows x length token ids, none of them padding, sorted (numpy.lexsort), so that
            rows that begin alike are neighbours; in any other order more is computed.

    Returns:
        num_rows x num_classes, float32, on the model's device.
    """
    length, device = rows.shape[1], model.device
    is_new = np.ones(rows.shape, dtype=bool)
    is_new[1:] = np.logical_or.accumulate(rows[1:] != rows[:-1], axis=1)
    beginnings = is_new.cumsum(axis=0) - 1  # of each row, at each place
    cache: Any = None
    logits = torch.empty(0)
    for start, end in plan_stretches(is_new.sum(axis=0)):
        chosen = np.flatnonzero(is_new[:, end - 1])  # one row for each beginning
        if start and len(chosen) > beginnings[-1, start - 1] + 1:
            parents = beginnings[chosen, start - 1]
            cache.batch_select_indices(torch.from_numpy(parents).to(device))
        with last_token_only(model):
            made = model(
                input_ids=torch.from_numpy(rows[chosen, start:end]).to(device),
                position_ids=torch.arange(start, end, device=device).expand(len(chosen), -1),
                past_key_values=cache,
                use_cache=end < length,
            )
        cache, logits = made.past_key_values, made.logits
    return logits.float()[torch.from_numpy(beginnings[:, -1]).to(device)]
