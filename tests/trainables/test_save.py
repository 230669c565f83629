"""Saved classifiers: plain transformers loads them, and they score as the trial did."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from hub_server import COMMIT, Hub
from kept_tiny import keep
from tiny_tasks import PATTERN, three_classes

from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import Dataset
from xlt.trainables.inference.save import save_classifier
from xlt.trainables.results.find_trial import FinishedTrial
from xlt.trainables.results.result import Results
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.trial.model_files import CLASSIFIER_CONFIG

MakeSpec = Callable[..., TrialSpec]


def pairs_of(dataset: Dataset) -> dict[str, tuple[str, str | None]]:
    return {row["id"]: (row["text"], row["text_pair"]) for row in dataset.table.to_pylist()}


def differ(trial: FinishedTrial, dataset: Dataset, folder: Path, **options: Any) -> float:
    """Largest difference of the scores of a plain pipeline, in batches, from the trial's."""
    options = {"model": str(folder), **options}
    pipe = transformers.pipeline("text-classification", top_k=None, **options)
    written = Results(trial.uri).read_table(trial.trial_id, "predictions")
    texts = pairs_of(dataset)
    found = pipe([texts[name][0] for name in written["id"].to_pylist()], truncation=True)
    labels = list(pipe.model.config.id2label.values())
    scores = np.array([[{c["label"]: c["score"] for c in row}[k] for k in labels] for row in found])
    expected = np.array(written["y_score"].to_pylist())
    return float(np.abs((scores[:, 1] if expected.ndim == 1 else scores) - expected).max())


@pytest.mark.parametrize(
    ("architecture", "method", "merge", "form"),
    [
        ("bert", "full", False, "full"),
        ("llama", "lora", False, "adapter and base"),
        ("gpt_neox", "lora", True, "merged"),
        ("bert", "lora", True, "merged"),
    ],
)
def test_a_pipeline_scores_as_the_trial_did(
    architecture: str, method: str, merge: bool, form: str,
    make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path,
) -> None:  # fmt: skip
    training = {"num_train_epochs": 2, "batch_size": 8, "max_length": 4}
    spec = make_spec(architecture, method=method, training=training)
    trial, results = keep(spec, tiny_dataset, tmp_path / "results")
    record: Any = results.state(spec.trial_id).record
    assert record["execution"]["truncated_texts"]["test"] > 0
    folder = tmp_path / "out"
    folder.mkdir()
    saved = save_classifier(trial, folder, merge=merge, texts=pairs_of(tiny_dataset))
    assert saved.form == form
    assert saved.compared == "20 test rows"
    assert saved.difference < 1e-5
    assert differ(trial, tiny_dataset, folder, batch_size=8) < 1e-5
    assert json.loads((folder / "config.json").read_text())["label2id"] == {
        "negative": 0, "positive": 1,
    }  # fmt: skip
    assert (folder / "adapter_model.safetensors").exists() == (form == "adapter and base")
    for file in folder.glob("*.json"):
        assert str(tmp_path) not in file.read_text() and spec.base_path not in file.read_text()


def test_an_adapter_of_a_hub_model_names_it(
    make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path, hub: Hub
) -> None:
    place = {"base_path": "org/llama", "base_identity": f"hub:org/llama@{COMMIT}"}
    trial, _ = keep(make_spec(**place, revision=COMMIT), tiny_dataset, tmp_path / "results")
    folder = tmp_path / "out"
    folder.mkdir()
    saved = save_classifier(trial, folder, texts=pairs_of(tiny_dataset))
    assert saved.form == "adapter"
    assert saved.difference < 1e-5
    config = json.loads((folder / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("org/llama", COMMIT)
    assert not (folder / "config.json").exists()
    assert not (folder / "model.safetensors").exists()
    assert differ(trial, tiny_dataset, folder) < 1e-5
    config = transformers.AutoConfig.from_pretrained(folder / CLASSIFIER_CONFIG)
    auto = transformers.AutoModelForSequenceClassification
    named = {
        "model": auto.from_pretrained(folder, config=config),
        "tokenizer": transformers.AutoTokenizer.from_pretrained(folder),
    }
    assert differ(trial, tiny_dataset, folder, batch_size=8, **named) < 1e-5
    assert config.id2label == {0: "negative", 1: "positive"}

    whole = tmp_path / "whole"
    whole.mkdir()
    assert save_classifier(trial, whole, with_base=True, repository="me/mine").form == (
        "adapter and base"
    )
    named_base = json.loads((whole / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert named_base == "me/mine"
    hub.folders["me/mine"] = whole
    assert differ(trial, tiny_dataset, whole, batch_size=8) < 1e-5
    # From the hub the same files load: the adapter names its own repository as the base model's.
    assert differ(trial, tiny_dataset, whole, model="me/mine", batch_size=8) < 1e-5


def test_three_classes_and_no_texts(make_spec: MakeSpec, tmp_path: Path) -> None:
    dataset = three_classes()
    spec = make_spec("llama", pattern=PATTERN, data_fingerprint=dataset.fingerprint)
    trial, _ = keep(spec, dataset, tmp_path / "results")
    folder = tmp_path / "out"
    folder.mkdir()
    saved = save_classifier(trial, folder)
    assert saved.compared.startswith("64 sequences of random tokens")
    assert saved.difference < 1e-5
    assert differ(trial, dataset, folder) < 1e-5


@pytest.mark.usefixtures("unpacked_four_bits")
def test_a_base_model_in_four_bits(
    make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    spec = make_spec("llama", lora={"quantize_base": "nf4"})
    trial, _ = keep(spec, tiny_dataset, tmp_path / "results")
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(InputError, match="4 bits, to which it cannot be added"):
        save_classifier(trial, folder, merge=True)
    saved = save_classifier(trial, folder, texts=pairs_of(tiny_dataset))
    assert saved.difference < 1e-5
    assert differ(trial, tiny_dataset, folder) < 1e-5


def test_a_base_model_that_changed_is_refused(
    make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, _ = keep(make_spec("bert"), tiny_dataset, tmp_path / "results")
    with pytest.raises(InputError, match="the trial has method full"):
        save_classifier(trial, tmp_path, merge=True)

    def other(model: Any, ids: Any, spec: Any) -> Any:
        return np.full(len(ids), 2.0)

    monkeypatch.setattr("xlt.trainables.inference.save.predict", other)
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(InputError, match="scores differ from the trial's by up to 1"):
        save_classifier(trial, folder, texts=pairs_of(tiny_dataset))
