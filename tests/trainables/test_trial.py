"""One trial: its result, the unchanged base model, and the reasons of failures."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import safetensors.torch
import torch
import transformers
from base_state import (
    state_of,
)
from tiny_data import make_dataset

from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import Dataset
from xlt.trainables.loading import base as loading
from xlt.trainables.metrics.registry import metrics_of
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training import loop
from xlt.trainables.training.loop import DivergedError
from xlt.trainables.trial.model_files import CLASSIFIER_CONFIG
from xlt.trainables.trial.run_trial import run_trial

MakeSpec = Callable[..., TrialSpec]


@pytest.mark.parametrize("architecture", ["llama", "bert", "gpt_neox"])
@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("failing", [None, "build", "fit", "predict"])
def test_the_base_is_as_loaded_after_a_trial(
    architecture: str,
    method: str,
    failing: str | None,
    make_spec: MakeSpec,
    tiny_dataset: Dataset,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = make_spec(architecture, method=method)
    base = loading.load_base(spec, torch.device("cpu"), torch.float32)
    before = state_of(base)

    def report(step: int, num_steps: int, loss: float) -> None:
        if failing == "fit":
            raise KeyboardInterrupt

    def collapse(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    if failing == "predict":
        monkeypatch.setattr("xlt.trainables.trial.run_trial.predict", collapse)
    if failing == "build":
        # peft wraps the modules, then this trips over the last of its steps.
        monkeypatch.setattr("peft.PeftModel.get_nb_trainable_parameters", collapse, raising=True)
        monkeypatch.setattr(
            "peft.peft_model.PeftModel._cast_adapter_dtype", collapse, raising=False
        )
        monkeypatch.setattr("peft.tuners.lora.LoraModel._mark_only_adapters_as_trainable", collapse)
    if failing and not (failing == "build" and method == "full"):
        with pytest.raises(KeyboardInterrupt):
            run_trial(spec, tiny_dataset, report=report)
    else:
        run_trial(spec, tiny_dataset, keep_models="all")
    assert state_of(base) == before
    assert loading.load_base(spec, torch.device("cpu"), torch.float32) is base


def save_classifier(base: loading.Base, folder: Path, num_labels: int) -> None:
    """The base as a fine-tuned classifier, with a head of ones."""
    base.model.save_pretrained(folder)
    base.tokenizer.save_pretrained(folder)
    edit_checkpoint(folder, lambda w: w.update({"score.weight": torch.ones(num_labels, 32)}))


@pytest.mark.parametrize("num_labels", [2, 5])
def test_the_head_of_a_fine_tuned_checkpoint_is_dropped(
    num_labels: int, make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    """It learnt other labels, or the same from other rows; every trial starts from its own seed."""
    plain = make_spec("llama")
    save_classifier(
        loading.load_base(plain, torch.device("cpu"), torch.float32), tmp_path, num_labels
    )
    spec = plain.model_copy(
        update={"base_path": str(tmp_path), "base_identity": f"test:{num_labels}-labels"}
    )
    expected = run_trial(plain, tiny_dataset).history["loss"].to_pylist()
    for _ in range(2):  # taking peft's adapters off leaves the trained head in the model
        assert run_trial(spec, tiny_dataset).history["loss"].to_pylist() == expected


def test_adapters_and_head_are_trained_in_fp32_on_a_bf16_base(make_spec: MakeSpec) -> None:
    from xlt.trainables.methods.registry import METHODS

    spec = make_spec("llama", training={"precision": "bf16"})
    base = loading.load_base(spec, torch.device("cpu"), torch.bfloat16)
    model = METHODS["lora"](base, spec)
    dtypes = {p.requires_grad: p.dtype for p in model.parameters()}
    assert dtypes == {False: torch.bfloat16, True: torch.float32}
    assert any("score" in name for name, p in model.named_parameters() if p.requires_grad)


@pytest.mark.parametrize(("architecture", "method"), [("llama", "lora"), ("bert", "full")])
def test_a_bf16_trial_runs_on_a_cpu(
    architecture: str, method: str, make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    spec = make_spec(
        architecture,
        method=method,
        training={"precision": "bf16", "num_train_epochs": 2, "batch_size": 8},
    )
    result = run_trial(spec, tiny_dataset)
    assert result.signature["precision"] == "bf16"
    assert np.isfinite(result.history["loss"].to_numpy()).all()


def test_a_trial_learns_and_reports(make_spec: MakeSpec, tiny_dataset: Dataset) -> None:
    spec = make_spec("bert", learning_rate=2e-3, training={"num_train_epochs": 12, "batch_size": 8})
    reports: list[tuple[int, int, float]] = []
    result = run_trial(spec, tiny_dataset, report=lambda *args: reports.append(args))
    losses = result.history["loss"].to_pylist()
    assert [step for step, _, _ in reports] == [10, 20, 30, 40, 48]
    assert {num_steps for _, num_steps, _ in reports} == {48} == {spec.num_steps}
    assert reports[-1][2] == losses[-1] < losses[0] - 0.1
    assert result.history["epoch"].to_pylist()[3] == 1.0
    assert result.history["epoch"].to_pylist()[-1] == 12.0
    assert result.history["learning_rate"].to_pylist()[0] == 2e-3


def test_what_a_result_holds(make_spec: MakeSpec, tiny_dataset: Dataset) -> None:
    result = run_trial(make_spec("llama"), tiny_dataset)
    assert set(result.metrics) == {metric.name for metric in metrics_of(2)}
    assert result.predictions.column_names == ["id", "lang", "split", "y_true", "y_score"]
    assert len(result.predictions) == 20
    assert set(result.predictions["lang"].to_pylist()) == {"ja"}
    assert result.train_rows["lang"].to_pylist() == ["en"] * 24 + ["ja"] * 8
    trained, tested = result.train_rows["id"].to_pylist(), result.predictions["id"].to_pylist()
    assert not set(trained) & set(tested)
    assert result.model == {}
    assert set(result.timings) == {"draw", "load", "encode", "build", "fit", "predict"}
    signature = result.signature
    assert signature["data_fingerprint"] == tiny_dataset.fingerprint
    vectors = torch.backends.cpu.get_cpu_capability()
    assert signature["device"].startswith("cpu:") and signature["device"].endswith(vectors)
    assert signature["num_threads"] == 1
    assert {"python", "torch", "peft", "xlt-sweep"} <= set(signature["versions"])


@pytest.mark.parametrize(
    ("keep_models", "method", "kept"),
    [
        ("none", "lora", set()),
        ("adapters", "full", set()),
        (
            "adapters",
            "lora",
            {"adapter_config.json", "adapter_model.safetensors", CLASSIFIER_CONFIG},
        ),
        ("all", "full", {"config.json", "model.safetensors"}),
    ],
)
def test_keep_policy(
    keep_models: Any, method: str, kept: set[str], make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    spec = make_spec("llama", method=method, training={"num_train_epochs": 1, "max_length": 16})
    result = run_trial(spec, tiny_dataset, keep_models=keep_models)
    tokenizer = {"tokenizer.json", "tokenizer_config.json"} if kept else set()
    assert set(result.model) == kept | tokenizer
    for name in kept & {"config.json", CLASSIFIER_CONFIG}:
        config = json.loads(result.model[name])
        assert config["architectures"] == ["LlamaForSequenceClassification"]
        assert config["id2label"] == {"0": "negative", "1": "positive"}
        assert config["label2id"] == {"negative": 0, "positive": 1}
    if kept:  # as no text was tokenised with it
        assert json.loads(result.model["tokenizer.json"])["truncation"] is None
        assert json.loads(result.model["tokenizer_config.json"])["model_max_length"] == 16


def test_a_kept_model_and_its_tokenizer_load_without_this_package(
    make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    result = run_trial(make_spec("bert"), tiny_dataset, keep_models="all")
    for name, content in result.model.items():
        (tmp_path / name).write_bytes(content)
    text_of = {row["id"]: row["text"] for row in tiny_dataset.table.to_pylist()}
    pipe = transformers.pipeline("text-classification", str(tmp_path), top_k=None)
    texts = [text_of[row_id] for row_id in result.predictions["id"].to_pylist()]
    scores = [{c["label"]: c["score"] for c in classes}["positive"] for classes in pipe(texts)]
    np.testing.assert_allclose(scores, result.predictions["y_score"].to_numpy(), atol=1e-6)


@pytest.mark.parametrize(("architecture", "method"), [("llama", "lora"), ("bert", "full")])
def test_a_diverged_trial_says_at_which_step_and_what_to_do(
    architecture: str, method: str, make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    spec = make_spec(architecture, method=method, learning_rate=1e30)
    with pytest.raises(
        DivergedError, match=r"nan at step 8 of 8; lower the learning rate \(1e\+30"
    ):
        run_trial(spec, tiny_dataset)


def test_nan_scores_are_a_diverged_trial(make_spec: MakeSpec) -> None:
    spec = make_spec("llama")
    base = loading.load_base(spec, torch.device("cpu"), torch.float32)
    broken = loading.load_base(spec, torch.device("cpu"), torch.float32).model.__class__(
        base.model.config
    )
    torch.nn.init.constant_(broken.score.weight, float("nan"))
    with pytest.raises(DivergedError, match="scores are not numbers"):
        loop.predict(broken, [[3, 4], [5]], spec)


def test_texts_that_were_cut_are_counted_and_attention_is_recorded(
    make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    whole = run_trial(make_spec("bert"), tiny_dataset)
    assert whole.execution["truncated_texts"] == {"train": 0, "test": 0}
    assert whole.execution["attention"] == "sdpa"
    spec = make_spec("bert", training={"num_train_epochs": 1, "batch_size": 8, "max_length": 5})
    base = loading.load_base(spec, torch.device("cpu"), torch.float32)
    cut = run_trial(spec, tiny_dataset)
    for name, rows in (("train", cut.train_rows), ("test", cut.predictions)):
        texts = tiny_dataset.rows(rows["id"].to_pylist())["text"].to_pylist()
        expected = sum(len(base.tokenizer(text)["input_ids"]) > 5 for text in texts)
        assert cut.execution["truncated_texts"][name] == expected > 0


def test_another_data_set_is_refused(make_spec: MakeSpec, tiny_dataset: Dataset) -> None:
    spec = make_spec("llama", data_fingerprint="0" * 64)
    with pytest.raises(InputError, match="not the one that the trial was planned for"):
        run_trial(spec, tiny_dataset)


def test_a_base_model_that_is_not_there_is_an_input_error(
    make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    spec = make_spec("llama", base_path=str(tmp_path), base_identity="test:nowhere")
    with pytest.raises(InputError, match=r"base model 'tiny-llama': .* holds no config\.json"):
        run_trial(spec, tiny_dataset)


def edit_checkpoint(folder: Path, edit: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Change the weights of a saved checkpoint in place."""
    file = folder / "model.safetensors"
    weights = safetensors.torch.load_file(file)
    edit(weights)
    safetensors.torch.save_file(weights, file, metadata={"format": "pt"})


