"""Predict masked texts with a decoder fast: each common beginning once, the last layer in part.

A decoder's state at a token depends only on the tokens up to it, and most masked copies of a text
begin alike. So sorted copies are computed in a few stretches of tokens. In each stretch every
different beginning is computed once, with the keys and values of the stretches before it.

A classifier reads only the last token. For earlier tokens the last layer only has to compute keys
and values; its queries, its MLP and its output are not used. In a miniature of two layers these are
over a third of the arithmetic, in a model of 32 layers a fiftieth.
"""

from __future__ import annotations

import copy
import inspect
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from xlt.trainables.methods.adapted import has_virtual_tokens

ATTENTION_MODULES = {"llama": ("self_attn", "o_proj"), "gpt_neox": ("attention", "dense")}
"""``model_type`` -> names of a layer's attention and of the projection of its output.

Other decoders are computed at all tokens, which takes longer and gives the same logits.
"""
_LAST_QUERY = "last_query"
"""Name of :func:`_attend` in a model's config."""
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
    takes_keys = "past_key_values" in inspect.signature(inner.forward).parameters
    return takes_keys and not has_virtual_tokens(model)


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


@contextmanager
def last_token_only(model: Any) -> Iterator[None]:
    """Make a decoder correct at the last token and wrong at all others, inside the context.

    Args:
        model: Sequence classifier with or without adapters; it is restored at the end.
    """
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = inner.config
    if config.model_type not in ATTENTION_MODULES or config._attn_implementation != "sdpa":
        yield
        return
    layer = inner.base_model.layers[-1]
    attention_name, projection = ATTENTION_MODULES[config.model_type]
    attention = getattr(layer, attention_name)
    shortened = (getattr(attention, projection), layer.post_attention_layernorm)
    hooks = [module.register_forward_pre_hook(_keep_last) for module in shortened]
    attention.config = copy.copy(config)
    attention.config._attn_implementation = _LAST_QUERY
    try:
        yield
    finally:
        attention.config = config
        for hook in hooks:
            hook.remove()


def _keep_last(module: Any, arguments: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
    """Keep the last token: num_rows x length x size -> num_rows x 1 x size."""
    return (arguments[0][:, -1:],)


def _attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **unused: Any,
) -> tuple[torch.Tensor, None]:
    """Compute the attention of the last query, and return it in the place of every query.

    Arguments and result are those of ``sdpa_attention_forward`` in transformers. Without a mask the
    last token attends to all tokens.
    """
    attended = torch.nn.functional.scaled_dot_product_attention(
        query[:, :, -1:],
        key,
        value,
        attn_mask=None if attention_mask is None else attention_mask[:, :, -1:],
        scale=scaling,
        enable_gqa=key.shape[1] != query.shape[1],
    )
    return attended.transpose(1, 2).expand(-1, query.shape[2], -1, -1), None


ALL_ATTENTION_FUNCTIONS.register(_LAST_QUERY, _attend)
