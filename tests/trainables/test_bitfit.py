"""Methods that train a part of the weights: bitfit and head."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from base_state import state_of
from hf_trainer import build_without_dropout, load, train_both, training_rows
from kept_tiny import keep

from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import Dataset
from xlt.trainables.inference.kept_model import load_kept_model
from xlt.trainables.inference.save import save_classifier
from xlt.trainables.loading.tokenize import encode
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.loop import choose_base_dtype, predict
from xlt.trainables.trial.model_files import TRAINED_WEIGHTS
from xlt.trainables.trial.run_trial import run_trial

MakeSpec = Callable[..., TrialSpec]

CASES = [("bert", "bitfit"), ("gpt_neox", "bitfit"), ("bert", "head"), ("llama", "head")]


def trained_names(model: Any) -> set[str]:
    return {name for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize(("architecture", "method"), CASES)
def test_what_is_trained(architecture: str, method: str, make_spec: MakeSpec) -> None:
    spec = make_spec(architecture, method=method)
    base, model = load(spec), build_without_dropout(spec)
    head = {
        name for name, _ in base.model.named_parameters()
        if name.startswith(("classifier.", "score.", "bert.pooler."))
    }  # fmt: skip
    biases = {name for name, _ in base.model.named_parameters() if name.endswith(".bias")}
    assert trained_names(model) == (head | biases if method == "bitfit" else head)
    mine, shared = dict(model.named_parameters()), dict(base.model.named_parameters())
    for name, parameter in shared.items():  # the frozen ones are the base's own tensors
        assert (mine[name] is parameter) == (name not in trained_names(model)), name


@pytest.mark.parametrize(("architecture", "method"), CASES)
def test_losses_are_those_of_the_hf_trainer(
    architecture: str, method: str, make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    spec = make_spec(architecture, method=method, learning_rate=2e-2)
    history, trainer = train_both(spec, *training_rows(spec, tiny_dataset), tmp_path)
    assert np.ptp(trainer.losses) > 1e-3
    np.testing.assert_allclose(history["loss"].to_pylist(), trainer.losses, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("architecture", "method"), CASES)
def test_a_kept_part_is_read_and_exported(
    architecture: str, method: str, make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    spec = make_spec(architecture, method=method, learning_rate=2e-2)
    base = load(spec)
    before = state_of(base)
    trial, results = keep(spec, tiny_dataset, tmp_path / "r")
    assert state_of(base) == before
    assert [*trial.files] == [f"model/{TRAINED_WEIGHTS}"]
    base, model = load_kept_model(spec, results, 2)
    table = results.read_table(trial.trial_id, "predictions")
    ids = encode(base, tiny_dataset.rows(table["id"].to_pylist()), 128)
    written = table["y_score"].to_numpy()
    assert np.ptp(written) > 1e-5
    np.testing.assert_allclose(predict(model, ids, spec), written, atol=1e-7)

    folder = tmp_path / "exported"
    folder.mkdir()
    saved = save_classifier(trial, folder)
    assert (saved.form, saved.difference < 1e-6) == ("full", True)
    plain = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    np.testing.assert_allclose(predict(plain, ids, spec), written, atol=1e-6)


@pytest.mark.parametrize(("architecture", "method"), CASES)
def test_a_trial_is_the_same_on_a_warm_base_model(
    architecture: str, method: str, make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    spec = make_spec(architecture, method=method, learning_rate=2e-2)
    first, again = (run_trial(spec, tiny_dataset) for _ in range(2))
    assert first.metrics == again.metrics
    assert first.history.equals(again.history)


def test_micro_batches_give_the_same_losses(make_spec: MakeSpec, tiny_dataset: Dataset) -> None:
    for method in ("bitfit", "head"):
        whole, parts = (
            run_trial(make_spec("gpt_neox", method=method, resources=resources), tiny_dataset)
            for resources in ({}, {"micro_batch_size": 3, "gradient_checkpointing": True})
        )
        np.testing.assert_allclose(whole.history["loss"], parts.history["loss"], atol=1e-5)


def test_biases_that_do_not_exist_are_refused(make_spec: MakeSpec, tiny_dataset: Dataset) -> None:
    with pytest.raises(InputError, match="llama has no biases, which are all that method bitfit"):
        run_trial(make_spec("llama", method="bitfit"), tiny_dataset)


def test_only_a_frozen_backbone_is_kept_in_bf16(make_spec: MakeSpec) -> None:
    on_gpu = torch.device("cuda")
    dtypes = {
        method: choose_base_dtype(make_spec("gpt_neox", method=method), on_gpu)
        for method in ("full", "lora", "bitfit", "head")
    }
    low = [method for method, dtype in dtypes.items() if dtype == torch.bfloat16]
    assert low == ["lora", "head"]