@pytest.mark.parametrize("architecture", ["llama", "bert", "gpt_neox"])
def test_a_checkpoint_without_a_layer_is_refused(
    architecture: str, tiny_base: Any, make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    shutil.copytree(tiny_base(architecture), tmp_path / "base")

    def drop(weights: dict[str, torch.Tensor]) -> None:
        for name in [n for n in weights if ".1." in n]:
            del weights[name]

    edit_checkpoint(tmp_path / "base", drop)
    spec = make_spec(
        architecture, base_path=str(tmp_path / "base"), base_identity=f"test:cut-{architecture}"
    )
    with pytest.raises(InputError, match=r"the checkpoint lacks \d+ weights of the backbone"):
        run_trial(spec, tiny_dataset)


def test_a_backbone_of_another_shape_is_refused(
    make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    base = loading.load_base(make_spec("llama"), torch.device("cpu"), torch.float32)
    save_classifier(base, tmp_path, 5)
    edit_checkpoint(tmp_path, lambda w: w.update({"model.norm.weight": torch.ones(16)}))
    spec = make_spec("llama", base_path=str(tmp_path), base_identity="test:narrow")
    with pytest.raises(InputError, match=r"in another shape, e\.g\. model\.norm\.weight"):
        run_trial(spec, tiny_dataset)


def test_shuffled_labels_score_like_chance_and_true_ones_do_not(make_spec: MakeSpec) -> None:
    """Nothing but the label's own text may tell a label: no row order, id or leaked column."""
    true = make_dataset(num_rows=400)
    shuffled = true.table["label"].to_numpy()[np.random.default_rng(0).permutation(len(true.table))]
    place = true.table.schema.get_field_index("label")
    column = pa.array(shuffled, true.table.schema.field("label").type)
    false = Dataset.from_table(true.table.set_column(place, true.table.schema.field(place), column))
    auroc = {}
    for name, dataset in {"true": true, "shuffled": false}.items():
        spec = make_spec(
            "llama",
            pattern={"name": "ja40", "target_lang": "ja", "target_rows": 40, "source_rows": 80},
            sampling={"test_rows": 240},
            data_fingerprint=dataset.fingerprint,
        )
        auroc[name] = run_trial(spec, dataset).metrics["auroc"]
    # Under the null the AUROC of 120 x 120 rows has std sqrt(241 / (12 * 120 * 120)) = .037
    # (Mann-Whitney U); four of them.
    assert abs(auroc["shuffled"] - 0.5) < 0.15
    assert auroc["true"] > 0.75
