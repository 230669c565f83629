"""Other tasks than one text and two classes: pairs of texts, more classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sklearn.metrics
import torch
from tiny_tasks import (
    PATTERN,
    pairs,
    three_classes,
)

from xlt.trainables.loading.base import load_base
from xlt.trainables.loading.batching import collate
from xlt.trainables.loading.tokenize import encode
from xlt.trainables.metrics.registry import METRICS, metrics_of
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.trial.run_trial import run_trial

MakeSpec = Callable[..., TrialSpec]
CPU = torch.device("cpu")


def test_more_classes_are_scored_as_scikit_learn_scores_them(make_spec: MakeSpec) -> None:
    dataset = three_classes()
    spec = make_spec(
        "bert",
        pattern=PATTERN,
        sampling={"test_rows": 90},
        data_fingerprint=dataset.fingerprint,
        training={"num_train_epochs": 4, "batch_size": 8},
    )
    result = run_trial(spec, dataset)
    y_true = result.predictions["y_true"].to_numpy()
    scores = np.array(result.predictions["y_score"].to_pylist())
    assert scores.shape == (90, 3)
    np.testing.assert_allclose(scores.sum(axis=1), 1.0)
    assert np.bincount(y_true).tolist() == [30, 30, 30]
    chosen = scores.argmax(axis=1)
    assert set(result.metrics) == {metric.name for metric in metrics_of(3)}
    assert result.metrics == {
        "macro_f1": sklearn.metrics.f1_score(y_true, chosen, average="macro"),
        "auroc_ovr": sklearn.metrics.roc_auc_score(y_true, scores, multi_class="ovr"),
        "accuracy": sklearn.metrics.accuracy_score(y_true, chosen),
    }
    assert result.metrics["auroc_ovr"] > 0.8
    assert run_trial(spec, dataset).predictions.equals(result.predictions)


def test_a_class_that_is_never_chosen_counts_as_zero() -> None:
    scores = np.array([[0.9, 0.05, 0.05], [0.8, 0.1, 0.1], [0.1, 0.2, 0.7]])
    y_true = np.array([0, 1, 2], np.int8)
    assert METRICS["macro_f1"].compute(y_true, scores) == pytest.approx((2 / 3 + 0 + 1) / 3)


@pytest.mark.parametrize("architecture", ["bert", "llama", "gpt_neox"])
def test_the_second_text_is_read(architecture: str, make_spec: MakeSpec) -> None:
    dataset = pairs()
    spec = make_spec(
        architecture,
        pattern=PATTERN,
        sampling={"test_rows": 100},
        data_fingerprint=dataset.fingerprint,
        training={"num_train_epochs": 3, "batch_size": 8},
    )
    metrics = run_trial(spec, dataset).metrics
    assert set(metrics) == {metric.name for metric in metrics_of(2)}
    assert metrics["auroc"] > 0.8


def test_pairs_are_encoded_as_the_tokenizer_does(make_spec: MakeSpec) -> None:
    rows = pairs().table.slice(0, 7)
    base = load_base(make_spec("bert"), CPU, torch.float32)
    ids = encode(base, rows, 12)
    config = base.model.config
    ours = collate(ids, config.pad_token_id, CPU, config.sep_token_id)
    expected: list[Any] = []
    for first, second in zip(rows["text"].to_pylist(), rows["text_pair"].to_pylist(), strict=True):
        expected.append(
            base.tokenizer(
                first, second, truncation=True, max_length=12, return_token_type_ids=True
            )
        )
    for row, encoding in enumerate(expected):
        length = len(encoding["input_ids"])
        assert ours["input_ids"][row, :length].tolist() == encoding["input_ids"]
        assert ours["token_type_ids"][row, :length].tolist() == encoding["token_type_ids"]
        assert not ours["token_type_ids"][row, length:].any()
    assert ours["token_type_ids"].any()


def test_decoders_are_not_told_which_text_a_token_belongs_to(make_spec: MakeSpec) -> None:
    for architecture in ("llama", "gpt_neox"):
        base = load_base(make_spec(architecture), CPU, torch.float32)
        assert base.model.config.sep_token_id is None


def test_bases_with_other_numbers_of_classes_are_not_mixed_up(make_spec: MakeSpec) -> None:
    spec = make_spec("bert")
    two, three = (load_base(spec, CPU, torch.float32, num) for num in (2, 3))
    assert (two.model.config.num_labels, three.model.config.num_labels) == (2, 3)
