"""Measure in a moment how fast this machine multiplies matrices and starts operations."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

SECONDS = 0.1
"""Approximate seconds of each of the two measurements."""
CHAIN = 100
"""Number of small operations in a row, forward and backward."""


@dataclass(frozen=True)
class Throughput:
    """Measured speed of a device.

    Attributes:
        flops: Floating-point operations per second of one large matrix product.
        call_seconds: Seconds to start a small operation that autograd records.
    """

    flops: float
    call_seconds: float


def measure_throughput(device: str, *, tokens: int, width: int, num_threads: int = 1) -> Throughput:
    """Time a matrix product of a model's layer, then operations that compute almost nothing.

    Args:
        device: ``cpu`` (in fp32) or ``cuda`` (in bf16).
        tokens: Number of rows of the matrix, i.e. tokens of a micro-batch.
        width: Width of the model; the product is tokens x width by width x 4 width.
        num_threads: Number of threads on a CPU.
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


def _time_call(call: Callable[[], object], device: str) -> float:
    """Return the mean seconds of the calls that fit into :data:`SECONDS`, after three more."""
    for _ in range(3):
        call()
    _synchronize(device)
    start, num_calls = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - start) < SECONDS or not num_calls:
        call()
        num_calls += 1
        _synchronize(device)
    return elapsed / num_calls


def _synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
