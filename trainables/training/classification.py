"""A sequence classifier that learns labelled texts: what its batches, losses and scores are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from xlt.data.core.seeds import derive_seed
from xlt.trainables.loading.batching import draw_batches
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.checkpoints import Checkpoints
from xlt.trainables.training.loop import (
    Report,
    Steps,
    autocast,
    collate_rows,
    fit,
    softmax,
    training_steps,
)
from xlt.trainables.training.micro_batches import MicroBatches
from xlt.trainables.training.workers import Workers


@dataclass(frozen=True)
class FitResult:
    """What training left besides the weights.

    Attributes:
        history: As :func:`training_steps` returns it.
        train_score: Probabilities that the training rows had when they were last trained on, as
            :func:`predict`: they cost nothing and tell whether it trained.
        micro_batch_size: Rows a forward pass in the end; None: whole batches.
        num_halved: How often passes were halved because memory ran out.
        padding_share: Padding among the places that its passes computed, 0 to 1.
        num_packed: Trials that were trained side by side in shared passes; 1: this one alone.
    """

    history: pa.Table
    train_score: NDArray[np.float64]
    micro_batch_size: int | None
    num_halved: int
    padding_share: float
    num_packed: int = 1


class Classification:
    """The training of a sequence classifier with cross-entropy on labelled texts.

    Args:
        model: A sequence classifier of transformers.
        token_ids: Token ids of each training row.
        labels: Class of each training row.
        spec: Epochs, batch size, optimiser and seed.

    Attributes:
        workers: Those that train it together.
        device: Where it is trained.
        last_logits: num_rows x num_labels, of each row when it was last trained on.
    """

    def __init__(
        self, model: Any, token_ids: Sequence[list[int]], labels: Sequence[int], spec: TrialSpec
    ) -> None:
        self.model, self.token_ids, self.spec = model, token_ids, spec
        self.workers = Workers.current()
        self._forward = self.workers.distribute(model, spec.resources.sharding)
        self.device = model.device  # sharding has moved it
        self._y_true = torch.tensor(labels, device=self.device)
        self.last_logits = torch.zeros(len(labels), model.config.num_labels, device=self.device)
        self._places = torch.zeros(2, dtype=torch.int64, device=self.device)  # all, with a token

    def start(self, report: Report, checkpoints: Checkpoints | None = None) -> Steps:
        """The training, to be driven.

        Args:
            report: Told the progress.
            checkpoints: Where the state is kept while it trains; None: nowhere.
        """
        training = self.spec.training
        num_epoch_steps = math.ceil(len(self.token_ids) / training.batch_size)
        return training_steps(
            self.model,
            self.draw_all_batches(),
            num_steps=num_epoch_steps * training.num_train_epochs,
            num_epoch_steps=num_epoch_steps,
            learning_rate=self.spec.learning_rate,
            settings=training,
            report=report,
            workers=self.workers,
            checkpoints=checkpoints,
            parts={"last_logits": self.last_logits, "places": self._places},
        )

    def draw_all_batches(self) -> Iterator[list[int]]:
        """Rows of each step."""
        lengths = [len(ids) for ids in self.token_ids]
        for epoch in range(self.spec.training.num_train_epochs):
            order = np.random.default_rng(derive_seed(self.spec.seed, "order", epoch))
            yield from draw_batches(lengths, self.spec.training.batch_size, order)

    def make_micro_batches(self) -> MicroBatches:
        """What adds the gradients of a batch, row by row where memory is short."""
        size = self.spec.resources.micro_batch_size
        return MicroBatches(self._forward, self._loss_of, size, self.workers)

    def _loss_of(self, rows: list[int]) -> torch.Tensor:
        inputs = collate_rows(self.model, self.token_ids, rows)
        with autocast(self.spec, self.device):
            logits = self._forward(**inputs).logits.float()
        return self.compute_loss(rows, logits, inputs["input_ids"].numel())

    def compute_loss(self, rows: list[int], logits: torch.Tensor, num_places: int) -> torch.Tensor:
        """The mean loss of rows.

        Args:
            rows: Those of a pass.
            logits: Theirs, len(rows) x num_labels; they are kept.
            num_places: For which the backbone computed them: their tokens, and padding if any.
        """
        self._places[0] += num_places
        self._places[1] += sum(len(self.token_ids[row]) for row in rows)
        self.last_logits[rows] = logits.detach()
        return torch.nn.functional.cross_entropy(logits, self._y_true[rows])

    def make_result(self, history: pa.Table, micro_batches: MicroBatches) -> FitResult:
        """What the training left, once it has returned its history."""
        score = softmax(self.workers.sum(self.last_logits))
        num_places, num_tokens = self.workers.sum(self._places).tolist()
        padding = 1 - num_tokens / num_places
        return FitResult(history, score, micro_batches.size, micro_batches.num_halved, padding)


def fit_classifier(
    model: Any,
    token_ids: Sequence[list[int]],
    labels: Sequence[int],
    spec: TrialSpec,
    report: Report,
    checkpoints: Checkpoints | None = None,
) -> FitResult:
    """Train a :class:`Classification` alone.

    Args:
        model: A sequence classifier of transformers.
        token_ids: Token ids of each training row.
        labels: Class of each training row.
        spec: Epochs, batch size, optimiser and seed.
        report: Told the progress.
        checkpoints: Where the state is kept while it trains; None: nowhere.
    """
    task = Classification(model, token_ids, labels, spec)
    micro_batches, workers = task.make_micro_batches(), task.workers

    def gradients(batch: list[int]) -> torch.Tensor:
        task.last_logits[batch] = 0  # another worker may have had these rows before
        loss = micro_batches(batch)
        if workers.rank >= len(batch):  # had none of them, and only kept the others company
            task.last_logits[batch] = 0
        return loss

    return task.make_result(fit(task.start(report, checkpoints), gradients), micro_batches)
