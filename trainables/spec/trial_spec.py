"""TrialSpec: the frozen settings that can change a trial's result, and the trial id."""

from __future__ import annotations

import hashlib
import json
import math
import re
from typing import Annotated, Any, Literal, Self

import pydantic

from xlt.data.core.settings import Settings, added_later
from xlt.data.dataset.dev import Dev, TargetFold
from xlt.data.dataset.patterns import Pattern, Sampling
from xlt.data.dataset.source_langs import SourceLang
from xlt.trainables.spec.cell_key import CellKey
from xlt.trainables.spec.methods import BASELINES, WITHOUT_BASE_MODEL, Embed, Method, Ngram
from xlt.trainables.spec.prompt import Prompt

RESULT_FORMAT = 2
"""Version of the trial folders. A new version changes all trial ids; older folders are refused."""

ACCELERATOR, ACCELERATOR_SHARE = "accelerator_type:", 0.001
"""Prefix of the Ray resource that names a node's type of GPU, and the amount that each process
reserves of it: so little that it is never exhausted (ray.util.accelerators)."""

NO_BASE_MODEL = "none"
"""Identity of the base model of a method without one."""

NOT_IN_IDENTITY = frozenset({"base_path", "resources"})
"""Fields of TrialSpec that cannot change a result: place of the base model, and hardware."""


class Optimizer(Settings):
    """Settings of AdamW and its schedule, for fine-tuning and for pre-training of miniatures."""

    lr_schedule: Literal["linear", "constant"] = "linear"
    """Schedule after the warm-up: linear decay to zero (paper, section 3.3), or constant."""
    warmup_ratio: float = pydantic.Field(default=0.0, ge=0, lt=1, strict=True)
    """Share of the steps during which the learning rate rises linearly from zero."""
    weight_decay: float = pydantic.Field(default=0.01, ge=0, strict=True)
    """Decoupled weight decay of matrices and of DoRA's magnitudes, not of biases and norms."""
    max_grad_norm: float = pydantic.Field(default=1.0, gt=0, strict=True)
    """Global L2 norm to which gradients are clipped."""


ClassWeights = Literal["balanced"] | dict[str, Annotated[float, pydantic.Field(gt=0)]] | None
"""Weights of classes in the loss, see :attr:`Training.class_weights`."""


class Training(Optimizer):
    """Settings of fine-tuning; the defaults are those of the paper where it reports them."""

    num_train_epochs: int = pydantic.Field(default=10, gt=0)
    """Passes over the training rows. The model after the last pass counts: no early stopping."""
    batch_size: int = pydantic.Field(default=16, gt=0)
    """Rows of an optimiser step."""
    max_length: int = pydantic.Field(default=128, gt=1)
    """Number of tokens to which a text is cut, including special tokens."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Number format of the computation; auto: bf16 on a GPU, fp32 on a CPU."""
    class_weights: ClassWeights = added_later(None)
    """Weights of classes in the loss, as in ``torch.nn.CrossEntropyLoss(weight=...)``: weights by
    the name of the class; balanced: inverse to the numbers of training rows. None: none."""


class Lora(Settings):
    """Settings of low-rank adapters (Hu et al. 2021, arXiv 2106.09685), as in peft's LoraConfig."""

    r: int = pydantic.Field(default=8, gt=0)
    """Rank of the update."""
    lora_alpha: int = pydantic.Field(default=16, gt=0)
    """Scaling of the update: it is multiplied by lora_alpha / r."""
    lora_dropout: float = pydantic.Field(default=0.05, ge=0, lt=1, strict=True)
    """Dropout of the adapters' input."""
    target_modules: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    """Names of the modules with adapters; all-linear: all attention and MLP projections."""
    use_rslora: bool = added_later(False)
    """Whether to scale by lora_alpha / sqrt(r) instead (Kalajdzievski 2023, arXiv 2312.03732)."""
    use_dora: bool = added_later(False)
    """Whether to learn magnitudes and directions separately (DoRA, Liu et al. 2024, arXiv
    2402.09353)."""
    quantize_base: Literal["nf4"] | None = added_later(None)
    """Quantisation of the frozen base model to 4 bits (QLoRA, Dettmers et al. 2023, arXiv
    2305.14314); None: no quantisation."""


METHOD_SETTINGS: dict[str, type[Lora | Embed | Ngram | Prompt]] = {
    "lora": Lora,
    "embed": Embed,
    "ngram": Ngram,
    "prompt": Prompt,
}
"""Method -> type of its own settings, in the field of its name."""


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


