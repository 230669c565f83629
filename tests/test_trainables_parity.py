"""Our loop against the HF Trainer: same weights, same batches, same losses."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers

from data.schema import Dataset
from data.seeds import derive_seed
from trainables.batching import epoch_batches
from trainables.loop import fit_classifier

NUM_ROWS = 32  # a multiple of the batch size, so that all epochs can be one long one


class RecordingTrainer(transformers.Trainer):
    """The HF Trainer on batches in a given order, keeping every loss unrounded."""

    losses: list[float]

    def get_train_dataloader(self) -> Any:
        return torch.utils.data.DataLoader(
            self.train_dataset,
            batch_size=self.args.per_device_train_batch_size,
            collate_fn=self.data_collator,
        )

    def compute_loss(self, model: Any, inputs: Any, **kwargs: Any) -> Any:
        loss = super().compute_loss(model, inputs, **kwargs)
        self.losses.append(float(loss))
        return loss


def build(folder: Path, method: str) -> Any:
    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    torch.manual_seed(0)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=2, **(off if method == "full" else {})
    )
    model.config.pad_token_id = 0
    if method == "full":
        return model
    config = peft.LoraConfig(task_type="SEQ_CLS", target_modules="all-linear", lora_dropout=0.0)
    return peft.get_peft_model(model, config)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("name", "method"), [("bert", "full"), ("llama", "lora"), ("gpt_neox", "lora")]
)
def test_losses_are_those_of_the_hf_trainer(
    name: str, method: str, tiny_base: Any, tiny_dataset: Dataset, make_spec: Any, tmp_path: Path
) -> None:
    training = {"num_train_epochs": 2, "batch_size": 8, "warmup_ratio": 0.25, "max_grad_norm": 0.5}
    spec = make_spec(name, learning_rate=2e-3, training=training | {"weight_decay": 0.1})
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_base(name))
    tokenizer.pad_token_id = 0
    rows = tiny_dataset.table.slice(0, NUM_ROWS)
    token_ids = tokenizer(rows["text"].to_pylist())["input_ids"]
    labels = rows["label"].to_pylist()
    ours, theirs = build(tiny_base(name), method), build(tiny_base(name), method)
    theirs.load_state_dict(copy.deepcopy(ours.state_dict()))

    history = fit_classifier(ours, token_ids, labels, spec, lambda step, num_steps, loss: None)

    lengths = [len(ids) for ids in token_ids]
    order = [
        row
        for epoch in range(2)
        for batch in epoch_batches(
            lengths, 8, np.random.default_rng(derive_seed(spec.seed, "order", epoch))
        )
        for row in batch
    ]
    trainer = RecordingTrainer(
        model=theirs,
        args=transformers.TrainingArguments(
            output_dir=str(tmp_path), num_train_epochs=1, per_device_train_batch_size=8,
            learning_rate=2e-3, warmup_steps=2, max_grad_norm=0.5, weight_decay=0.1,
            lr_scheduler_type="linear", report_to=[], save_strategy="no", use_cpu=True,
            disable_tqdm=True, dataloader_pin_memory=False,
        ),
        train_dataset=[{"input_ids": token_ids[r], "labels": labels[r]} for r in order],
        data_collator=transformers.DataCollatorWithPadding(tokenizer),
    )  # fmt: skip
    trainer.losses = []
    trainer.train()
    assert len(trainer.losses) == 8
    np.testing.assert_allclose(history["loss"].to_numpy(), trainer.losses, atol=1e-5, rtol=0)
    assert abs(trainer.losses[0] - trainer.losses[-1]) > 1e-3  # it did train
