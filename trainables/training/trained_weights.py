"""Trained weights of a model whose parts several workers may hold, and copies of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

OPTIONS = StateDictOptions(
    full_state_dict=True,
    cpu_offload=True,
    ignore_frozen_params=True,
    strict=False,
)
"""State in one form for a single process, several processes (DDP) and sharded models (FSDP)."""


def gather_trained_weights(model: Any) -> dict[str, torch.Tensor]:
    """Return the trained weights by name, on the CPU.

    Every worker must call this; the first one gets the weights.
    """
    weights: Any = get_model_state_dict(model, options=OPTIONS)
    return dict(weights)


@contextmanager
def exchanged_weights(model: torch.nn.Module, copies: Sequence[torch.Tensor]) -> Iterator[None]:
    """Exchange the trained weights and their copies inside the context.

    So copies are gathered and distributed as weights are, whatever shares the workers hold.
    """
    _exchange(model, copies)
    yield
    _exchange(model, copies)


@torch.no_grad()
def _exchange(model: torch.nn.Module, copies: Sequence[torch.Tensor]) -> None:
    trained = (p for p in model.parameters() if p.requires_grad)
    for parameter, copy in zip(trained, copies, strict=True):
        weight = parameter.clone()
        parameter.copy_(copy)
        copy.copy_(weight)
