"""A trial's kept classifier gives the trial's own scores, for any batches."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kept_tiny import (
    keep,
)
from tiny_data import ARCHITECTURES
from tiny_tasks import PATTERN, pairs, three_classes
from tokenizers.normalizers import BertNormalizer
from transformers import pipeline

from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import Dataset
from xlt.trainables.inference.tagging import Tagger
from xlt.trainables.loading.base import _LOADED
from xlt.trainables.results.find_trial import FinishedTrial, find_trial
from xlt.trainables.results.result import Results
from xlt.trainables.spec.trial_spec import TrialSpec

MakeSpec = Callable[..., TrialSpec]


def own_rows(trial: FinishedTrial, results: Results, dataset: Dataset) -> tuple[Any, np.ndarray]:
    """The trial's test rows and what it wrote of them."""
    known = results.read_table(trial.trial_id, "predictions")
    return dataset.rows(known["id"].to_pylist()), np.array(known["y_score"].to_pylist())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_scores_are_those_of_the_trial(
    architecture: str, make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    trial, results = keep(make_spec(architecture), tiny_dataset, tmp_path)
    rows, known = own_rows(trial, results, tiny_dataset)
    texts = rows["text"].to_pylist()
    tagger = Tagger.load(trial)
    np.testing.assert_array_equal(tagger.predict(texts), known)
    assert np.ptp(known) > 1e-4  # far more than what tolerances below allow
    for batch_size in (1, 3, 7):
        np.testing.assert_allclose(tagger.predict(texts, batch_size=batch_size), known, atol=1e-6)
    backwards = tagger.predict(["unrelated " * 9, *texts[::-1]])[1:]
    np.testing.assert_allclose(backwards[::-1], known, atol=1e-6)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_scores_are_those_of_the_pipeline_of_transformers(
    architecture: str, make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    trial, _ = keep(make_spec(architecture), tiny_dataset, tmp_path)
    tagger = Tagger.load(trial)
    texts = [*tiny_dataset.table["text"].to_pylist(), "goal carbon " * 20]
    plain = pipeline(
        "text-classification", model=tagger.model, tokenizer=tagger.base.tokenizer, device="cpu"
    )
    outputs = plain(texts, top_k=None, truncation=True, max_length=trial.spec.training.max_length)
    expected = [{label["label"]: label["score"] for label in row}["LABEL_1"] for row in outputs]
    np.testing.assert_allclose(tagger.predict(texts), expected, atol=1e-6)


def test_more_classes(make_spec: MakeSpec, tmp_path: Path) -> None:
    dataset = three_classes()
    spec = make_spec(
        "bert", pattern=PATTERN, sampling={"test_rows": 90}, data_fingerprint=dataset.fingerprint
    )
    trial, results = keep(spec, dataset, tmp_path)
    assert trial.classes == ("0", "1", "2")  # no plan lies there that names them
    rows, known = own_rows(trial, results, dataset)
    scores = Tagger.load(trial).predict(rows["text"].to_pylist())
    assert scores.shape == (90, 3)
    np.testing.assert_allclose(scores, known, atol=1e-6)


def test_pairs(make_spec: MakeSpec, tmp_path: Path) -> None:
    dataset = pairs()
    spec = make_spec(
        "bert", pattern=PATTERN, sampling={"test_rows": 40}, data_fingerprint=dataset.fingerprint,
        training={"num_train_epochs": 8, "batch_size": 8},
    )  # fmt: skip
    trial, results = keep(spec, dataset, tmp_path)
    rows, known = own_rows(trial, results, dataset)
    texts, seconds = rows["text"].to_pylist(), rows["text_pair"].to_pylist()
    tagger = Tagger.load(trial)
    np.testing.assert_array_equal(tagger.predict(texts, seconds), known)
    assert np.abs(tagger.predict(texts, seconds[1:] + seconds[:1]) - known).max() > 1e-4
    with pytest.raises(InputError, match="39 second texts for 40 texts"):
        tagger.predict(texts, seconds[1:])


def test_texts_without_a_score(make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path) -> None:
    trial, _ = keep(make_spec("llama"), tiny_dataset, tmp_path)
    tagger = Tagger.load(trial)
    pad = tagger.base.tokenizer.pad_token
    texts = ["goal", " \n", f"goal{pad}", "goal " * 200]
    scored = tagger.score(texts)
    assert scored.problems == ["", "empty text", f"ends with the pad token: {pad}", ""]
    assert np.isnan(scored.y_score).tolist() == [False, True, True, False]
    assert scored.truncated.tolist() == [False, False, False, True]
    alone = tagger.score(["goal " * 300]).y_score
    np.testing.assert_allclose(scored.y_score[3], alone[0], atol=1e-6)  # the same 128 tokens
    message = r"2 texts have no score: text 1 \(empty text\), text 2 \(ends with"
    with pytest.raises(InputError, match=message):
        tagger.predict(texts)


def test_a_text_of_no_token_of_its_own(
    make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    trial, _ = keep(make_spec("bert"), tiny_dataset, tmp_path)
    tagger = Tagger.load(trial)
    tokenizer = copy.deepcopy(tagger.base.tokenizer)
    tokenizer.backend_tokenizer.normalizer = BertNormalizer()  # drops control characters
    tagger = replace(tagger, base=replace(tagger.base, tokenizer=tokenizer))
    assert len(tokenizer("\x00")["input_ids"]) == 2  # [CLS] and [SEP]
    assert tagger.score(["\x00", "goal"]).problems == ["no tokens", ""]


def test_the_weights_of_another_base_model(
    make_spec: MakeSpec, tiny_base: Any, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    trial, results = keep(make_spec("llama"), tiny_dataset, tmp_path / "results")
    other = tmp_path / "other"
    shutil.copytree(tiny_base("llama"), other)
    where = f"{results.uri}/trials/{trial.trial_id}"
    rows, known = own_rows(trial, results, tiny_dataset)
    _LOADED.clear()
    moved = Tagger.load(find_trial(where, base_path=str(other)))
    np.testing.assert_array_equal(moved.predict(rows["text"].to_pylist()), known)

    weights = load_file(other / "model.safetensors")
    weights["model.norm.weight"] = torch.full_like(weights["model.norm.weight"], 1.5)
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    _LOADED.clear()
    with pytest.raises(InputError, match="are not those of the trial's training"):
        Tagger.load(find_trial(where, base_path=str(other)))
    _LOADED.clear()
