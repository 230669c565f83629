"""Hardware of a trial: what it reserves, and how it uses it."""

from __future__ import annotations

from typing import Any, Literal

import pydantic

from xlt.data.core.settings import Settings

ACCELERATOR, ACCELERATOR_SHARE = "accelerator_type:", 0.001
"""Prefix of the Ray resource that names a node's type of GPU, and the amount that each process
reserves of it: so little that it is never exhausted (ray.util.accelerators)."""


class Resources(Settings):
    """Hardware of a trial and how the trial uses it.

    These settings do not enter the trial id: they change only rounding and the random units that
    dropout drops.
    """

    cpus: int = pydantic.Field(default=1, gt=0)
    """CPU cores of each process; without a GPU also its number of torch threads."""
    gpus: float = pydantic.Field(default=1.0, ge=0, le=1, strict=True)
    """Share of a GPU for each process; ignored if the cluster has no GPUs."""
    workers: int = pydantic.Field(default=1, gt=0)
    """Processes that train one trial together (Ray Train); several processes get one GPU each."""
    sharding: Literal["ddp", "fsdp"] = "ddp"
    """With several workers: each holds the whole model (ddp) or a part of it (fsdp)."""
    micro_batch_size: int | None = pydantic.Field(default=None, gt=0)
    """Rows of a forward pass; an optimiser step still uses batch_size rows. None: all rows at once,
    halved as often as the GPU's memory requires."""
    gradient_checkpointing: bool = False
    """Whether to recompute activations instead of storing them: less memory, a third more time."""
    accelerator_type: str | None = None
    """Required type of GPU by Ray's name, e.g. H100 or A100-80G; None: any."""
    custom_resources: dict[str, pydantic.FiniteFloat] = pydantic.Field(default_factory=dict)
    """Amounts of the nodes' custom resources (``ray start --resources``) that each process
    reserves."""
    retries: int = pydantic.Field(default=2, ge=0)
    """Number of restarts of a trial whose process died; an error of the trial itself ends it."""
    stall_minutes: float | None = pydantic.Field(default=30.0, gt=0, strict=True)
    """Minutes without progress after which a trial's process is killed and counts as dead; None:
    never."""

    @pydantic.field_validator("custom_resources")
    @classmethod
    def _custom(cls, values: dict[str, float]) -> dict[str, float]:
        taken = sorted({"CPU", "GPU", "memory", "object_store_memory"} & {*values})
        if taken:
            raise ValueError(f"{', '.join(taken)}: reserved by Ray; set cpus and gpus")
        wrong = sorted(name for name, amount in values.items() if amount <= 0)
        if wrong:
            raise ValueError(f"{', '.join(wrong)}: reserve more than 0, or remove it")
        return values

    @pydantic.field_validator("gpus", mode="before")
    @classmethod
    def _one_gpu_a_process(cls, value: Any) -> Any:
        if isinstance(value, (int, float)) and value > 1:
            raise ValueError(
                f"{value} GPUs for one process, which uses at most one; to use several GPUs for a "
                "trial, set workers: each gets one GPU"
            )
        return value

    @property
    def others(self) -> dict[str, float]:
        """Resources that each process reserves beside CPUs and GPUs: Ray's name -> amount."""
        if self.accelerator_type is None:
            return dict(self.custom_resources)
        return self.custom_resources | {ACCELERATOR + self.accelerator_type: ACCELERATOR_SHARE}

    @property
    def is_sharded(self) -> bool:
        """Whether no process holds the whole model."""
        return self.workers > 1 and self.sharding == "fsdp"
