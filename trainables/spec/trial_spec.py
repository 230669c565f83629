"""TrialSpec: everything that can change a trial's result, frozen, and its identity."""

from __future__ import annotations

import hashlib
import json
import math
import re
from typing import Any, Literal, Self

import pydantic

from xlt.data.core.settings import Settings, added_later
from xlt.data.dataset.dev import Dev, TargetFold
from xlt.data.dataset.patterns import Pattern, Sampling
from xlt.trainables.spec.cell_key import CellKey

RESULT_FORMAT = 2
"""Version of the result folder; a new one makes new trial ids, old folders are refused."""

ACCELERATOR, ACCELERATOR_SHARE = "accelerator_type:", 0.001
"""How Ray's nodes tell the type of their GPUs, and how little of that a process takes, so that it
never runs out (ray.util.accelerators)."""

NOT_IN_IDENTITY = frozenset({"base_path", "resources"})
"""Fields of TrialSpec that cannot change a result: where the base lies and what runs it."""


class Optimizer(Settings):
    """AdamW and its schedule; for fine-tuning and for the pre-training of miniatures."""

    lr_schedule: Literal["linear", "constant"] = "linear"
    """Linear decay to zero after warm-up (paper, section 3.3), or constant."""
    warmup_ratio: float = pydantic.Field(default=0.0, ge=0, lt=1, strict=True)
    """Share of the steps in which the learning rate rises linearly from zero."""
    weight_decay: float = pydantic.Field(default=0.01, ge=0, strict=True)
    """AdamW's decoupled decay, on matrices and DoRA's magnitudes (biases and norms are spared)."""
    max_grad_norm: float = pydantic.Field(default=1.0, gt=0, strict=True)
    """Gradients are clipped to this global L2 norm."""


class Training(Optimizer):
    """How a trial fine-tunes; defaults are the paper's, or ours where it is silent."""

    num_train_epochs: int = pydantic.Field(default=10, gt=0)
    """Passes over the training rows; the last one counts (no early stopping)."""
    batch_size: int = pydantic.Field(default=16, gt=0)
    """Rows an optimiser step."""
    max_length: int = pydantic.Field(default=128, gt=1)
    """Tokens a text is cut to, special tokens included."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 on a GPU, fp32 on a CPU."""


class Lora(Settings):
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685) as in peft's LoraConfig."""

    r: int = pydantic.Field(default=8, gt=0)
    """Rank of the update."""
    lora_alpha: int = pydantic.Field(default=16, gt=0)
    """The update is scaled by lora_alpha / r."""
    lora_dropout: float = pydantic.Field(default=0.05, ge=0, lt=1, strict=True)
    """Dropout before the adapters."""
    target_modules: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    """Module names that get adapters; all-linear: every attention and MLP projection."""
    use_rslora: bool = added_later(False)
    """The update is scaled by lora_alpha / sqrt(r) (Kalajdzievski 2023, arXiv 2312.03732)."""
    use_dora: bool = added_later(False)
    """Magnitudes and directions are learnt apart (Liu et al. 2024, arXiv 2402.09353)."""
    quantize_base: Literal["nf4"] | None = added_later(None)
    """The frozen base in 4 bits (QLoRA, Dettmers et al. 2023, arXiv 2305.14314); None: it is not
    quantised."""


class Resources(Settings):
    """What a trial is given and how it uses that.

    It changes rounding and which units dropout drops, never what is learnt.
    """

    cpus: int = pydantic.Field(default=1, gt=0)
    """CPU cores of each process, and its torch threads on a CPU."""
    gpus: float = pydantic.Field(default=1.0, ge=0, le=1, strict=True)
    """GPU share of each process where the cluster has GPUs; ignored on a cluster without."""
    workers: int = pydantic.Field(default=1, gt=0)
    """Processes that train one trial together (Ray Train); with more than one, a GPU each."""
    sharding: Literal["ddp", "fsdp"] = "ddp"
    """With several workers: every one holds the whole model (ddp), or a share of it (fsdp)."""
    micro_batch_size: int | None = pydantic.Field(default=None, gt=0)
    """Rows a forward pass, while an optimiser step keeps its batch_size; None: all of them, halved
    where the GPU's memory does not hold them."""
    gradient_checkpointing: bool = False
    """Activations are computed twice instead of kept: less memory, about a third more time."""
    accelerator_type: str | None = None
    """Only on nodes with this type of GPU, as Ray calls it, e.g. H100 or A100-80G; None: any."""
    custom_resources: dict[str, float] = pydantic.Field(default_factory=dict)
    """What each process reserves besides, of what nodes were started with (``ray start
    --resources``)."""
    retries: int = pydantic.Field(default=2, ge=0)
    """How often a trial whose process died is started again; its own errors end it at once."""
    stall_minutes: float | None = pydantic.Field(default=30.0, gt=0, strict=True)
    """A process that does nothing of its trial for so long is ended, and counts as dead; None:
    never."""

    @pydantic.field_validator("custom_resources")
    @classmethod
    def _custom(cls, values: dict[str, float]) -> dict[str, float]:
        taken = sorted({"CPU", "GPU", "memory", "object_store_memory"} & {*values})
        if taken:
            raise ValueError(f"{', '.join(taken)}: Ray's own; set cpus and gpus")
        wrong = sorted(name for name, amount in values.items() if amount <= 0)
        if wrong:
            raise ValueError(f"{', '.join(wrong)}: reserve more than 0, or drop it")
        return values

    @pydantic.field_validator("gpus", mode="before")
    @classmethod
    def _one_gpu_a_process(cls, value: Any) -> Any:
        if isinstance(value, (int, float)) and value > 1:
            raise ValueError(
                f"{value} GPUs for one process, which uses one at most; for several GPUs a trial "
                "set workers, which get one each"
            )
        return value

    @property
    def others(self) -> dict[str, float]:
        """What each process reserves beside CPUs and GPUs, by the names that nodes have for it."""
        if self.accelerator_type is None:
            return dict(self.custom_resources)
        return self.custom_resources | {ACCELERATOR + self.accelerator_type: ACCELERATOR_SHARE}

    @property
    def is_sharded(self) -> bool:
        """Whether no process holds the whole model."""
        return self.workers > 1 and self.sharding == "fsdp"


