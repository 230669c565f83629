"""Run a classifier's backbone on real tokens only, without padding.

The texts of a batch are laid one after another in a single row. Projections, norms and MLPs
compute each token independently, so they need no padding. Only attention is computed on padded
rows. Flash attention with variable lengths (Dao 2023, arXiv 2307.08691) and the unpadded BERT of
Zeng et al. (2022, arXiv 2208.08124) use the same layout, with attention that needs no padding.
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
"""Name of the attention function below in a model's config.

It is registered without a mask function, so transformers (``_preprocess_mask_arguments``) makes no
masks for it.
"""


class Layout:
    """Position of each token in padded rows.

    Args:
        real: num_rows x width, True at tokens and False at padding, which is on the right.

    Attributes:
        positions: num_tokens positions of the tokens in their texts, from 0.
    """

    def __init__(self, real: torch.Tensor) -> None:
        self._real = real
        self._places = real.flatten().nonzero().squeeze(1)
        self.positions = self._places % real.shape[1]

    def unpad(self, padded: torch.Tensor) -> torch.Tensor:
        """Remove padding: num_rows x width x ... -> num_tokens x ..."""
        return padded.flatten(0, 1).index_select(0, self._places)

    def pad(self, tokens: torch.Tensor) -> torch.Tensor:
        """Add padding of zeros: num_tokens x ... -> num_rows x width x ..."""
        padded = tokens.new_zeros(self._real.numel(), *tokens.shape[1:])
        padded = padded.index_copy(0, self._places, tokens)
        return padded.view(*self._real.shape, *tokens.shape[1:])

    def make_mask(self, *, is_causal: bool, window: int | None) -> torch.Tensor | None:
        """Make the mask of the keys that each query attends to, num_rows x 1 x width x width.

        Padding attends to padding, because a query without any key would make gradients nan.

        Args:
            is_causal: Whether a token attends only to itself and earlier tokens.
            window: Distance in tokens below which a token is visible; None means all tokens are.

        Returns:
            The mask, or None if ``is_causal`` alone describes it: padding comes after every token.
        """
        width = self._real.shape[1]
        window = width if window is None else window
        if is_causal and window >= width:
            return None
        columns = torch.arange(width, device=self._real.device)
        distance = columns[:, None] - columns
        visible = distance.abs() < window
        if is_causal:
            visible &= distance >= 0
        return (visible & (self._real[:, :, None] == self._real[:, None, :])).unsqueeze(1)


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
    """Compute attention of 1 x heads x num_tokens x size.

    Arguments and result follow the attention interface of transformers.
    """
    causal = bool(getattr(module, "is_causal", True)) if is_causal is None else is_causal
    padded = [layout.pad(x[0].transpose(0, 1)).transpose(1, 2) for x in (query, key, value)]
    mask = layout.make_mask(is_causal=causal, window=sliding_window)
    attended, _ = sdpa_attention_forward(module, *padded, mask, is_causal=causal, **options)
    return layout.unpad(attended).unsqueeze(0), None


ALL_ATTENTION_FUNCTIONS.register(ATTENTION, _attend)


class _Backbone(nn.Module):
    """Backbone that takes and returns padded rows but computes real tokens only.

    The head around it works unchanged.
    """

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.inner = backbone

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **others: Any) -> Any:
        """Return the backbone's output; last_hidden_state is num_rows x width x hidden_size."""
        layout = Layout(attention_mask.bool())
        if others.get("token_type_ids") is not None:
            others["token_type_ids"] = layout.unpad(others["token_type_ids"]).unsqueeze(0)
        others["position_ids"] = layout.positions.unsqueeze(0)
        output = self.inner(layout.unpad(input_ids).unsqueeze(0), layout=layout, **others)
        output.last_hidden_state = layout.pad(output.last_hidden_state[0])
        return output


def can_be_padding_free(classifier: Any) -> bool:
    """Return whether a sequence classifier gives the same result on real tokens only.

    The architecture must be listed in ``ARCHITECTURES``, because no module but attention may mix
    tokens. Its attention must be replaceable in transformers, its positions must be an argument and
    count from 0, and nothing inside the backbone may read the first token of a row, as a pooler
    does.
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
    """Change a classifier and its config so that it computes real tokens only.

    Batches keep their padded form.

    Args:
        classifier: Classifier that passes :func:`can_be_padding_free`; call it with an attention
            mask.
    """
    classifier.config._attn_implementation = ATTENTION
    prefix = classifier.base_model_prefix
    setattr(classifier, prefix, _Backbone(getattr(classifier, prefix)))
