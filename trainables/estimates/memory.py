"""What lies in a device's memory at a trial's peak, part by part, and how several workers share it.

AdamW keeps two moments of each trained parameter, in the parameter's type (Loshchilov and Hutter
2019, arXiv 1711.05101); a gradient has its parameter's type, too. What is kept for the backward
pass is counted by :mod:`xlt.trainables.estimates.dry_run`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

GIB = 2**30
GPU_CONTEXT = 1 * GIB
"""Assumed of a GPU beyond tensors: CUDA's context, kernels and work spaces of cuBLAS."""
PROCESS = GIB // 2
"""Assumed of a CPU process beyond tensors: Python with torch and transformers."""


@dataclass(frozen=True)
class Memory:
    """Bytes of one process at its peak.

    Attributes:
        base: The base model, which stays loaded for the next trial; frozen weights are used in
            place.
        trained: What the trial adds: adapters and head, or the copy that full fine-tuning trains.
        gradients: Of the trained parameters.
        optimizer: AdamW's moments.
        activations: What training holds besides: kept for the backward pass, and temporary.
        prediction: What a batch of test rows holds besides base and trained weights.
    """

    base: int
    trained: int
    gradients: int
    optimizer: int
    activations: int
    prediction: int

    @property
    def training(self) -> int:
        """At the peak of training."""
        return self.base + self.trained + self.gradients + self.optimizer + self.activations

    @property
    def peak(self) -> int:
        """At the peak of the trial."""
        return max(self.training, self.base + self.trained + self.prediction)

    def shared(
        self, workers: int, sharding: Literal["ddp", "fsdp"], num_layers: int, is_full: bool
    ) -> Memory:
        """What each of several workers holds.

        Args:
            workers: Processes with a GPU each.
            sharding: ddp: everything, and the buckets that gradients are summed in, as large as
                the gradients (Li et al. 2020, arXiv 2006.15704). fsdp: a share of weights,
                gradients and moments, and two layers whole, the one that computes and the next
                (Zhao et al. 2023, arXiv 2304.11277).
            num_layers: Of the model; a layer is taken to be an equal part of it.
            is_full: Whether all weights are trained; with fsdp the base that they are a copy of
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
            activations=self.activations + whole,
            prediction=self.prediction + whole,
        )
