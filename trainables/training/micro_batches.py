"""Gradients of a batch, in forward passes that the device's memory holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from xlt.data.core.errors import InputError
from xlt.trainables.training.workers import Workers


class MicroBatches:
    """Accumulates the gradients of a batch's mean loss over one or several forward passes.

    The batch, and with it what a step learns, stays the same however it is cut; rounding changes,
    and which units dropout drops. Where a CUDA device runs out of memory, the step is taken again
    with passes half as large, from the same state of the random generators, and later steps keep
    that size.

    Args:
        forward: What the losses go through; its gradients are accumulated.
        loss_of: The mean loss of some rows, a scalar with a graph.
        size: Rows a pass; None: the whole batch.
        workers: Those among whom a batch is shared; they average their gradients.

    Attributes:
        size: Rows a pass now.
        num_halved: How often memory ran out.
    """

    def __init__(
        self,
        forward: Any,
        loss_of: Callable[[list[int]], torch.Tensor],
        size: int | None = None,
        workers: Workers | None = None,
    ) -> None:
        self._forward, self._loss_of = forward, loss_of
        self._workers = workers or Workers()
        self.size = size
        self.num_halved = 0

    def __call__(self, batch: Sequence[int]) -> torch.Tensor:
        """The mean loss of the batch, detached; gradients are added to the parameters'.

        Raises:
            InputError: A single row does not fit.
            torch.OutOfMemoryError: A pass does not fit, and other processes wait for this one.
        """
        while True:
            generators = get_random_state()
            try:
                return self._accumulate(batch)
            except torch.OutOfMemoryError as error:
                self._halve(len(batch), error)
            # Outside of the handler: the error's frames hold the tensors of the failed pass.
            for parameter in self._forward.parameters():
                parameter.grad = None
            torch.cuda.empty_cache()
            set_random_state(generators)

    def _accumulate(self, batch: Sequence[int]) -> torch.Tensor:
        # A worker without a row of its own computes with weight 0: the others wait for it.
        rows = self._workers.take_share(batch) or [batch[0]]
        is_idle = self._workers.rank >= len(batch)
        size = self.size or len(rows)
        passes = [rows[start : start + size] for start in range(0, len(rows), size)]
        total = torch.zeros((), device=next(self._forward.parameters()).device)
        for number, some in enumerate(passes, start=1):
            weight = 0.0 if is_idle else len(some) / len(batch)
            loss = self._loss_of(some)
            if number < len(passes):
                with self._workers.without_sync(self._forward):
                    torch.autograd.backward(loss * (weight * self._workers.size))
            else:
                torch.autograd.backward(loss * (weight * self._workers.size))
            total += loss.detach() * weight
        return self._workers.sum(total)

    def _halve(self, num_rows: int, error: torch.OutOfMemoryError) -> None:
        """Raise unless a smaller pass can be tried."""
        size = min(self.size or num_rows, num_rows)
        if self._workers.size > 1:
            raise error  # the others wait for these gradients; the whole group starts again
        if size == 1:
            raise InputError(
                "a single row does not fit into the device's memory; set "
                "resources.gradient_checkpointing: true, lower training.max_length, quantise the "
                "base (lora.quantize_base: nf4), or share it among GPUs (resources.workers, "
                "sharding: fsdp)"
            ) from error
        self.size = size // 2
        self.num_halved += 1


def get_random_state() -> list[torch.Tensor]:
    """State of torch's global generators: the CPU's, then that of the CUDA device in use."""
    states = [torch.get_rng_state()]
    return states + ([torch.cuda.get_rng_state()] if torch.cuda.is_available() else [])


def set_random_state(states: Sequence[torch.Tensor]) -> None:
    """Put back what :func:`get_random_state` returned."""
    torch.set_rng_state(states[0])
    if len(states) > 1 and torch.cuda.is_available():
        torch.cuda.set_rng_state(states[1])
