"""Several LoRA trials on one frozen base: one forward pass serves all of them.

The members' rows lie one after another in the batch. The base's layers compute all rows at once;
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

from trainables.batching import collate

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


@dataclass
class _Batch:
    """What the layers are given now: every segment has ``height`` rows, fillers included."""

    segments: list[Segment] = field(default_factory=list)
    height: int = 0


class LoraPack:
    """One forward pass of several classifiers of :func:`trainables.methods.lora.build`.

    Args:
        models: The members, around the same base's tensors, with adapters of one rank in the same
            modules; no dropout but that of the adapters, see :func:`has_other_dropout`.
    """

    def __init__(self, models: Sequence[Any]) -> None:
        self._batch = _Batch()
        classifiers = [model.get_base_model() for model in models]
        first = classifiers[0]
        tensors = itertools.chain(first.parameters(), first.buffers())
        replaced: dict[int, Any] = {id(tensor): tensor for tensor in tensors}
        for name, module in first.named_modules():
            kind = _shared_kind(module)
            if kind is not None:
                same = [classifier.get_submodule(name) for classifier in classifiers]
                replaced[id(module)] = kind(same, self._batch)
        self._shell: Any = copy.deepcopy(first, replaced).train()

    def logits(self, segments: Sequence[Segment]) -> list[torch.Tensor]:
        """Logits of each segment's rows, num_rows x num_labels, with a graph; in training mode.

        Args:
            segments: Rows of some or all members, at most one segment each.
        """
        height = max(segment.num_rows for segment in segments)
        self._batch.segments, self._batch.height = list(segments), height
        rows: list[list[int]] = []
        for segment in segments:  # a segment is filled up with rows that nothing is learnt from
            ids = segment.token_ids
            rows += [*ids, *[ids[0]] * (height - len(ids))]
        config, device = self._shell.config, self._shell.device
        inputs = collate(rows, config.pad_token_id, device, config.sep_token_id)
        parts = torch.split(self._shell(**inputs).logits.float(), height)
        return [part[: s.num_rows] for s, part in zip(segments, parts, strict=True)]


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
        """(members * height) x width x features, as the layer of peft for each member's rows."""
        result = self.base_layer(x)
        members = [segment.member for segment in self._batch.segments]
        down = torch.stack([self._down[m] for m in members])
        up = torch.stack([self._up[m] * self._scaling[m] for m in members])
        x = x.to(down.dtype)
        if any(self._kept[m] < 1 for m in members):
            x = x * self._mask(x)
        low = torch.bmm(x.reshape(len(members), -1, x.shape[-1]), down.mT)
        parts = result.reshape(len(members), -1, result.shape[-1])
        whole: torch.Tensor = torch.baddbmm(parts, low, up.mT).view(result.shape)
        return whole.to(result.dtype)

    def _mask(self, x: torch.Tensor) -> torch.Tensor:
        """What dropout keeps: each member draws in the shape that its rows have alone.

        On a CPU it then draws what it draws alone: ``torch.nn.functional.dropout`` fills a tensor
        of the input's shape by ``bernoulli_``. Of fillers and padding nothing is kept.
        """
        mask = torch.zeros(x.shape, dtype=torch.bool, device=x.device)
        for number, segment in enumerate(self._batch.segments):
            start, kept = number * self._batch.height, self._kept[segment.member]
            own = mask[start : start + segment.num_rows, : segment.width]
            if kept < 1:
                own.bernoulli_(kept, generator=segment.generator)
            else:
                own.fill_(True)
        return mask


class _SharedHead(nn.Module):
    """A module of the head, each member's own."""

    def __init__(self, wrappers: Sequence[Any], batch: _Batch) -> None:
        super().__init__()
        self._batch = batch
        self._heads = [wrapper.modules_to_save[ADAPTER] for wrapper in wrappers]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(members * height) x ..., each segment through its member's module."""
        parts = torch.split(x, self._batch.height)
        return torch.cat(
            [
                self._heads[segment.member](part)
                for segment, part in zip(self._batch.segments, parts, strict=True)
            ]
        )


def _shared_kind(module: nn.Module) -> type[_SharedLora | _SharedHead] | None:
    """What stands for such a module of every member; None: the base's own does."""
    if isinstance(module, LoraLayer):
        return _SharedLora
    return _SharedHead if isinstance(module, ModulesToSaveWrapper) else None


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
