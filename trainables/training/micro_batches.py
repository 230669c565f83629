"""Compute the gradients of a batch in forward passes that fit into the device's memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from xlt.data.core.errors import InputError
from xlt.trainables.training.workers import Workers


class MicroBatches:
    """Accumulate the gradients of a batch's mean loss over one or several forward passes.

    The batch, and so what a step learns, does not depend on the size of the passes. Only rounding
    and the units that dropout drops change. If a CUDA device runs out of memory, the step is
    repeated with passes half as large, from the same state of the random generators, and later
    steps keep that size.

    Args:
        forward: Model whose gradients are accumulated.
        loss_of: Function of row numbers that returns their mean loss, a scalar with a graph.
        size: Rows per pass; None means the whole batch.
        workers: Workers that share a batch and average their gradients.
        weight_of: Function of row numbers that returns their weight in the mean loss of a batch,
            e.g. their number.

    Attributes:
        size: Current number of rows per pass.
        num_halved: Number of times that memory ran out.
    """

    def __init__(
        self,
        forward: Any,
        loss_of: Callable[[list[int]], torch.Tensor],
        size: int | None = None,
        workers: Workers | None = None,
        weight_of: Callable[[Sequence[int]], float] = len,
    ) -> None:
        self._forward, self._loss_of = forward, loss_of
        self._workers, self._weight_of = workers or Workers(), weight_of
        self.size = size
        self.num_halved = 0

    def __call__(self, batch: Sequence[int]) -> torch.Tensor:
        """Return the mean loss of the batch, detached, and add its gradients to the parameters.

        Raises:
            InputError: A single row does not fit into memory.
            torch.OutOfMemoryError: A pass does not fit, and other processes wait for this process.
        """
        while True:
            generators = get_random_state()
            try:
                return self._accumulate(batch)
            except torch.OutOfMemoryError as error:
                self._halve(len(batch), error)
            # Do this outside of the handler: the error's frames hold the tensors of the failed
            # pass.
            for parameter in self._forward.parameters():
                parameter.grad = None
            torch.cuda.empty_cache()
            set_random_state(generators)

    def _accumulate(self, batch: Sequence[int]) -> torch.Tensor:
        # The others wait for each pass, so a worker without a row computes one with weight 0.
        rows = self._workers.take_share(batch) or [batch[0]]
        is_idle = self._workers.rank >= len(batch)
        size = self.size or len(rows)
        passes = [rows[start : start + size] for start in range(0, len(rows), size)]
        total = torch.zeros((), device=next(self._forward.parameters()).device)
        for number, pass_rows in enumerate(passes, start=1):
            weight = 0.0 if is_idle else self._weight_of(pass_rows) / self._weight_of(batch)
            loss = self._loss_of(pass_rows)
            if number < len(passes):
                with self._workers.without_sync(self._forward):
                    torch.autograd.backward(loss * (weight * self._workers.size))
            else:
                torch.autograd.backward(loss * (weight * self._workers.size))
            total += loss.detach() * weight
        return self._workers.sum(total)

    def _halve(self, num_rows: int, error: torch.OutOfMemoryError) -> None:
        """Halve the passes; raise the error if they cannot be smaller."""
        size = min(self.size or num_rows, num_rows)
        if self._workers.size > 1:
            raise error  # the others wait for these gradients, so the whole group must restart
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
    """Return the state of torch's global generators: the CPU's, then the current CUDA device's."""
    states = [torch.get_rng_state()]
    return states + ([torch.cuda.get_rng_state()] if torch.cuda.is_available() else [])


def set_random_state(states: Sequence[torch.Tensor]) -> None:
    """Set the state of torch's global generators, as :func:`get_random_state` returned it."""
    torch.set_rng_state(states[0])
    if len(states) > 1 and torch.cuda.is_available():
        torch.cuda.set_rng_state(states[1])
