"""Train a sequence classifier on labelled texts: its batches, losses and scores."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from xlt.data.core.seeds import derive_seed
from xlt.trainables.loading.batching import draw_batches
from xlt.trainables.methods.adalora import find_rank_allocation
from xlt.trainables.metrics.early_stopping import compute_dev_metric
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.checkpoints import Checkpoints
from xlt.trainables.training.epoch_ends import make_epoch_ends
from xlt.trainables.training.first_stage import FirstStage
from xlt.trainables.training.loop import (
    Report,
    Steps,
    autocast,
    collate_rows,
    fit,
    predict,
    softmax,
    training_steps,
)
from xlt.trainables.training.micro_batches import MicroBatches
from xlt.trainables.training.workers import Workers


@dataclass(frozen=True)
class FitResult:
    """Results of training, in addition to the weights.

    Attributes:
        history: Table of the steps, as returned by :func:`training_steps`.
        train_score: Probabilities of the training rows when they were last trained on, in the form
            of :func:`predict`. They cost nothing and show whether the model learnt.
        micro_batch_size: Rows per forward pass at the end of training; None means whole batches.
        num_halved: Number of times that passes were halved because memory ran out.
        num_places: Number of computed places, and how many of them were tokens and not padding.
        kept_steps: Steps after which the weights were those of the model, or were averaged to it.
        stopped: With early stopping, ``best_epoch``, whose weights count, and ``num_epochs``, the
            number of trained epochs; else empty.
        first_stage: Results of the stage before; None if the trial has one stage.
        num_packed: Number of trials that trained together in shared passes; 1 means this trial
            alone.
    """

    history: pa.Table
    train_score: NDArray[np.float64]
    micro_batch_size: int | None
    num_halved: int
    num_places: tuple[int, int]
    kept_steps: Sequence[int]
    stopped: dict[str, int]
    first_stage: FirstStage | None = None
    num_packed: int = 1


@dataclass(frozen=True)
class DevRows:
    """Rows on which early stopping scores a model.

    Attributes:
        token_ids: Token ids of each row.
        labels: Class of each row.
    """

    token_ids: Sequence[Sequence[int]]
    labels: Sequence[int]


class Classification:
    """Training of a sequence classifier with cross-entropy on labelled texts.

    Args:
        model: Sequence classifier of transformers.
        token_ids: Token ids of each training row; the last ``spec.num_target_rows`` ones are those
            that ``target_share`` repeats.
        labels: Class of each training row.
        spec: Trial with epochs, batch size, optimiser and seed.
        row_weights: Weight of each training row in the loss; None: the plain mean over rows.
        dev: Rows on which early stopping scores the model; None without early stopping.

    Attributes:
        workers: Workers that train the trial together.
        device: Device of the training.
        last_logits: num_rows x num_labels logits of each row when it was last trained on.
    """

    def __init__(
        self,
        model: Any,
        token_ids: Sequence[list[int]],
        labels: Sequence[int],
        spec: TrialSpec,
        row_weights: Sequence[float] | None = None,
        dev: DevRows | None = None,
    ) -> None:
        self.model, self.token_ids, self.spec = model, token_ids, spec
        self.workers = Workers.current()
        self._forward = self.workers.distribute(model, spec.resources.sharding)
        self.device = model.device  # sharding moves the model
        self._epoch_ends = make_epoch_ends(
            model, spec.training, partial(self._measure_dev, dev) if dev else None
        )
        self._y_true = torch.tensor(labels, device=self.device)
        self._row_weights = row_weights
        self.last_logits = torch.zeros(len(labels), model.config.num_labels, device=self.device)
        self._places = torch.zeros(2, dtype=torch.int64, device=self.device)  # all; tokens

    def start(self, report: Report, checkpoints: Checkpoints | None = None) -> Steps:
        """Start the training; the caller drives the steps and computes the gradients.

        Args:
            report: Function that receives the progress.
            checkpoints: Where checkpoints are written and resumed from; None disables them.

        Returns:
            The steps, as :func:`training_steps`.
        """
        training, learning_rate = self.spec.training, self.spec.learning_rate
        assert learning_rate is not None  # baselines are not trained by steps
        num_epoch_steps = self._num_epoch_steps
        return training_steps(
            self.model,
            self.draw_all_batches(),
            num_steps=num_epoch_steps * training.num_train_epochs,
            num_epoch_steps=num_epoch_steps,
            learning_rate=learning_rate,
            settings=training,
            epoch_ends=self._epoch_ends,
            rank_allocation=find_rank_allocation(self.model),
            report=report,
            workers=self.workers,
            checkpoints=checkpoints,
            parts={"last_logits": self.last_logits, "places": self._places},
        )

    @property
    def _num_epoch_steps(self) -> int:
        num_target = self.spec.num_target_rows
        return self.spec.training.count_epoch_steps(len(self.token_ids) - num_target, num_target)

    def draw_all_batches(self) -> Iterator[list[int]]:
        """Draw the batches of all epochs; with ``target_share`` target rows are repeated in them.

        Passes over the target rows, each in an order of its own, follow one another through all
        epochs. So at any time each target row was used as often as the others, or once less.
        """
        lengths, training = [len(ids) for ids in self.token_ids], self.spec.training
        num_target = self.spec.num_target_rows
        num_source = len(lengths) - num_target
        num_once, num_repeated, repeated = len(lengths), 0, self._repeat_target_rows()
        if training.target_share is not None:
            num_once, num_repeated = num_source, training.count_target_rows(num_source, num_target)
        for epoch in range(training.num_train_epochs):
            order = np.random.default_rng(derive_seed(self.spec.seed, "order", epoch))
            added = list(itertools.islice(repeated, num_repeated))
            yield from draw_batches(lengths, training.batch_size, order, added, num_once)

    def _repeat_target_rows(self) -> Iterator[int]:
        num_target = self.spec.num_target_rows
        for number in itertools.count():
            rng = np.random.default_rng(derive_seed(self.spec.seed, "target order", number))
            yield from (len(self.token_ids) - 1 - rng.permutation(num_target)).tolist()

    def make_micro_batches(self) -> MicroBatches:
        """Make the object that adds gradients of a batch, in several passes if memory is short."""
        size = self.spec.resources.micro_batch_size
        return MicroBatches(self._forward, self._loss_of, size, self.workers, self._weight_of)

    def _weight_of(self, rows: Sequence[int]) -> float:
        """Sum of the rows' weights, by which the weighted loss of a batch is divided."""
        if self._row_weights is None:
            return len(rows)
        return sum(self._row_weights[row] for row in rows)

    def _loss_of(self, rows: list[int]) -> torch.Tensor:
        inputs = collate_rows(self.model, self.token_ids, rows)
        with autocast(self.spec, self.device):
            logits = self._forward(**inputs).logits.float()
        return self.compute_loss(rows, logits, inputs["input_ids"].numel())

    def compute_loss(self, rows: list[int], logits: torch.Tensor, num_places: int) -> torch.Tensor:
        """Compute the mean loss of the rows of a forward pass, and store their logits.

        Args:
            rows: Row numbers of the pass.
            logits: len(rows) x num_labels logits of these rows.
            num_places: Number of places that the backbone computed, tokens and padding.

        Returns:
            The mean cross-entropy in nats, a scalar with a graph. With weights of rows it is the
            weighted sum divided by the sum of the weights, as ``torch.nn.CrossEntropyLoss`` does
            with weights of classes.
        """
        self._places[0] += num_places
        self._places[1] += sum(len(self.token_ids[row]) for row in rows)
        place = {row: place for place, row in enumerate(rows)}  # the last one of a row
        self.last_logits[list(place)] = logits.detach()[list(place.values())]
        y_true = self._y_true[rows]
        if self._row_weights is None:
            return torch.nn.functional.cross_entropy(logits, y_true)
        losses = torch.nn.functional.cross_entropy(logits, y_true, reduction="none")
        weights = losses.new_tensor([self._row_weights[row] for row in rows])
        # Each row is a class of its own: torch divides by the sum of the weights, in its own order.
        own = torch.arange(len(rows), device=losses.device)
        each = -losses[:, None].expand(-1, len(rows))
        return torch.nn.functional.nll_loss(each, own, weight=weights)

    def _measure_dev(self, dev: DevRows) -> float:
        """Compute the metric of early stopping on dev rows, as a trial is scored at its end."""
        early = self.spec.training.early_stopping
        assert early is not None  # nothing else measures dev rows
        y_score = predict(self.model, dev.token_ids, self.spec, workers=self.workers)
        self.workers.reshard(self.model)
        self.model.train()
        return compute_dev_metric(early.metric, np.array(dev.labels), y_score)

    def make_result(self, history: pa.Table, micro_batches: MicroBatches) -> FitResult:
        """Make the result of a training that has returned its history."""
        score = softmax(self.workers.sum(self.last_logits))
        num_places, num_tokens = self.workers.sum(self._places).tolist()
        ends, num_epoch_steps = self._epoch_ends, self._num_epoch_steps
        stopped = {}
        for name, values in ends.values.items():
            at_ends = dict(enumerate(values.tolist(), start=1))
            column = [at_ends.get(epoch) for epoch in history["epoch"].to_pylist()]
            history = history.append_column(name, pa.array(column, pa.float64()))
            num_epochs = len(history) // num_epoch_steps
            stopped = {"best_epoch": ends.kept_epochs[0], "num_epochs": num_epochs}
        return FitResult(
            history=history,
            train_score=score,
            micro_batch_size=micro_batches.size,
            num_halved=micro_batches.num_halved,
            num_places=(num_places, num_tokens),
            kept_steps=[epoch * num_epoch_steps for epoch in ends.kept_epochs],
            stopped=stopped,
        )


