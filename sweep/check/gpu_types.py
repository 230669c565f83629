"""What GPUs compute in a second, for those that this machine cannot measure."""

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
"""Part of a GPU's name -> peak of its tensor cores on dense 16-bit matrices, in TFLOP/s, from
NVIDIA's data sheets (SXM where there are several; V100 and T4 in fp16)."""


def bf16_flops(name: str) -> float:
    """Operations a second of a GPU, from its name; 0: it is not listed."""
    words = name.replace("-", " ").split()
    return next((1e12 * peak for part, peak in BF16_TFLOPS.items() if part in words), 0.0)
