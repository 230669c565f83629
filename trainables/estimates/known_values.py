"""Values that training code reads from tensors, for tensors that have no content."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_ATEN = torch.ops.aten


class KnownValues(TorchDispatchMode):
    """Answer the questions that adapters of peft ask while they train.

    Inside FakeTensorMode a small tensor that is made of a number keeps it, and so do results that
    are computed of such tensors alone. The answers are those of an undisturbed training that needs
    the most memory: a random number is above any rate of dropout, so that no module is left out; no
    value is infinite; and a mask leaves every element in.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        if func is _ATEN.rand.default and list(args[0]) == [1]:
            return torch.tensor([1.0])
        if func is _ATEN.any.default:
            return torch.tensor(False)
        if func is _ATEN.index.Tensor:
            tensor, indices = args
            return func(tensor, [place for index in indices for place in _list_places(index)])
        return func(*args, **(kwargs or {}))


def _list_places(index: torch.Tensor | None) -> list[torch.Tensor | None]:
    """List the indices that a mask stands for, one for each of its dimensions, all elements in."""
    if index is None or index.dtype != torch.bool:
        return [index]
    return [torch.empty(index.numel(), dtype=torch.long, device=index.device)] * index.dim()
