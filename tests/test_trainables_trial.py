"""One trial: the same bytes whenever it runs, and adapters that plain peft loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers
from sklearn.metrics import f1_score, roc_auc_score

from data.errors import InputError
from data.schema import Dataset
from trainables.loop import DivergedError
from trainables.trial import run_trial

ARCHITECTURES = ("llama", "gpt_neox", "bert")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_first_and_last_in_a_warm_process_are_equal(
    architecture: str, make_spec: Any, tiny_dataset: Dataset
) -> None:
    spec = make_spec(architecture)
    first = run_trial(spec, tiny_dataset, keep_models="all")
    run_trial(make_spec(architecture, seed=1), tiny_dataset)
    with pytest.raises(DivergedError, match="lower the learning rate"):
        run_trial(make_spec(architecture, learning_rate=1e30), tiny_dataset)
    last = run_trial(spec, tiny_dataset, keep_models="all")
    assert first.predictions.equals(last.predictions)
    assert first.history.equals(last.history)
    assert first.model == last.model
    assert first.signature == last.signature


def test_the_seed_changes_the_result(make_spec: Any, tiny_dataset: Dataset) -> None:
    first, other = (run_trial(make_spec("bert", seed=s), tiny_dataset) for s in (0, 1))
    assert not first.predictions.equals(other.predictions)
    assert first.train_rows.equals(other.train_rows)


def test_metrics_are_those_of_scikit_learn(make_spec: Any, tiny_dataset: Dataset) -> None:
    result = run_trial(make_spec("bert"), tiny_dataset)
    y_true = result.predictions["y_true"].to_numpy()
    y_score = result.predictions["y_score"].to_numpy()
    assert result.metrics["auroc"] == roc_auc_score(y_true, y_score)
    assert result.metrics["f1"] == f1_score(y_true, y_score >= 0.5)


@pytest.mark.parametrize("architecture", ["llama", "gpt_neox"])
def test_kept_adapters_load_in_plain_peft(
    architecture: str, make_spec: Any, tiny_base: Any, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    result = run_trial(make_spec(architecture), tiny_dataset, keep_models="adapters")
    for name, content in result.model.items():
        (tmp_path / name).write_bytes(content)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_base(architecture))
    base = transformers.AutoModelForSequenceClassification.from_pretrained(
        tiny_base(architecture), num_labels=2
    )
    model = peft.PeftModel.from_pretrained(base, tmp_path).eval()
    texts = tiny_dataset.rows(result.predictions["id"].to_pylist())["text"].to_pylist()
    model.config.pad_token_id = base.config.pad_token_id = 0
    scores = []
    with torch.inference_mode():
        for text in texts:  # one by one: no padding at all
            logits = model(**tokenizer(text, return_tensors="pt")).logits
            scores.append(logits.double().softmax(-1)[0, 1].item())
    np.testing.assert_allclose(result.predictions["y_score"].to_numpy(), scores, atol=1e-5)


def test_other_data_is_refused(make_spec: Any, tiny_dataset: Dataset) -> None:
    with pytest.raises(InputError, match="not the one that the trial was planned for"):
        run_trial(make_spec("bert", data_fingerprint="0" * 64), tiny_dataset)