class TrialSpec(Settings):
    """One trial: base model x pattern x seed, with all settings resolved."""

    base_model: str
    """Name in tables."""
    base_identity: str
    """Identity of its weights: hub id@revision, SHA-256 of a local folder, the recipe of a
    miniature, or :data:`NO_BASE_MODEL`; never a path."""
    base_path: str
    """Place to load it from: hub id, absolute folder, or ``miniature:<name>``."""
    revision: str | None = None
    """Pinned hub revision."""
    method: Method
    """Full fine-tuning, low-rank adapters on a frozen base, or a baseline."""
    source_lang: SourceLang
    """Language of the source rows, or several among which they are divided evenly."""
    pattern: Pattern
    """Numbers of training rows as used: source_rows is 0 for a monolingual base model and for
    prompts, whose training rows are those in the context."""
    sampling: Sampling
    """Rules for drawing rows."""
    training: Training
    """Optimiser and schedule."""
    learning_rate: float | None = pydantic.Field(gt=0, strict=True)
    """Peak learning rate of AdamW; None for a baseline."""
    lora: Lora | None = None
    """Adapter settings; only with ``method: lora``."""
    embed: Embed | None = added_later(None)
    """Settings of embeddings; only with ``method: embed``."""
    ngram: Ngram | None = added_later(None)
    """Settings of n-grams; only with ``method: ngram``."""
    prompt: Prompt | None = added_later(None)
    """Settings of prompts in the target language; only with ``method: prompt``."""
    pad_token: str | None = added_later(None)
    """Token that pads batches; None: the tokenizer's own or a derived one."""
    draw_index: int = 0
    """Number of the draw of training rows; all draws have the same test rows."""
    seed: int
    """Seed of head initialisation, data order and dropout."""
    dev: Dev | None = None
    """Dev rows of a search: the trial is scored on them and has no test rows. None: no search."""
    data_fingerprint: str
    """SHA-256 of the data set's rows."""
    translations: str | None = added_later(None)
    """SHA-256 of the translations that the pattern reads, with their origins; None: none."""
    resources: Resources = Resources()
    """Hardware; not part of the identity."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _one_spelling(cls, values: Any) -> Any:
        """Fill in the default settings of the method, so that equal trials have equal ids."""
        if isinstance(values, dict) and (name := values.get("method")) in METHOD_SETTINGS:
            return values | {name: values.get(name) or METHOD_SETTINGS[name]()}
        return values

    @pydantic.model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        for name in METHOD_SETTINGS:
            if name != self.method and getattr(self, name):
                raise ValueError(
                    f"{name} settings are given but the method is {self.method}; remove them"
                )
        if self.is_baseline != (self.learning_rate is None):
            needs = "has no" if self.is_baseline else "needs a"
            raise ValueError(f"method {self.method} {needs} learning_rate")
        if self.prompt and self.pattern.source_rows:
            raise ValueError("method prompt has no place for source rows; set source_rows to 0")
        if not self.prompt:
            self.pattern.refuse_no_rows()
        return self

    @property
    def is_baseline(self) -> bool:
        """Whether nothing is trained by steps."""
        return self.method in BASELINES

    @property
    def has_base_model(self) -> bool:
        """Whether the trial loads a checkpoint."""
        return self.method not in WITHOUT_BASE_MODEL

    @property
    def quantize_base(self) -> str | None:
        """Quantisation of the frozen base model; None: no quantisation."""
        settings = self.lora or self.prompt
        return settings.quantize_base if settings else None

    @property
    def cell(self) -> CellKey:
        """The cell that the trial belongs to."""
        return CellKey(self.base_model, self.pattern.name)

    @property
    def test_langs(self) -> tuple[str, ...]:
        """Languages in which the trial is tested.

        Prompts, and test rows that are read in translation, are tested in the target language.
        """
        if self.prompt or self.pattern.translate == "test":
            return (self.pattern.target_lang,)
        return self.sampling.list_test_langs(self.pattern)

    @property
    def max_test_rows(self) -> int:
        """Largest number of test rows in all languages, or of dev rows."""
        if self.dev:
            return self.dev.num_rows(self.pattern.target_rows)
        return len(self.test_langs) * self.sampling.test_rows

    @property
    def num_steps(self) -> int:
        """Number of optimiser steps of the whole trial; 0 for a baseline."""
        if self.is_baseline:
            return 0
        num_rows = self.pattern.num_train_rows
        if isinstance(self.dev, TargetFold):
            num_rows -= self.dev.num_rows(self.pattern.target_rows)
        return math.ceil(num_rows / self.training.batch_size) * self.training.num_train_epochs

    def tuned(self, learning_rate: float, training: dict[str, Any], lora: dict[str, Any]) -> Self:
        """Copy the trial with another learning rate and other settings of training and lora."""
        changes: dict[str, Any] = {"learning_rate": learning_rate}
        changes["training"] = Training.parse(self.training.model_dump() | training)
        if self.lora:
            changes["lora"] = Lora.parse(self.lora.model_dump() | lora)
        return self.model_copy(update=changes)

    def identity(self) -> dict[str, Any]:
        """Fields that enter the trial id, as JSON values."""
        return self.model_dump(mode="json", exclude=set(NOT_IN_IDENTITY))

    @property
    def trial_id(self) -> str:
        """Readable text and 12 hex digits (48 bits) of the SHA-256 of :meth:`identity`."""
        canonical = json.dumps(
            {"format": RESULT_FORMAT, **self.identity()}, sort_keys=True, ensure_ascii=False
        )
        digest = hashlib.sha256(canonical.encode()).hexdigest()[:12]
        slug = re.sub(r"[^A-Za-z0-9.]+", "-", f"{self.base_model}-{self.pattern.name}")
        dev = f"-{self.dev}" if self.dev else ""
        drawn = f"-d{self.draw_index}" if self.draw_index else ""
        return f"{slug}{dev}{drawn}-s{self.seed}-{digest}"
