"""Count the bytes of tensors that have shapes and types but no content."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any, cast

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

Moved = dict[int, tuple[torch.Tensor, torch.Tensor]]
"""Id of a tensor without content -> (that tensor, its replacement).

The tensor itself is kept so that Python does not reuse its id.
"""


class Allocations(TorchDispatchMode):
    """Count the storages that are created inside this context, as long as they are referenced.

    Attributes:
        bytes: Bytes of the live storages.
        peak: Maximum of ``bytes`` since :meth:`reset`.
        num_calls: Number of operations since :meth:`reset`; questions for a device do not count.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = self.peak = self.num_calls = 0
        self._known: set[int] = set()

    def reset(self) -> None:
        """Restart the counts of peak and calls."""
        self.peak, self.num_calls = self.bytes, 0

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        if func is torch.ops.prim.device.default:  # two thirds of all calls
            return args[0].fake_device
        output = func(*args, **(kwargs or {}))
        self.num_calls += 1
        tree_map_only(torch.Tensor, self._count, output)
        return output

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
    """Replace a model's tensors by tensors on the CPU; shared tensors stay shared.

    A model is built on the meta device, but it cannot be trained there, because fused optimisers
    and attention depend on the device. ``Module.to_empty`` would separate the tensors that a base
    and its adapters share.

    Args:
        model: Model on the meta device.
        moved: Tensors that were moved before; this call adds its own.
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
