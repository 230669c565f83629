"""Forward passes over real tokens only: what stands in for a classifier's backbone.

The texts of a batch are laid one after another in a single row. Projections, norms and MLPs
compute each token by itself, so they need no padding; attention alone is computed on padded rows.
The same layout, with attention that needs no padded rows either, is that of flash attention's
variable lengths (Dao 2023, arXiv 2307.08691) and of the unpadded BERT of Zeng et al. (2022, arXiv
2208.08124).
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from xlt.trainables.models.architectures import ARCHITECTURES

ATTENTION = "padding_free"
"""What the attention below is called in a config. It is registered without a mask function, for
which transformers (``_preprocess_mask_arguments``) makes no masks."""


class Layout:
    """Where each token lies in padded rows.

    Args:
        real: num_rows x width, True where a token is; rows are padded on the right.

    Attributes:
        positions: num_tokens, place of each token in its text, from 0.
    """

    def __init__(self, real: torch.Tensor) -> None:
        self._real = real
        self._places = real.flatten().nonzero().squeeze(1)
        self.positions = self._places % real.shape[1]

    def unpad(self, padded: torch.Tensor) -> torch.Tensor:
        """num_rows x width x ... -> num_tokens x ..."""
        return padded.flatten(0, 1).index_select(0, self._places)

    def pad(self, tokens: torch.Tensor) -> torch.Tensor:
        """num_tokens x ... -> num_rows x width x ..., zeros where no token is."""
        padded = tokens.new_zeros(self._real.numel(), *tokens.shape[1:])
        padded = padded.index_copy(0, self._places, tokens)
        return padded.view(*self._real.shape, *tokens.shape[1:])

    def make_mask(self, *, is_causal: bool, window: int | None) -> torch.Tensor | None:
        """Which keys a query sees, num_rows x 1 x width x width.

        Padding sees padding: a query without any key would make gradients nan.

        Args:
            is_causal: Whether a token sees the ones before it alone.
            window: It sees those less than so many tokens away; None: all.

        Returns:
            None where what ``is_causal`` says is all: padding lies behind every token.
        """
        width = self._real.shape[1]
        window = width if window is None else window
        if is_causal and window >= width:
            return None
        places = torch.arange(width, device=self._real.device)
        distance = places[:, None] - places
        seen = distance.abs() < window
        if is_causal:
            seen &= distance >= 0
        return (seen & (self._real[:, :, None] == self._real[:, None, :])).unsqueeze(1)


def _attend(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    layout: Layout,
    sliding_window: int | None = None,
    is_causal: bool | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of 1 x heads x num_tokens x size, as the interface of transformers has it."""
    causal = bool(getattr(module, "is_causal", True)) if is_causal is None else is_causal
    padded = [layout.pad(x[0].transpose(0, 1)).transpose(1, 2) for x in (query, key, value)]
    mask = layout.make_mask(is_causal=causal, window=sliding_window)
    attended, _ = sdpa_attention_forward(module, *padded, mask, is_causal=causal, **options)
    return layout.unpad(attended).unsqueeze(0), None


ALL_ATTENTION_FUNCTIONS.register(ATTENTION, _attend)


class _Backbone(nn.Module):
    """Padded rows outside, real tokens inside; the head around it need not know."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.inner = backbone

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **others: Any) -> Any:
        """The backbone's output, with last_hidden_state of num_rows x width x hidden_size."""
        layout = Layout(attention_mask.bool())
        if others.get("token_type_ids") is not None:
            others["token_type_ids"] = layout.unpad(others["token_type_ids"]).unsqueeze(0)
        others["position_ids"] = layout.positions.unsqueeze(0)
        output = self.inner(layout.unpad(input_ids).unsqueeze(0), layout=layout, **others)
        output.last_hidden_state = layout.pad(output.last_hidden_state[0])
        return output


def can_be_padding_free(classifier: Any) -> bool:
    """Whether a sequence classifier computes the same on real tokens only.

    It must be listed in ``ARCHITECTURES``, since only attention may look from token to token. Its
    attention must be the replaceable one of transformers, told positions from 0, and nothing inside
    the backbone may look for a row's first token, as a pooler does.
    """
    backbone = classifier.base_model
    listed = ARCHITECTURES.get(classifier.config.model_type)
    return (
        listed is not None
        and not listed.positions_after_pad
        and classifier.config._attn_implementation == "sdpa"
        and backbone._supports_attention_backend
        and "position_ids" in inspect.signature(backbone.forward).parameters
        and getattr(backbone, "pooler", None) is None
    )


def make_padding_free(classifier: Any) -> None:
    """Let a classifier, its config included, compute real tokens only; batches are given as ever.

    Args:
        classifier: For which :func:`can_be_padding_free` holds; called with an attention mask.
    """
    classifier.config._attn_implementation = ATTENTION
    prefix = classifier.base_model_prefix
    setattr(classifier, prefix, _Backbone(getattr(classifier, prefix)))
