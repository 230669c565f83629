"""The HF Trainer as the reference for our training loop: same weights, batches and settings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import transformers
from torch import nn
from torch.utils.data import DataLoader

from xlt.data.core.seeds import derive_seed
from xlt.data.dataset.draws import draw
from xlt.data.dataset.schema import Dataset
from xlt.trainables.loading.base import load_base
from xlt.trainables.loading.batching import collate, draw_batches
from xlt.trainables.loading.head import init_head
from xlt.trainables.loading.tokenize import encode
from xlt.trainables.methods.registry import METHODS
from xlt.trainables.spec.training import Optimizer
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.classification import fit_classifier

CPU = torch.device("cpu")


def load(spec: TrialSpec) -> Any:
    return load_base(spec, CPU, torch.float32)


def build_without_dropout(spec: TrialSpec) -> Any:
    """The classifier as a trial starts it, without dropout: its draws are not comparable."""
    base = load(spec)
    init_head(base.model, base.head_modules, derive_seed(spec.seed, "head"))
    torch.manual_seed(derive_seed(spec.seed, "adapters"))
    model = METHODS[spec.method](base, spec)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def training_rows(spec: TrialSpec, dataset: Dataset) -> tuple[list[list[int]], list[int]]:
    drawn = draw(dataset, spec.source_lang, spec.pattern, spec.sampling, spec.draw_index)
    rows = dataset.rows(list(drawn.train))
    return encode(load(spec), rows, 128), rows["label"].to_pylist()


class ReferenceTrainer(transformers.Trainer):
    """The HF Trainer on given batches; remembers the loss of each."""

    batches: list[dict[str, torch.Tensor]]
    losses: list[float]
    class_weights: list[float] | None = None

    def get_train_dataloader(self) -> Any:
        return DataLoader(self.batches, batch_size=None, shuffle=False)

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        loss = super().compute_loss(*args, **kwargs)
        if self.class_weights is not None:  # as the Trainer's page says: override compute_loss
            model, inputs = args[:2]
            weight = torch.tensor(self.class_weights)
            logits = model(**{k: v for k, v in inputs.items() if k != "labels"}).logits
            loss = nn.CrossEntropyLoss(weight=weight)(logits, inputs["labels"])
        self.losses.append(float(loss.detach()))
        return loss


def train_both(
    spec: TrialSpec,
    token_ids: list[list[int]],
    labels: list[int],
    folder: Path,
    class_weights: list[float] | None = None,
) -> tuple[pa.Table, ReferenceTrainer]:
    """Train the same classifier with our loop and with the HF Trainer, on the same batches.

    Returns:
        The history of our steps, and the trainer with its losses.
    """
    model = build_without_dropout(spec)
    row_weights = [class_weights[label] for label in labels] if class_weights else None
    history = fit_classifier(
        model, token_ids, labels, spec, lambda *_: None, row_weights=row_weights
    ).history
    reference = build_without_dropout(spec)
    batches = list(batches_of(spec, token_ids, labels, reference.config.pad_token_id))
    trainer = trainer_on(reference, spec, batches, folder)
    trainer.class_weights = class_weights
    trainer.train()
    assert len(history) == len(trainer.losses) == len(batches)
    return history, trainer


def trainer_on(
    model: Any, spec: TrialSpec, batches: list[dict[str, torch.Tensor]], folder: Path
) -> ReferenceTrainer:
    training = spec.training
    trainer = ReferenceTrainer(
        model=model,
        train_dataset=[{}] * len(batches),
        args=transformers.TrainingArguments(
            output_dir=str(folder),
            max_steps=len(batches),
            learning_rate=spec.learning_rate,
            lr_scheduler_type=training.lr_schedule,
            warmup_steps=learning_rate_warmup(training, len(batches)),
            weight_decay=training.weight_decay,
            max_grad_norm=training.max_grad_norm,
            optim="adamw_torch",
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            remove_unused_columns=False,
        ),
    )
    trainer.batches, trainer.losses = batches, []
    return trainer


def learning_rate_warmup(training: Optimizer, num_steps: int) -> int:
    return int(np.ceil(training.warmup_ratio * num_steps))


def batches_of(
    spec: TrialSpec, token_ids: list[list[int]], labels: list[int], pad: int
) -> Iterator[dict[str, torch.Tensor]]:
    for epoch in range(spec.training.num_train_epochs):
        rng = np.random.default_rng(derive_seed(spec.seed, "order", epoch))
        for rows in draw_batches([len(ids) for ids in token_ids], spec.training.batch_size, rng):
            batch = collate([token_ids[row] for row in rows], pad, CPU)
            yield batch | {"labels": torch.tensor([labels[row] for row in rows])}
