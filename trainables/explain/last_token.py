"""A decoder's last layer for the last token alone, which is the only one that a classifier reads.

Of the tokens before it that layer has to give keys and values; its queries, its MLP and its output
there are of no use. In a miniature of two layers these are over a third of the arithmetic, in a
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
"""``model_type`` of transformers -> a layer's attention, and the projection of what it returns.
Other decoders are read at all tokens, which takes longer and gives the same logits."""
_NAME = "last_query"


@contextmanager
def last_token_only(model: Any) -> Iterator[None]:
    """Makes a decoder right at the last token and wrong at the others, while the context lasts.

    Args:
        model: A sequence classifier with adapters or without; is given back as it was.
    """
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = inner.config
    if config.model_type not in ATTENTION or config._attn_implementation != "sdpa":
        yield
        return
    layer = inner.base_model.layers[-1]
    attention_name, projection = ATTENTION[config.model_type]
    attention = getattr(layer, attention_name)
    cut = (getattr(attention, projection), layer.post_attention_layernorm)
    hooks = [module.register_forward_pre_hook(_keep_last) for module in cut]
    attention.config = copy.copy(config)
    attention.config._attn_implementation = _NAME
    try:
        yield
    finally:
        attention.config = config
        for hook in hooks:
            hook.remove()


def _keep_last(module: Any, arguments: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
    """num_rows x length x size to num_rows x 1 x size, which the residual is then added to."""
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
    """The last query's attention, in the place of every query's.

    Arguments and result as ``sdpa_attention_forward`` of transformers has them. Without a mask a
    token sees all before it, so the last one sees all.
    """
    made = torch.nn.functional.scaled_dot_product_attention(
        query[:, :, -1:],
        key,
        value,
        attn_mask=None if attention_mask is None else attention_mask[:, :, -1:],
        scale=scaling,
        enable_gqa=key.shape[1] != query.shape[1],
    )
    return made.transpose(1, 2).expand(-1, query.shape[2], -1, -1), None


ALL_ATTENTION_FUNCTIONS.register(_NAME, _attend)
