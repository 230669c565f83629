"""Workers: the processes that train one trial together, by torch.distributed or alone."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from torch import distributed
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

Item = TypeVar("Item")


@dataclass(frozen=True)
class Workers:
    """Group of processes that train the same trial, seen from one of them.

    Attributes:
        rank: Number of this process; process 0 writes the results.
        size: Number of processes.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> Workers:
        """Return the group of torch.distributed, or a group of one if it is not initialised."""
        if distributed.is_available() and distributed.is_initialized():
            return cls(distributed.get_rank(), distributed.get_world_size())
        return cls()

    @property
    def is_first(self) -> bool:
        """Whether this process writes the results."""
        return self.rank == 0

    def take_share(self, items: Sequence[Item]) -> list[Item]:
        """Return this process's share: every size-th item, so that sorted items spread evenly."""
        return list(items[self.rank :: self.size])

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Sum a tensor over all processes, in place."""
        if self.size > 1:
            distributed.all_reduce(tensor)
        return tensor

    def any_true(self, value: bool, device: torch.device) -> bool:
        """Return in every process whether ``value`` is true in at least one of them."""
        if self.size == 1:
            return value
        return bool(self.sum(torch.tensor(float(value), device=device)).item())

    def gather(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        """Return the tensors of all processes by rank; they must be small and on the CPU."""
        if self.size == 1:
            return [tensor]
        tensors: list[Any] = [None] * self.size
        distributed.all_gather_object(tensors, tensor)
        return tensors

    def broadcast(self, value: Item) -> Item:
        """Return the first process's value in every process; it must be small and on the CPU."""
        if self.size == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values, src=0)
        return values[0]

    def distribute(self, model: Any, sharding: Literal["ddp", "fsdp"]) -> Any:
        """Return the module that forward passes of training call, so that gradients are shared.

        Args:
            model: Classifier, equal in every process. fsdp replaces its parameters by shares of
                them everywhere, so the process can serve only one trial. A model whose parameters
                are shares already is returned as it is.
            sharding: With ddp every process holds the whole model (Li et al. 2020, arXiv
                2006.15704). With fsdp it holds a share of each layer (FSDP2, Zhao et al. 2023,
                arXiv 2304.11277).
        """
        if self.size == 1:
            return model
        if sharding == "ddp":
            # Buffers are constants, such as the places of embedding rows.
            return DistributedDataParallel(model, broadcast_buffers=False)
        if isinstance(model, FSDPModule):
            return model
        for stack in [m for m in model.modules() if isinstance(m, torch.nn.ModuleList)]:
            for layer in stack:
                fully_shard(layer)
        return fully_shard(model)

    @staticmethod
    def reshard(model: Any) -> None:
        """Free whole weights that a forward pass without a backward pass has left (fsdp)."""
        for module in model.modules():
            if isinstance(module, FSDPModule):
                module.reshard()

    @staticmethod
    def unshard(tensor: torch.Tensor) -> torch.Tensor:
        """Return a sharded tensor as a whole; other tensors are returned unchanged."""
        return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor

    @staticmethod
    def without_sync(forward: Any) -> AbstractContextManager[Any]:
        """Keep gradients in this process while more passes of the same batch follow."""
        if isinstance(forward, DistributedDataParallel):
            return forward.no_sync()
        return nullcontext()
