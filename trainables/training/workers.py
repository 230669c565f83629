"""The processes that train one trial together: this one alone, unless torch.distributed runs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from torch import distributed
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

Item = TypeVar("Item")


@dataclass(frozen=True)
class Workers:
    """A group of processes that hold the same trial, seen from one of them.

    Attributes:
        rank: Number of this process; 0 writes the results.
        size: How many there are.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> Workers:
        """The group that torch.distributed was started for; alone if it was not."""
        if distributed.is_available() and distributed.is_initialized():
            return cls(distributed.get_rank(), distributed.get_world_size())
        return cls()

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def take_share(self, items: Sequence[Item]) -> list[Item]:
        """This process's part; every size-th item, so that sorted items are shared evenly."""
        return list(items[self.rank :: self.size])

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum over all processes, in place."""
        if self.size > 1:
            distributed.all_reduce(tensor)
        return tensor

    def any_true(self, value: bool, device: torch.device) -> bool:
        """Whether one of the processes says so, in all of them."""
        if self.size == 1:
            return value
        return bool(self.sum(torch.tensor(float(value), device=device)).item())

    def gather(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        """The tensor of every process, by rank; a small one on the CPU."""
        if self.size == 1:
            return [tensor]
        found: list[Any] = [None] * self.size
        distributed.all_gather_object(found, tensor)
        return found

    def broadcast(self, value: Item) -> Item:
        """What the first process gives, in all of them; small, and on the CPU."""
        if self.size == 1:
            return value
        given = [value]
        distributed.broadcast_object_list(given, src=0)
        return given[0]

    def distribute(self, model: Any, sharding: Literal["ddp", "fsdp"]) -> Any:
        """What forward passes of training go through, so that gradients are shared.

        Args:
            model: The classifier, the same in every process. With fsdp its parameters become
                shares of themselves, wherever else they are used: the process serves one trial.
            sharding: ddp: every process holds all of it (Li et al. 2020, arXiv 2006.15704); fsdp:
                a share of it (FSDP2, Zhao et al. 2023, arXiv 2304.11277), layer by layer.
        """
        if self.size == 1:
            return model
        if sharding == "ddp":
            return DistributedDataParallel(model)
        for stack in [m for m in model.modules() if isinstance(m, torch.nn.ModuleList)]:
            for layer in stack:
                fully_shard(layer)
        return fully_shard(model)

    @staticmethod
    def unshard(tensor: torch.Tensor) -> torch.Tensor:
        """A tensor that is shared out among the processes, in one piece."""
        return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor

    @staticmethod
    def without_sync(forward: Any) -> AbstractContextManager[Any]:
        """Gradients stay in this process for now: more of the same batch follows."""
        if isinstance(forward, DistributedDataParallel):
            return forward.no_sync()
        return nullcontext()