class TrialSpec(Settings):
    """One trial: base model x pattern x seed with every setting resolved."""

    base_model: str
    """Name in tables."""
    base_identity: str
    """hub id@revision, sha256 of a local folder, or the recipe of a miniature; never a path."""
    base_path: str
    """Where to load it from: hub id, absolute folder, or ``miniature:<name>``."""
    revision: str | None = None
    """Pinned hub revision."""
    method: Literal["full", "lora"]
    """Full fine-tuning, or low-rank adapters on a frozen base."""
    source_lang: str
    """Language of the source rows."""
    pattern: Pattern
    """Counts as trained: source_rows is 0 for a monolingual base model."""
    sampling: Sampling
    """How rows are drawn."""
    training: Training
    """Optimiser and schedule."""
    learning_rate: float = pydantic.Field(gt=0, strict=True)
    """Peak learning rate of AdamW."""
    lora: Lora | None = None
    """Adapter settings; only with ``method: lora``."""
    pad_token: str | None = added_later(None)
    """Pads batches in place of the token that the tokenizer has or that is derived."""
    draw_index: int = 0
    """Which draw of training rows; test rows are the same in all."""
    seed: int
    """Changes head initialisation, data order and dropout."""
    dev: Dev | None = None
    """What learning rates are chosen on: scores are those of dev rows, and no test rows exist."""
    data_fingerprint: str
    """SHA-256 of the data set's rows."""
    resources: Resources = Resources()
    """What it is given; not part of the identity."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _one_spelling(cls, values: Any) -> Any:
        """Default adapters spelt out, so that a trial has one identity however it is written."""
        if isinstance(values, dict) and values.get("method") == "lora" and not values.get("lora"):
            return values | {"lora": Lora()}
        return values

    @pydantic.model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        if self.method == "full" and self.lora:
            raise ValueError("lora settings are given but the method is full; drop them")
        return self

    @property
    def cell(self) -> CellKey:
        """The cell that the trial belongs to."""
        return CellKey(self.base_model, self.pattern.name)

    @property
    def num_steps(self) -> int:
        """Optimiser steps of the whole trial."""
        num_rows = self.pattern.source_rows + self.pattern.target_rows
        if isinstance(self.dev, TargetFold):
            num_rows -= self.dev.num_rows(self.pattern.target_rows)
        return math.ceil(num_rows / self.training.batch_size) * self.training.num_train_epochs

    def tuned(self, learning_rate: float, training: dict[str, Any], lora: dict[str, Any]) -> Self:
        """The same trial with another learning rate and some settings of the blocks replaced."""
        changes: dict[str, Any] = {"learning_rate": learning_rate}
        changes["training"] = Training.parse(self.training.model_dump() | training)
        if self.lora:
            changes["lora"] = Lora.parse(self.lora.model_dump() | lora)
        return self.model_copy(update=changes)

    def identity(self) -> dict[str, Any]:
        """All fields that enter the trial id, as JSON values."""
        return self.model_dump(mode="json", exclude=set(NOT_IN_IDENTITY))

    @property
    def trial_id(self) -> str:
        """Readable slug and 12 hex digits (48 bits) of the SHA-256 of :meth:`identity`."""
        canonical = json.dumps(
            {"format": RESULT_FORMAT, **self.identity()}, sort_keys=True, ensure_ascii=False
        )
        digest = hashlib.sha256(canonical.encode()).hexdigest()[:12]
        slug = re.sub(r"[^A-Za-z0-9.]+", "-", f"{self.base_model}-{self.pattern.name}")
        dev = f"-{self.dev}" if self.dev else ""
        drawn = f"-d{self.draw_index}" if self.draw_index else ""
        return f"{slug}{dev}{drawn}-s{self.seed}-{digest}"
