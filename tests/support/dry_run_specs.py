"""Specs of trials whose memory and operations are measured."""

from __future__ import annotations

from typing import Any

from xlt.trainables.spec.trial_spec import TrialSpec

ROWS, LENGTH = 16, 64
HEADS = {"llama": ("score",), "gpt_neox": ("score",), "bert": ("classifier",)}


def make_spec(method: str, precision: str = "fp32", **resources: Any) -> TrialSpec:
    return TrialSpec.parse(
        {
            "base_model": "some",
            "base_identity": "test:some",
            "base_path": "some",
            "method": method,
            "source_lang": "en",
            "pattern": {"name": "ja8", "target_lang": "ja", "target_rows": 8, "source_rows": 24},
            "sampling": {"test_rows": 20},
            "training": {"num_train_epochs": 1, "batch_size": ROWS, "precision": precision},
            "learning_rate": 1e-3,
            "seed": 0,
            "data_fingerprint": "some",
            "resources": resources,
        }
    )


def make_prompt_spec() -> TrialSpec:
    words = {"negative": "no", "positive": "yes"}
    prompt = {"templates": {"ja": "{text}: "}, "label_words": {"ja": words}}
    values = make_spec("lora").model_dump(mode="json", exclude={"lora", "learning_rate", "method"})
    values["pattern"]["source_rows"] = 0
    values |= {"method": "prompt", "learning_rate": None, "prompt": prompt}
    return TrialSpec.parse(values)
