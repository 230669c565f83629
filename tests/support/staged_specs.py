"""Specs of trials in two stages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tiny_checkpoints import make_classifier, make_config

from xlt.trainables.spec.trial_spec import TrialSpec

MakeSpec = Callable[..., TrialSpec]
VOCABULARY = 1003
"""Rows of the embedding matrix, of which the texts use less than half."""
STAGES: dict[str, Any] = {
    "num_train_epochs": 2, "batch_size": 8, "weight_decay": 0.1,
    "target_stage": {"num_train_epochs": 3, "learning_rate": 2e-3},
}  # fmt: skip
NUM_FIRST = {"sequential": 6, "multistage": 8}
"""Steps of 24 source rows, or of 24 and 8 target rows, in two epochs of batches of 8."""
NUM_SECOND = 3
KINDS: dict[str, dict[str, Any]] = {
    "full": {"method": "full"},
    "lora": {"method": "lora"},
    "dora": {"method": "lora", "lora": {"use_dora": True}},
    "bitfit": {"method": "bitfit"},
    "averaged": {"method": "full", "training": {"average": {"last_k": 2}}},
    "stopped": {"method": "full", "training": {"early_stopping": {"dev_rows": 16, "patience": 3}}},
}
NO_DROPOUT = {"lora_dropout": 0.0}


def in_stages(make_spec: MakeSpec, regime: str, architecture: str = "bert", **changes: Any) -> Any:
    """Spec of a trial in two stages."""
    training = STAGES | {"regime": regime} | changes.get("training", {})
    return make_spec(architecture, **(changes | {"training": training}))


def make_large_specs(make_spec: MakeSpec, folder: Path) -> MakeSpec:
    """Give the same specs, with a BERT that has more embeddings than the texts use."""
    torch.manual_seed(0)
    classifier = make_classifier(make_config("bert", vocab_size=VOCABULARY, pad_token_id=0))
    classifier.base_model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((Path(make_spec("bert").base_path) / name).read_bytes())

    def make(architecture: str, **changes: Any) -> TrialSpec:
        assert architecture == "bert"
        return make_spec(
            "bert", base_path=str(folder), base_identity="test:large-vocabulary", **changes
        )

    return make
