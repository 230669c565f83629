"""Models whose tensors have shapes and types but no content, and the bytes that they would take."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any, cast

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

Moved = dict[int, tuple[torch.Tensor, torch.Tensor]]
"""Id of a tensor without content -> itself, so that the id stays its own, and what replaced it."""


class Allocations(TorchDispatchMode):
    """Counts the storages that are made while it is entered, as long as they are referred to.

    Attributes:
        bytes: Of those that live now.
        peak: The most since :meth:`reset`.
        num_calls: Operations since :meth:`reset`.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = self.peak = self.num_calls = 0
        self._known: set[int] = set()

    def reset(self) -> None:
        """Count peak and calls anew."""
        self.peak, self.num_calls = self.bytes, 0

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        self.num_calls += 1
        tree_map_only(torch.Tensor, self._count, made)
        return made

    def _count(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._known:
            size = storage.nbytes()
            self._known.add(key)
            self.bytes += size
            self.peak = max(self.peak, self.bytes)
            weakref.finalize(storage, self._free, key, size)

    def _free(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.bytes -= size


def move_to_cpu(model: torch.nn.Module, moved: Moved) -> None:
    """Put tensors of the CPU in place of a model's; what was shared stays so.

    A model is built on the meta device, where it cannot be trained: fused optimisers and attention
    choose by device. ``Module.to_empty`` would part what a base and its adapters share.

    Args:
        model: On the meta device.
        moved: What was moved already; added to.
    """
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is None:
                    continue
                if id(tensor) not in moved:
                    new = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")
                    if isinstance(tensor, torch.nn.Parameter):
                        new = torch.nn.Parameter(new, requires_grad=tensor.requires_grad)
                    moved[id(tensor)] = tensor, new
                cast(dict[str, torch.Tensor], tensors)[name] = moved[id(tensor)][1]
