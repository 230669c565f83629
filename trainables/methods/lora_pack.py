"""Several LoRA trials on one frozen base: one forward pass serves all of them.

The members' rows lie one after another in the batch. The base's layers compute all of them at once;
adapters and heads are the members' own, so gradients of the summed losses never mix. The same idea
serves many adapters in Punica (Chen et al. 2023, arXiv 2310.18547) and trains them in mLoRA (Ye et
al. 2023, arXiv 2312.02515).
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from peft.tuners.lora.layer import LoraLayer
from peft.utils.other import ModulesToSaveWrapper
from torch import nn
from transformers.pytorch_utils import Conv1D

from xlt.trainables.loading.batching import collate
from xlt.trainables.loading.padding_free import can_be_padding_free, make_padding_free
from xlt.trainables.methods.adapters import apply_adapters

ADAPTER = "default"
"""What peft calls the only adapter of a model."""


@dataclass(frozen=True)
class Segment:
    """A member's rows in a shared batch.

    Attributes:
        member: Number of the member.
        token_ids: Of each of its rows.
        generator: Draws what its dropout drops.
    """

    member: int
    token_ids: Sequence[list[int]]
    generator: torch.Generator

    @property
    def num_rows(self) -> int:
        """Rows of its own."""
        return len(self.token_ids)

    @property
    def width(self) -> int:
        """Tokens of its longest row."""
        return max(map(len, self.token_ids))

    def find_places(self, width: int) -> torch.Tensor:
        """Where its tokens lie in its rows, padded on the right to a width; num_tokens."""
        return torch.cat(
            [
                torch.arange(row * width, row * width + len(ids))
                for row, ids in enumerate(self.token_ids)
            ]
        )


@dataclass
class _Batch:
    """What the layers are given now.

    Attributes:
        segments: In the order of their rows.
        sizes: Places of each segment in what the backbone's layers are given, padding included.
        alone: Of each segment's tokens, their places in its rows as they would be padded alone.
        shared: The same in the segment's places here; None: they are its only places.
    """

    segments: list[Segment] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    alone: list[torch.Tensor] = field(default_factory=list)
    shared: list[torch.Tensor] | None = None


class LoraPack:
    """One forward pass of several classifiers of :func:`build`.

    It computes real tokens only where :func:`can_be_padding_free` holds.

    Args:
        models: The members, around the same base's tensors, with adapters of one rank in the same
            modules of the backbone; no dropout but that of the adapters, see
            :func:`has_other_dropout`.
    """

    def __init__(self, models: Sequence[Any]) -> None:
        self._batch = _Batch()
        classifiers = [model.get_base_model() for model in models]
        first = classifiers[0]
        tensors = itertools.chain(first.parameters(), first.buffers())
        replaced: dict[int, Any] = {id(tensor): tensor for tensor in tensors}
        for name, module in first.named_modules():
            kind = _find_shared_class(module)
            if kind is not None:
                same = [classifier.get_submodule(name) for classifier in classifiers]
                replaced[id(module)] = kind(same, self._batch)
        self._shell: Any = copy.deepcopy(first, replaced).train()
        self._is_padding_free = can_be_padding_free(self._shell)
        if self._is_padding_free:
            make_padding_free(self._shell)

    @property
    def num_places(self) -> list[int]:
        """Places of each segment in the last pass, padding included."""
        return self._batch.sizes

    def compute_logits(self, segments: Sequence[Segment]) -> list[torch.Tensor]:
        """Logits of each segment's rows, num_rows x num_labels, with a graph; in training mode.

        Args:
            segments: Rows of some or all members, at most one segment each.
        """
        config, device = self._shell.config, self._shell.device
        self._lay_out(segments, device)
        rows = [ids for segment in segments for ids in segment.token_ids]
        inputs = collate(rows, config.pad_token_id, device, config.sep_token_id)
        logits = self._shell(**inputs).logits.float()
        return list(torch.split(logits, [segment.num_rows for segment in segments]))

    def _lay_out(self, segments: Sequence[Segment], device: torch.device) -> None:
        """Find the places of each segment's tokens."""
        batch, width = self._batch, max(segment.width for segment in segments)
        batch.segments = list(segments)
        batch.alone = [segment.find_places(segment.width).to(device) for segment in segments]
        if self._is_padding_free:
            batch.sizes, batch.shared = [len(places) for places in batch.alone], None
        else:
            batch.sizes = [segment.num_rows * width for segment in segments]
            batch.shared = [segment.find_places(width).to(device) for segment in segments]


