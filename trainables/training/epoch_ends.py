"""Ends of epochs: they decide which weights are those of the trial, and when training stops."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from xlt.trainables.spec.early_stopping import LOSS
from xlt.trainables.spec.training import Training

DEV_METRIC = "dev_metric"
"""Column of the history with the metric of the dev rows, in the last step of each epoch."""


class EpochEnds:
    """Nothing happens: all epochs are trained, and the weights after the last one count.

    Args:
        num_epochs: Number of epochs.

    Attributes:
        num_epochs: Number of epochs, at most.
        copies: A tensor like each trained weight, for checkpoints; or none.
        values: Name -> num_epochs values measured at the ends of epochs, nan where none is yet.
    """

    def __init__(self, num_epochs: int) -> None:
        self.num_epochs = num_epochs
        self.copies: list[torch.Tensor] = []
        self.values: dict[str, torch.Tensor] = {}

    @property
    def kept_epochs(self) -> Sequence[int]:
        """Epochs, counted from 1, whose weights count; the model is their mean."""
        return (self.num_epochs,)

    @property
    def is_over(self) -> bool:
        """Whether no further epoch is trained although there is one."""
        return False

    def after_epoch(self, epoch: int) -> None:
        """Do what is due after an epoch, counted from 1; every worker must call this."""


class MeanOfLast(EpochEnds):
    """The weights that count are the arithmetic mean of those after each of the last epochs.

    Averages of checkpoints of one training transfer better to other languages than the last one
    (Schmidt, Vulic and Glavas 2023, arXiv 2305.16834). Averages of weights along a training are due
    to Izmailov et al. 2018 (arXiv 1803.05407). Each weight is averaged, also each matrix of an
    adapter.

    Args:
        parameters: Trained weights; after the last epoch they are the mean.
        num_epochs: Number of epochs.
        last_k: Number of epochs to average, at most ``num_epochs``.
    """

    def __init__(
        self, parameters: Sequence[torch.nn.Parameter], num_epochs: int, last_k: int
    ) -> None:
        super().__init__(num_epochs)
        self._parameters, self._last_k = parameters, last_k
        self.copies = [torch.zeros_like(parameter) for parameter in parameters]  # sums

    @property
    def kept_epochs(self) -> Sequence[int]:
        """The last epochs."""
        return range(self.num_epochs - self._last_k + 1, self.num_epochs + 1)

    @torch.no_grad()
    def after_epoch(self, epoch: int) -> None:
        """Add the weights of an epoch that counts; after the last epoch, take the mean."""
        if epoch not in self.kept_epochs:
            return
        for parameter, total in zip(self._parameters, self.copies, strict=True):
            total += parameter
            if epoch == self.num_epochs:
                parameter.copy_(total / self._last_k)


class BestOnDev(EpochEnds):
    """The weights that count are those after the best epoch on dev rows, the first of equal ones.

    Training stops when ``patience`` epochs in turn were not better than the best one before them,
    as with EarlyStoppingCallback of transformers.

    Args:
        parameters: Trained weights; in the end they are those of the best epoch.
        num_epochs: Number of epochs, at most.
        patience: Number of epochs without a gain after which training stops.
        is_loss: Whether less is better.
        measure: Function that scores the model on the dev rows; it changes no weight.
    """

    def __init__(
        self,
        parameters: Sequence[torch.nn.Parameter],
        num_epochs: int,
        patience: int,
        is_loss: bool,
        measure: Callable[[], float],
    ) -> None:
        super().__init__(num_epochs)
        self._parameters, self._patience, self._measure = parameters, patience, measure
        self._sign = -1 if is_loss else 1
        self._measured = torch.full((num_epochs,), math.nan, dtype=torch.float64)
        self.values = {DEV_METRIC: self._measured}
        self.copies = [parameter.detach().clone() for parameter in parameters]

    @property
    def kept_epochs(self) -> Sequence[int]:
        """The best epoch until now; none before the first one."""
        gains = (self._sign * self._measured[~self._measured.isnan()]).tolist()
        return [gains.index(max(gains)) + 1] if gains else []

    @property
    def is_over(self) -> bool:
        """Whether training stops."""
        num_measured = int((~self._measured.isnan()).sum())
        return any(num_measured >= best + self._patience for best in self.kept_epochs)

    @torch.no_grad()
    def after_epoch(self, epoch: int) -> None:
        """Score an epoch and keep the weights of the best one; in the end, restore them."""
        self._measured[epoch - 1] = self._measure()
        is_best, is_end = self.kept_epochs == [epoch], self.is_over or epoch == self.num_epochs
        for parameter, copy in zip(self._parameters, self.copies, strict=True):
            if is_best:
                copy.copy_(parameter)
            elif is_end:
                parameter.copy_(copy)


def list_planned_epochs(training: Training) -> Sequence[int]:
    """List the epochs, counted from 1, whose weights count if training does not end early."""
    num_epochs = training.num_train_epochs
    num_averaged = training.average.last_k if training.average else 1
    return range(num_epochs - num_averaged + 1, num_epochs + 1)


def make_epoch_ends(
    model: torch.nn.Module, training: Training, measure: Callable[[], float] | None
) -> EpochEnds:
    """Make what the settings of a training ask for at the ends of its epochs.

    Args:
        model: Model whose trained weights count.
        training: The settings.
        measure: Function that scores the model on dev rows; None without dev rows.
    """
    num_epochs, early = training.num_train_epochs, training.early_stopping
    trained = [p for p in model.parameters() if p.requires_grad]
    if training.average:
        return MeanOfLast(trained, num_epochs, training.average.last_k)
    if early and measure:
        return BestOnDev(trained, num_epochs, early.patience, early.metric == LOSS, measure)
    return EpochEnds(num_epochs)
