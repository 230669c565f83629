"""Train only the embedding rows whose tokens occur in the training texts.

A multilingual encoder has most of its parameters in word embeddings (multilingual-e5-small: 96 of
118 million), and a few hundred texts use a small part of them. The gradient of the other rows is
zero, so AdamW only decays them. They are left out of training and decayed once at the end. The
result is the same to the last bit:

- AdamW multiplies a parameter by ``1 - learning_rate * weight_decay`` before each update
  (Loshchilov and Hutter 2019, arXiv 1711.05101), and a gradient of zero adds nothing.
- On a CPU torch sums the squares of a gradient in order, element i in lane i modulo the width of a
  vector. Leaving out whole rows of zeros keeps the lane of every other element
  (:data:`NUM_LANES`), so the norm for clipping is the same.
- Two processes that share a batch (ddp) add two gradients, in either order to the same sum. The sum
  of more depends on the order, which gloo chooses by the position of a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from xlt.trainables.models.architectures import ARCHITECTURES

NUM_LANES = 16
"""Numbers in the widest vector of a CPU (AVX-512, fp32); the width of a row must be a multiple."""
MAX_SHARE = 0.5
"""Share of the rows above which all rows are trained, because little would be saved."""
MAX_PROCESSES = 2
"""Number of processes whose gradients have one sum."""
CACHED = 1 << 16
"""Numbers that are decayed together for all steps, so that they stay in the CPU's cache."""


class UsedRows(nn.Module):
    """Embeddings of some tokens, in the place of embeddings of all tokens.

    Args:
        embeddings: Embeddings of all tokens; they stay unchanged.
        tokens: Sorted ids of the tokens to embed.

    Attributes:
        weight: num_tokens x width rows, trained.
    """

    _places: torch.Tensor

    def __init__(self, embeddings: nn.Embedding, tokens: Sequence[int]) -> None:
        super().__init__()
        initial = embeddings.weight.detach()
        self._initial, self._padding = initial, embeddings.padding_idx
        self._tokens = torch.tensor(tokens, device=initial.device)
        self.weight = nn.Parameter(initial[self._tokens])
        # Tokens without a row get -1, which torch refuses.
        places = torch.full((len(initial),), -1, device=initial.device)
        places[self._tokens] = torch.arange(len(tokens), device=initial.device)
        self.register_buffer("_places", places, persistent=False)
        has_padding = embeddings.padding_idx in tokens
        self._padding_place = tokens.index(embeddings.padding_idx) if has_padding else None

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Look up token ids of any shape; ... x width."""
        return nn.functional.embedding(self._places[input_ids], self.weight, self._padding_place)

    def expand(self, factors: Sequence[Sequence[float]]) -> nn.Embedding:
        """Make the embeddings of all tokens after training.

        Args:
            factors: Numbers that AdamW's weight decay multiplied every row by, in order, up to the
                step whose weights count. Of several such steps, the numbers since the one before;
                the rows are then the mean over these steps.
        """
        table = self._initial.clone()
        for part in torch.split(table.view(-1), CACHED):
            total = torch.zeros_like(part)
            for since_last in factors:
                for factor in since_last:
                    part.mul_(factor)
                total += part
            if len(factors) > 1:
                part.copy_(total / len(factors))
        table[self._tokens] = self.weight.detach()
        num_rows, width = table.shape
        return nn.Embedding(num_rows, width, padding_idx=self._padding, _weight=table)


def can_train_used_rows(device: str, num_processes: int, is_sharded: bool) -> bool:
    """Return whether training only the used rows gives the bytes of training all rows.

    Args:
        device: Type of device that trains. On a GPU the order in which a gradient is summed depends
            on the number of rows.
        num_processes: Number of processes that train the trial together.
        is_sharded: Whether each holds only a share of the weights. The embeddings are then cut into
            shares by their rows.
    """
    return device == "cpu" and num_processes <= MAX_PROCESSES and not is_sharded


def train_used_rows(model: Any, base_model: Any, token_ids: Sequence[Sequence[int]]) -> None:
    """Leave out the embedding rows that no text needs, if the model allows it and it saves much.

    Training must be one that :func:`can_train_used_rows` allows. Each process of a group calls
    this.

    Args:
        model: Classifier to train. It cannot read other tokens until :func:`restore_all_rows`.
        base_model: Base model that the classifier is a copy of; it is not changed.
        token_ids: Token ids of each training row; batches also have the pad token.
    """
    embeddings = base_model.get_input_embeddings()
    tokens = sorted({model.config.pad_token_id, *(token for ids in token_ids for token in ids)})
    if (
        model.get_input_embeddings().weight.requires_grad
        and _can_leave_out_rows(base_model, embeddings)
        and len(tokens) <= MAX_SHARE * embeddings.num_embeddings
    ):
        model.set_input_embeddings(UsedRows(embeddings, tokens))


def restore_all_rows(
    model: Any, learning_rates: Sequence[float], weight_decay: float, kept_steps: Sequence[int]
) -> None:
    """Give a trained classifier the embeddings of all tokens again.

    Args:
        model: Classifier after :func:`train_used_rows`; others stay unchanged.
        learning_rates: Learning rate of each step.
        weight_decay: Weight decay of matrices.
        kept_steps: Step after which the weights are those of the model, or the steps whose weights
            were averaged.
    """
    embeddings = model.get_input_embeddings()
    if isinstance(embeddings, UsedRows):
        factors = [1 - rate * weight_decay for rate in learning_rates]
        parts = [factors[first:last] for first, last in pairwise((0, *kept_steps))]
        model.set_input_embeddings(
            embeddings.expand([[f for f in part if f != 1] for part in parts])
        )


def _can_leave_out_rows(base_model: Any, embeddings: Any) -> bool:
    """Return whether a listed architecture reads these embeddings only by looking up tokens."""
    num_users = sum(
        parameter is embeddings.weight
        for module in base_model.modules()
        for parameter in module._parameters.values()
    )
    return (
        base_model.config.model_type in ARCHITECTURES
        and type(embeddings) is nn.Embedding  # a subclass may compute more
        and not (embeddings.max_norm or embeddings.scale_grad_by_freq or embeddings.sparse)
        and embeddings.embedding_dim % NUM_LANES == 0
        and num_users == 1
    )
