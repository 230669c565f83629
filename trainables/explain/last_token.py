"""Compute a decoder's last layer only for the last token, which is all that a classifier reads.

For earlier tokens the last layer only has to compute keys and values; its queries, its MLP and its
output are not used. In a miniature of two layers these are over a third of the arithmetic, in a
model of 32 layers a fiftieth.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

ATTENTION = {"llama": ("self_attn", "o_proj"), "gpt_neox": ("attention", "dense")}
"""``model_type`` -> names of a layer's attention and of the projection of its output.

Other decoders are computed at all tokens, which takes longer and gives the same logits.
"""
_NAME = "last_query"


@contextmanager
def last_token_only(model: Any) -> Iterator[None]:
    """Make a decoder correct at the last token and wrong at all others, inside the context.

    Args:
        model: Sequence classifier with or without adapters; it is restored at the end.
    """
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = inner.config
    if config.model_type not in ATTENTION or config._attn_implementation != "sdpa":
        yield
        return
    layer = inner.base_model.layers[-1]
    attention_name, projection = ATTENTION[config.model_type]
    attention = getattr(layer, attention_name)
    shortened = (getattr(attention, projection), layer.post_attention_layernorm)
    hooks = [module.register_forward_pre_hook(_keep_last) for module in shortened]
    attention.config = copy.copy(config)
    attention.config._attn_implementation = _NAME
    try:
        yield
    finally:
        attention.config = config
        for hook in hooks:
            hook.remove()


def _keep_last(module: Any, arguments: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
    """Keep the last token: num_rows x length x size -> num_rows x 1 x size.

    The residual of this size is added later.
    """
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


ALL_ATTENTION_FUNCTIONS.register(_NAME, _attend)
