"""Peak speeds of GPU types, for GPUs that this machine cannot measure."""

from __future__ import annotations

BF16_TFLOPS: dict[str, float] = {
    "H200": 989,
    "H100": 989,
    "A100": 312,
    "L40S": 362,
    "L4": 121,
    "A10G": 70,
    "A10": 125,
    "A6000": 155,
    "V100": 125,
    "T4": 65,
}
"""Part of a GPU's name -> peak speed of its tensor cores on dense 16-bit matrices, in TFLOP/s.

The values are from NVIDIA's data sheets: the SXM form where there are several, and fp16 for V100
and T4."""


def find_bf16_flops(name: str) -> float:
    """Peak operations per second of a GPU, found by its name; 0 if it is not listed."""
    words = name.replace("-", " ").split()
    return next((1e12 * peak for part, peak in BF16_TFLOPS.items() if part in words), 0.0)
