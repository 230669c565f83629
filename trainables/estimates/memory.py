"""Parts of a device's memory at a trial's peak, and how several workers share them.

AdamW keeps two moments of each trained parameter, in the parameter's data type (Loshchilov and
Hutter 2019, arXiv 1711.05101). A gradient has its parameter's data type, too. The tensors that the
backward pass needs are counted by :mod:`xlt.trainables.estimates.dry_run`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

GIB = 2**30
GPU_CONTEXT = 1 * GIB
"""Assumed bytes on a GPU besides tensors: CUDA's context, kernels and work spaces of cuBLAS."""
PROCESS = GIB // 2
"""Assumed bytes of a CPU process besides tensors: Python with torch and transformers."""
TOKENIZER_FACTOR = 22
"""Bytes of a loaded tokenizer for each byte of its tokenizer.json (docs/benchmarks.md)."""
HEAP_FACTOR = 1.65
"""Resident bytes for each byte of activations: glibc's heap has gaps between tensors below 32 MiB,
see :mod:`xlt.trainables.loading.allocator` (docs/benchmarks.md)."""


@dataclass(frozen=True)
class Memory:
    """Bytes of one process at its peak, by part.

    Attributes:
        base: Base model, which stays loaded for the next trial. Frozen weights are used in place.
        trained: Weights that the trial adds: adapters and head, or the copy of full fine-tuning.
        gradients: Gradients of the trained parameters.
        optimizer: Moments of AdamW.
        activations: Other tensors of training: kept for the backward pass, and temporary.
        prediction: Tensors of a batch of test rows, without base and trained weights.
        copies: Copy of the trained weights, for the mean of several epochs or the best epoch.
    """

    base: int
    trained: int
    gradients: int
    optimizer: int
    activations: int
    prediction: int
    copies: int = 0

    @property
    def training(self) -> int:
        """Bytes at the peak of training."""
        weights = self.base + self.trained + self.copies
        return weights + self.gradients + self.optimizer + self.activations

    @property
    def peak(self) -> int:
        """Bytes at the peak of the trial."""
        return max(self.training, self.base + self.trained + self.copies + self.prediction)

    def resident(self, tokenizer_bytes: int, *, writes_checkpoints: bool) -> int:
        """Return the resident bytes of a CPU process at its peak, with all that is not a tensor.

        Args:
            tokenizer_bytes: Size of tokenizer.json; 0 if unknown.
            writes_checkpoints: Whether checkpoints are written. Weights and moments are then twice
                in memory as bytes, when there are no gradients.
        """
        kept = self.trained + self.copies + self.optimizer
        checkpoint = 2 * kept if writes_checkpoints else 0
        heap = round(HEAP_FACTOR * max(self.activations, self.prediction))
        weights = self.base + kept + max(self.gradients, checkpoint)
        return PROCESS + TOKENIZER_FACTOR * tokenizer_bytes + weights + heap

    def shared(
        self, workers: int, sharding: Literal["ddp", "fsdp"], num_layers: int, is_full: bool
    ) -> Memory:
        """Return the memory of each worker when several workers share the trial.

        Args:
            workers: Number of processes with a GPU each.
            sharding: With ddp a worker holds everything, and buckets for summing gradients that are
                as large as the gradients (Li et al. 2020, arXiv 2006.15704). With fsdp it holds a
                share of weights, gradients and moments, and two whole layers, the current and the
                next one (Zhao et al. 2023, arXiv 2304.11277).
            num_layers: Number of layers of the model, which count as equal parts.
            is_full: Whether all weights are trained. With fsdp the base, of which they are a copy,
                stays in main memory.
        """
        if workers == 1:
            return self
        if sharding == "ddp":
            return replace(self, activations=self.activations + self.gradients)
        base = 0 if is_full else self.base
        whole = 2 * (base + self.trained) // max(1, num_layers)
        return replace(
            self,
            base=base // workers,
            trained=self.trained // workers,
            gradients=self.gradients // workers,
            optimizer=self.optimizer // workers,
            copies=self.copies // workers,
            activations=self.activations + whole,
            prediction=self.prediction + whole,
        )