class _SharedLora(nn.Module):
    """A frozen projection with the adapters of every member."""

    def __init__(self, layers: Sequence[Any], batch: _Batch) -> None:
        super().__init__()
        self.base_layer = layers[0].base_layer
        self._batch = batch
        self._down = [layer.lora_A[ADAPTER].weight for layer in layers]
        self._up = [layer.lora_B[ADAPTER].weight for layer in layers]
        self._kept = [1 - getattr(layer.lora_dropout[ADAPTER], "p", 0.0) for layer in layers]
        # What dropout keeps is scaled up by its share; so is, at less cost, what comes of it.
        self._scaling = [
            layer.scaling[ADAPTER] / kept for layer, kept in zip(layers, self._kept, strict=True)
        ]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As the layer of peft for the places of each member, which lie one after another."""
        result = self.base_layer(x)
        members = [segment.member for segment in self._batch.segments]
        flat, rows = x.flatten(0, -2).to(result.dtype), result.flatten(0, -2)
        mask = self._mask(flat) if any(self._kept[m] < 1 for m in members) else None
        scaling = [self._scaling[m] for m in members]
        matrices = [self._down[m] for m in members] + [self._up[m] for m in members]
        with torch.autocast(x.device.type, enabled=False):  # apply_adapters casts as it would
            whole = apply_adapters(flat, mask, rows, self._batch.sizes, scaling, *matrices)
        adapted: torch.Tensor = whole.view(result.shape)
        return adapted

    def _mask(self, flat: torch.Tensor) -> torch.Tensor:
        """What dropout keeps: each member draws in the shape that its rows have alone.

        On a CPU it then draws what it draws alone: ``torch.nn.functional.dropout`` fills a tensor
        of the input's shape by ``bernoulli_``. Of padding nothing is kept.
        """
        batch = self._batch
        # A product with booleans takes a CPU twice as long; on a GPU they are a quarter in size.
        dtype = flat.dtype if flat.device.type == "cpu" else torch.bool
        made = flat.new_empty if batch.shared is None else flat.new_zeros
        mask = made(flat.shape, dtype=dtype)
        for number, (segment, own) in enumerate(
            zip(batch.segments, torch.split(mask, batch.sizes), strict=True)
        ):
            kept = self._kept[segment.member]
            if kept == 1:
                own.fill_(1)
                continue
            drawn = mask.new_empty(segment.num_rows * segment.width, flat.shape[1])
            drawn.bernoulli_(kept, generator=segment.generator)
            if batch.shared is None:
                torch.index_select(drawn, 0, batch.alone[number], out=own)
            else:
                own[batch.shared[number]] = drawn[batch.alone[number]]
        return mask


class _SharedHead(nn.Module):
    """A module of the head, each member's own."""

    def __init__(self, wrappers: Sequence[Any], batch: _Batch) -> None:
        super().__init__()
        self._batch = batch
        self._heads = [wrapper.modules_to_save[ADAPTER] for wrapper in wrappers]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """All rows x ..., each segment's through its member's module."""
        parts = torch.split(x, [segment.num_rows for segment in self._batch.segments])
        return torch.cat(
            [
                self._heads[segment.member](part)
                for segment, part in zip(self._batch.segments, parts, strict=True)
            ]
        )


def _find_shared_class(module: nn.Module) -> type[_SharedLora | _SharedHead] | None:
    """What stands for such a module of every member; None: the base's own does."""
    if isinstance(module, LoraLayer):
        return _SharedLora
    return _SharedHead if isinstance(module, ModulesToSaveWrapper) else None


def adapts_head(model: Any, head_modules: Sequence[str]) -> bool:
    """Whether adapters may go into modules around the backbone, which see rows, not tokens.

    ModernBERT's pre-trained ``head.dense`` is one.

    Args:
        model: A base as loaded.
        head_modules: What is drawn anew, and trained without adapters.
    """
    inside = f"{model.base_model_prefix}."
    return any(
        isinstance(module, (nn.Linear, Conv1D))
        and not name.startswith(inside)
        and name not in head_modules
        for name, module in model.named_modules()
    )


def has_other_dropout(model: nn.Module) -> bool:
    """Whether a base drops units itself; it would draw for the rows of all members at once."""
    for module in model.modules():
        if isinstance(module, nn.Dropout) and module.p > 0:
            return True
        if any(
            "drop" in name and isinstance(value, float) and value > 0
            for name, value in vars(module).items()
        ):  # given to functional.dropout
            return True
    return False
