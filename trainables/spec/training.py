"""Settings of training by steps: optimiser, schedule, epochs and the loss."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import pydantic

from xlt.data.core.settings import MAX_INT, Settings, added_later


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


class Average(Settings):
    """Mean of the weights of several epochs, in the place of the weights of the last one."""

    last_k: int = pydantic.Field(gt=1)
    """Number of epochs: the weights after each of the last ``last_k`` epochs are averaged."""


class Training(Optimizer):
    """Settings of fine-tuning; the defaults are those of the paper where it reports them."""

    num_train_epochs: int = pydantic.Field(default=10, gt=0)
    """Passes over the training rows. The model after the last pass counts, unless ``average`` says
    otherwise."""
    batch_size: int = pydantic.Field(default=16, gt=0)
    """Rows of an optimiser step."""
    max_length: int = pydantic.Field(default=128, gt=1)
    """Number of tokens to which a text is cut, including special tokens."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Number format of the computation; auto: bf16 on a GPU, fp32 on a CPU."""
    class_weights: ClassWeights = added_later(None)
    """Weights of classes in the loss, as in ``torch.nn.CrossEntropyLoss(weight=...)``: weights by
    the name of the class; balanced: inverse to the numbers of training rows. None: none."""
    average: Average | None = added_later(None)
    """Epochs whose mean weights are tested and kept. None: the weights of the last epoch."""

    @pydantic.model_validator(mode="after")
    def _has_epochs(self) -> Self:
        if self.average and self.average.last_k > self.num_train_epochs:
            raise ValueError(
                f"average.last_k {self.average.last_k} is more than num_train_epochs "
                f"{self.num_train_epochs}; lower it, or train longer"
            )
        return self

    @classmethod
    def check_changes(cls, changes: dict[str, Any], where: str = "") -> None:
        """Validate settings that replace some of others, whose number of epochs is not known.

        Raises:
            InputError: All problems together.
        """
        cls.parse({"num_train_epochs": MAX_INT} | changes, where)
