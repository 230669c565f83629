"""Ends of epochs: they decide which weights are those of the trial."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from xlt.trainables.spec.training import Training


class EpochEnds:
    """Nothing happens: the weights after the last epoch count.

    Args:
        num_epochs: Number of epochs.

    Attributes:
        num_epochs: Number of epochs.
        kept_epochs: Epochs, counted from 1, whose weights count; the model is their mean.
        copies: A tensor like each trained weight, for a checkpoint; or none.
    """

    def __init__(self, num_epochs: int) -> None:
        self.num_epochs = num_epochs
        self.kept_epochs: Sequence[int] = (num_epochs,)
        self.copies: list[torch.Tensor] = []

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
        self.kept_epochs = range(num_epochs - last_k + 1, num_epochs + 1)
        self._parameters = parameters
        self.copies = [torch.zeros_like(parameter) for parameter in parameters]  # sums

    @torch.no_grad()
    def after_epoch(self, epoch: int) -> None:
        """Add the weights of an epoch that counts; after the last epoch, take the mean."""
        if epoch not in self.kept_epochs:
            return
        for parameter, total in zip(self._parameters, self.copies, strict=True):
            total += parameter
            if epoch == self.num_epochs:
                parameter.copy_(total / len(self.kept_epochs))


def make_epoch_ends(model: torch.nn.Module, training: Training) -> EpochEnds:
    """Make what the settings of a training ask for at the ends of its epochs."""
    if training.average is None:
        return EpochEnds(training.num_train_epochs)
    trained = [p for p in model.parameters() if p.requires_grad]
    return MeanOfLast(trained, training.num_train_epochs, training.average.last_k)
