"""Golden numbers from elsewhere: HF Trainer, peft and scikit-learn on the same weights and rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import sklearn.metrics
import torch
import transformers
from hf_trainer import build_without_dropout, load, train_both, training_rows
from torch import nn

from xlt.data.core.seeds import derive_seed
from xlt.data.dataset.schema import Dataset
from xlt.trainables.loading.head import init_head
from xlt.trainables.metrics.registry import METRICS, score
from xlt.trainables.spec.training import Optimizer
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.loop import learning_rate_at
from xlt.trainables.trial.run_trial import run_trial

CPU = torch.device("cpu")
MakeSpec = Callable[..., TrialSpec]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)  # as in a trial with one CPU; several only wait for each other here


NO_DROPOUT = {"lora_dropout": 0.0}


@pytest.mark.parametrize(
    ("architecture", "changes"),
    [
        ("bert", {}),
        (
            "bert",
            {
                "training": {
                    "num_train_epochs": 2, "batch_size": 8, "warmup_ratio": 0.3,
                    "max_grad_norm": 0.1, "weight_decay": 0.3,
                }
            },
        ),
        ("llama", {"method": "full"}),
        ("gpt_neox", {"method": "full"}),
        ("bert", {"method": "lora", "lora": NO_DROPOUT, "learning_rate": 2e-2}),
        ("llama", {"lora": NO_DROPOUT}),
        ("gpt_neox", {"lora": NO_DROPOUT, "learning_rate": 5e-2}),
        *(
            (
                architecture,
                # At rates of 2e-2 the steps of AdamW magnify rounding on some processors.
                {"method": "lora", "lora": NO_DROPOUT | {variant: True}, "learning_rate": 5e-3},
            )
            for architecture in ("bert", "llama", "gpt_neox")
            for variant in ("use_rslora", "use_dora")
        ),
        ("llama", {"lora": NO_DROPOUT, "resources": {"gradient_checkpointing": True}}),
        ("bert", {"resources": {"gradient_checkpointing": True}}),
    ],
)  # fmt: skip
def test_losses_are_those_of_the_hf_trainer(
    architecture: str,
    changes: dict[str, Any],
    make_spec: MakeSpec,
    tiny_dataset: Dataset,
    tmp_path: Path,
) -> None:
    spec = make_spec(architecture, **changes)
    token_ids, labels = training_rows(spec, tiny_dataset)
    history, trainer = train_both(spec, token_ids, labels, tmp_path)
    logged = [entry for entry in trainer.state.log_history if "grad_norm" in entry]
    assert len(history) == len(logged) == 8
    assert np.ptp(trainer.losses) > 1e-3  # something was learnt, so equality says something
    np.testing.assert_allclose(history["loss"].to_pylist(), trainer.losses, atol=1e-5, rtol=0)
    np.testing.assert_allclose(
        history["grad_norm"].to_pylist(), [e["grad_norm"] for e in logged], atol=1e-4, rtol=1e-4
    )
    np.testing.assert_allclose(
        history["learning_rate"].to_pylist(), [e["learning_rate"] for e in logged], rtol=1e-9
    )


@pytest.mark.parametrize("schedule", ["linear", "constant"])
def test_schedule_is_that_of_transformers(schedule: str) -> None:
    settings = Optimizer.parse({"lr_schedule": schedule, "warmup_ratio": 0.25})
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    reference: Any = transformers.get_scheduler(
        schedule if schedule == "linear" else "constant_with_warmup", optimizer, 5, 20
    )
    for step in range(20):
        assert learning_rate_at(step, 20, 0.5, settings) == pytest.approx(
            reference.get_last_lr()[0]
        )
        optimizer.step()
        reference.step()


@pytest.mark.parametrize("variant", [{}, {"use_rslora": True}, {"use_dora": True}])
@pytest.mark.parametrize("architecture", ["llama", "gpt_neox", "bert"])
def test_adapters_are_those_of_peft_by_hand(
    architecture: str, variant: dict[str, bool], make_spec: MakeSpec
) -> None:
    spec = make_spec(architecture, method="lora", lora=variant)
    ours = build_without_dropout(spec)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        spec.base_path, num_labels=2
    )
    pooler = ["bert.pooler"] if architecture == "bert" else []
    init_head(model, load(spec).head_modules, derive_seed(spec.seed, "head"))
    torch.manual_seed(derive_seed(spec.seed, "adapters"))
    settings = peft.LoraConfig(
        task_type="SEQ_CLS", r=8, lora_alpha=16, lora_dropout=0.05, target_modules="all-linear",
        modules_to_save=pooler, **variant,
    )  # fmt: skip
    theirs = peft.get_peft_model(model, settings)
    expected = dict(theirs.named_parameters())
    ours_by_name = dict(ours.named_parameters())
    assert list(ours_by_name) == list(expected)
    for name, parameter in expected.items():
        assert torch.equal(ours_by_name[name], parameter), name
        assert ours_by_name[name].requires_grad == parameter.requires_grad, name
    scalings = {n: m.scaling for n, m in theirs.named_modules() if hasattr(m, "lora_A")}
    assert scalings == {n: m.scaling for n, m in ours.named_modules() if hasattr(m, "lora_A")}
    expected_scaling = 16 / 8**0.5 if "use_rslora" in variant else 16 / 8
    assert {scaling["default"] for scaling in scalings.values()} == {expected_scaling}


SOME_MODULES = {"llama": ["q_proj"], "gpt_neox": ["dense"], "bert": ["layer.1.output.dense"]}


@pytest.mark.parametrize("architecture", SOME_MODULES)
@pytest.mark.parametrize(
    "fine_tuning",
    [
        {"method": "full"},
        {"method": "lora"},
        {"method": "lora", "lora": {"use_rslora": True}},
        {"method": "lora", "lora": {"use_dora": True}},
        {"method": "lora", "lora": {"target_modules": SOME_MODULES}},
    ],
    ids=["full", "lora", "rslora", "dora", "some modules"],
)
def test_kept_model_loads_in_plain_transformers_and_peft(
    architecture: str,
    fine_tuning: dict[str, Any],
    make_spec: MakeSpec,
    tiny_dataset: Dataset,
    tmp_path: Path,
) -> None:
    if fine_tuning.get("lora") == {"target_modules": SOME_MODULES}:
        fine_tuning = fine_tuning | {"lora": {"target_modules": SOME_MODULES[architecture]}}
    spec = make_spec(architecture, learning_rate=2e-2, **fine_tuning)
    method = spec.method
    result = run_trial(spec, tiny_dataset, keep_models="all")
    for name, content in result.model.items():
        (tmp_path / name).write_bytes(content)
    auto = transformers.AutoModelForSequenceClassification
    base = load(spec)
    if method == "full":
        model = auto.from_pretrained(tmp_path)
    else:
        model = auto.from_pretrained(
            spec.base_path, num_labels=2, pad_token_id=base.tokenizer.pad_token_id
        )
        model = peft.PeftModel.from_pretrained(model, tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(spec.base_path)
    scores = []
    with torch.inference_mode():
        for text in tiny_dataset.rows(result.predictions["id"].to_pylist())["text"].to_pylist():
            logits = model(**tokenizer(text, return_tensors="pt")).logits  # alone: no padding
            scores.append(logits.double().softmax(-1)[0, 1].item())
    np.testing.assert_allclose(result.predictions["y_score"].to_pylist(), scores, atol=1e-6)


def test_metrics_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    y_true = rng.integers(0, 2, 200).astype(np.int8)
    y_score = np.clip(0.3 * y_true + rng.normal(0.4, 0.3, 200), 0, 1)
    y_pred = (y_score >= 0.5).astype(int)
    assert score(y_true, y_score) == {
        "f1": sklearn.metrics.f1_score(y_true, y_pred),
        "auroc": sklearn.metrics.roc_auc_score(y_true, y_score),
        "accuracy": sklearn.metrics.accuracy_score(y_true, y_pred),
        "precision": sklearn.metrics.precision_score(y_true, y_pred),
        "recall": sklearn.metrics.recall_score(y_true, y_pred),
        "average_precision": sklearn.metrics.average_precision_score(y_true, y_score),
    }


def test_a_classifier_that_says_no_to_everything_scores_zero_without_a_warning() -> None:
    scores = score(np.array([0, 1], np.int8), np.array([0.1, 0.2]))
    assert (scores["f1"], scores["precision"], scores["recall"]) == (0.0, 0.0, 0.0)


def test_a_score_on_the_threshold_is_positive() -> None:
    assert METRICS["recall"].compute(np.array([1, 0], np.int8), np.array([0.5, 0.4])) == 1.0