def fit_classifier(
    model: Any,
    token_ids: Sequence[list[int]],
    labels: Sequence[int],
    spec: TrialSpec,
    report: Report,
    checkpoints: Checkpoints | None = None,
    row_weights: Sequence[float] | None = None,
    dev: DevRows | None = None,
) -> FitResult:
    """Train a :class:`Classification` alone.

    Args:
        model: Sequence classifier of transformers.
        token_ids: Token ids of each training row.
        labels: Class of each training row.
        spec: Trial with epochs, batch size, optimiser and seed.
        report: Function that receives the progress.
        checkpoints: Where checkpoints are written and resumed from; None disables them.
        row_weights: Weight of each training row in the loss; None: the plain mean over rows.
        dev: Rows on which early stopping scores the model; None without early stopping.
    """
    task = Classification(model, token_ids, labels, spec, row_weights, dev)
    micro_batches, workers = task.make_micro_batches(), task.workers

    def gradients(batch: list[int]) -> torch.Tensor:
        loss = micro_batches(batch)
        # Logits are summed over workers, so only one keeps those of a row: the last in the batch.
        place = {row: place for place, row in enumerate(batch)}
        others = [row for row in place if place[row] % workers.size != workers.rank]
        task.last_logits[others] = 0
        return loss

    return task.make_result(fit(task.start(report, checkpoints), gradients), micro_batches)
