"""How fast this machine multiplies matrices and starts kernels, measured in a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

SECONDS = 0.5
"""Each of the two measurements takes about so long."""
CHAIN = 100
"""Small operations in a row, forward and backward."""


@dataclass(frozen=True)
class Throughput:
    """What was measured.

    Attributes:
        flops: Floating-point operations a second of one large matrix product.
        call_seconds: Seconds to start a small operation, recorded by autograd.
    """

    flops: float
    call_seconds: float


def measure_throughput(device: str, *, tokens: int, width: int, num_threads: int = 1) -> Throughput:
    """Multiply as a layer of a model does, then time operations that do nothing.

    Args:
        device: ``cpu`` (in fp32) or ``cuda`` (in bf16).
        tokens: Rows of the matrix, as the tokens of a micro-batch.
        width: Of the model; the product is tokens x width by width x 4 width.
        num_threads: On a CPU.
    """
    torch.set_num_threads(num_threads)
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    left = torch.randn(tokens, width, device=device, dtype=dtype)
    right = torch.randn(width, 4 * width, device=device, dtype=dtype)
    product = torch.empty(tokens, 4 * width, device=device, dtype=dtype)
    seconds = _time_call(lambda: torch.mm(left, right, out=product), device)
    return Throughput(
        flops=2 * tokens * width * 4 * width / seconds,
        call_seconds=_time_call(lambda: _run_chain(device), device) / (2 * CHAIN),
    )


def _run_chain(device: str) -> None:
    value = start = torch.ones(1, device=device, requires_grad=True)
    for _ in range(CHAIN):
        value = value * 1.5
    torch.autograd.grad(value, start)


def _time_call(once: Callable[[], object], device: str) -> float:
    """Mean over as many calls as fit into :data:`SECONDS`, the first ones left out."""
    for _ in range(3):
        once()
    _synchronize(device)
    begun, num = time.perf_counter(), 0
    while (passed := time.perf_counter() - begun) < SECONDS or not num:
        once()
        num += 1
        _synchronize(device)
    return passed / num


def _synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
