"""Packed LoRA: one forward pass of a frozen base model serves several trials (members).

The rows of the members follow one another in the batch. The layers of the base compute all rows at
once. Each member has its own adapters and head, so gradients of the summed losses never mix.
Punica (Chen et al. 2023, arXiv 2310.18547) serves many adapters with the same idea, and mLoRA (Ye
et al. 2023, arXiv 2312.02515) trains them.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from xlt.trainables.loading.batching import collate_for
from xlt.trainables.loading.padding_free import can_be_padding_free, make_padding_free
from xlt.trainables.methods.adapted import ADAPTER
from xlt.trainables.methods.adapters import apply_adapters

"""Name that peft gives to the only adapter of a model."""


@dataclass(frozen=True)
class Segment:
    """Rows of one member in a shared batch.

    Attributes:
        member: Number of the member.
        token_ids: Token ids of each row.
        generator: Random generator of the member's dropout.
    """

    member: int
    token_ids: Sequence[list[int]]
    generator: torch.Generator

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return len(self.token_ids)

    @property
    def width(self) -> int:
        """Number of tokens of the longest row."""
        return max(map(len, self.token_ids))

    def find_places(self, width: int) -> torch.Tensor:
        """Find the num_tokens positions of the tokens in rows padded on the right to ``width``.

        Positions count through the flattened num_rows x width.
        """
        return torch.cat(
            [
                torch.arange(row * width, row * width + len(ids))
                for row, ids in enumerate(self.token_ids)
            ]
        )


@dataclass
class _Batch:
    """Layout of the batch that the layers compute now.

    Attributes:
        segments: Segments in the order of their rows.
        sizes: Number of places of each segment in the input of the layers, padding included.
        alone: Positions of each segment's tokens in rows that are padded for that segment alone.
        shared: Positions of each segment's tokens in its places of the batch; None without padding,
            when the tokens are its only places.
    """

    segments: list[Segment] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    alone: list[torch.Tensor] = field(default_factory=list)
    shared: list[torch.Tensor] | None = None


class LoraPack:
    """Compute several classifiers of :func:`build` in one forward pass.

    It computes real tokens only if the classifier passes :func:`can_be_padding_free`.

    Args:
        models: Classifiers of the members. They share the base's tensors, and have adapters of one
            rank in the same modules of the backbone, and no dropout outside of the adapters, see
            :func:`has_other_dropout`.
    """

    def __init__(self, models: Sequence[Any]) -> None:
        self._batch = _Batch()
        classifiers = [model.get_base_model() for model in models]
        first = classifiers[0]
        tensors = itertools.chain(first.parameters(), first.buffers())
        replaced: dict[int, Any] = {id(tensor): tensor for tensor in tensors}
        for name, module in first.named_modules():
            shared_class = _find_shared_class(module)
            if shared_class is not None:
                counterparts = [classifier.get_submodule(name) for classifier in classifiers]
                replaced[id(module)] = shared_class(counterparts, self._batch)
        self._shell: Any = copy.deepcopy(first, replaced).train()
        self._is_padding_free = can_be_padding_free(self._shell)
        if self._is_padding_free:
            make_padding_free(self._shell)

    @property
    def num_places(self) -> list[int]:
        """Number of places of each segment in the last pass, padding included."""
        return self._batch.sizes

    def compute_logits(self, segments: Sequence[Segment]) -> list[torch.Tensor]:
        """Compute the logits of each segment in training mode.

        Args:
            segments: Rows of some or all members, at most one segment each.

        Returns:
            One tensor of num_rows x num_labels per segment, with a graph.
        """
        self._lay_out(segments, self._shell.device)
        rows = [ids for segment in segments for ids in segment.token_ids]
        logits = self._shell(**collate_for(self._shell, rows)).logits.float()
        return list(torch.split(logits, [segment.num_rows for segment in segments]))

    def _lay_out(self, segments: Sequence[Segment], device: torch.device) -> None:
        """Find the places of each segment's tokens in the next batch."""
        batch, width = self._batch, max(segment.width for segment in segments)
        batch.segments = list(segments)
        batch.alone = [segment.find_places(segment.width).to(device) for segment in segments]
        if self._is_padding_free:
            batch.sizes, batch.shared = [len(places) for places in batch.alone], None
        else:
            batch.sizes = [segment.num_rows * width for segment in segments]
            batch.shared = [segment.find_places(width).to(device) for segment in segments]


class _SharedLora(nn.Module):
    """Frozen projection with the adapters of every member."""

    def __init__(self, layers: Sequence[Any], batch: _Batch) -> None:
        super().__init__()
        self.base_layer = layers[0].base_layer
        self._batch = batch
        self._down = [layer.lora_A[ADAPTER].weight for layer in layers]
        self._up = [layer.lora_B[ADAPTER].weight for layer in layers]
        self._kept = [1 - getattr(layer.lora_dropout[ADAPTER], "p", 0.0) for layer in layers]
        # Dropout divides the kept units by their share. Scaling the product instead costs less.
        self._scaling = [
            layer.scaling[ADAPTER] / kept for layer, kept in zip(layers, self._kept, strict=True)
        ]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute each member's places as its peft layer does; the members follow one another."""
        result = self.base_layer(x)
        members = [segment.member for segment in self._batch.segments]
        flat, rows = x.flatten(0, -2).to(result.dtype), result.flatten(0, -2)
        mask = self._mask(flat) if any(self._kept[m] < 1 for m in members) else None
        scaling = [self._scaling[m] for m in members]
        matrices = [self._down[m] for m in members] + [self._up[m] for m in members]
        with torch.autocast(x.device.type, enabled=False):  # apply_adapters casts as autocast would
            applied = apply_adapters(flat, mask, rows, self._batch.sizes, scaling, *matrices)
        adapted: torch.Tensor = applied.view(result.shape)
        return adapted

    def _mask(self, flat: torch.Tensor) -> torch.Tensor:
        """Draw the dropout mask; each member draws in the shape that its rows have alone.

        On a CPU a member thus drops the same units as alone: ``torch.nn.functional.dropout`` fills
        a tensor of the input's shape by ``bernoulli_``. Padding is dropped.
        """
        batch = self._batch
        # A CPU takes twice as long for a product with booleans; on a GPU they need a quarter of the
        # memory.
        dtype = flat.dtype if flat.device.type == "cpu" else torch.bool
        new_tensor = flat.new_empty if batch.shared is None else flat.new_zeros
        mask = new_tensor(flat.shape, dtype=dtype)
        for number, (segment, part) in enumerate(
            zip(batch.segments, torch.split(mask, batch.sizes), strict=True)
        ):
            kept = self._kept[segment.member]
            if kept == 1:
                part.fill_(1)
                continue
            drawn = mask.new_empty(segment.num_rows * segment.width, flat.shape[1])
            drawn.bernoulli_(kept, generator=segment.generator)
            if batch.shared is None:
                torch.index_select(drawn, 0, batch.alone[number], out=part)
            else:
                part[batch.shared[number]] = drawn[batch.alone[number]]
        return mask


class _SharedHead(nn.Module):
    """Module of the head; each member has its own."""

    def __init__(self, wrappers: Sequence[Any], batch: _Batch) -> None:
        super().__init__()
        self._batch = batch
        self._heads = [wrapper.modules_to_save[ADAPTER] for wrapper in wrappers]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute each segment's rows with its member's module; all rows x ..."""
        parts = torch.split(x, [segment.num_rows for segment in self._batch.segments])
        return torch.cat(
            [
                self._heads[segment.member](part)
                for segment, part in zip(self._batch.segments, parts, strict=True)
            ]
        )


def _find_shared_class(module: nn.Module) -> type[_SharedLora | _SharedHead] | None:
    """Return the class that replaces a module for all members; None keeps the base's own module."""
    from peft.tuners.lora.layer import LoraLayer  # imports bitsandbytes and torch's compiler
    from peft.utils.other import ModulesToSaveWrapper

    if isinstance(module, LoraLayer):
        return _SharedLora
    return _SharedHead if isinstance(module, ModulesToSaveWrapper) else None


def adapts_head(model: Any, head_modules: Sequence[str]) -> bool:
    """Return whether LoRA can adapt modules outside of the backbone, which see whole rows.

    ModernBERT's pre-trained ``head.dense`` is such a module.

    Args:
        model: Base model as loaded.
        head_modules: Names of the modules that are initialised by each trial and trained without
            adapters.
    """
    inside = f"{model.base_model_prefix}."
    return any(
        isinstance(module, (nn.Linear, Conv1D))
        and not name.startswith(inside)
        and name not in head_modules
        for name, module in model.named_modules()
    )


def has_other_dropout(model: nn.Module) -> bool:
    """Return whether the base model itself has dropout.

    It would draw for the rows of all members at once, so members would not be independent.
    """
    for module in model.modules():
        if isinstance(module, nn.Dropout) and module.p > 0:
            return True
        if any(
            "drop" in name and isinstance(value, float) and value > 0
            for name, value in vars(module).items()
        ):  # passed to functional.dropout
            return True
    return False
