"""Training stops on dev rows, and the weights of the best epoch count."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import sklearn.metrics
import torch
import transformers
from epoch_ends import Weights, load_weights, weights_of_steps
from gloo_group import run_together, run_together_again
from hypothesis import given
from hypothesis import strategies as st
from killed_trials import assert_same_bytes, located, run_killed_at, tables_of
from packed_trials import packed

from xlt.data.core.errors import InputError
from xlt.data.dataset.dev import SourceDev
from xlt.data.dataset.schema import Dataset
from xlt.trainables.metrics.early_stopping import check_dev_metric, compute_dev_metric
from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import TrialResult
from xlt.trainables.spec.early_stopping import EarlyStopping
from xlt.trainables.spec.training import Training
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.epoch_ends import BestOnDev
from xlt.trainables.training.loop import DivergedError
from xlt.trainables.trial.rows import draw_rows, draw_stopping_rows
from xlt.trainables.trial.run_trial import run_trial

pytestmark = pytest.mark.usefixtures("one_thread")

MakeSpec = Callable[..., TrialSpec]
CASES = (
    ("bert", "full", 1e-2, {"patience": 1}),
    ("llama", "lora", 1e-2, {"patience": 1}),
)
"""Architecture, method, learning rate and settings. The trainer of BERT's tokenizer gives another
vocabulary in each process, so the best epoch differs, too."""
EPOCH = 4
"""Steps of an epoch: 32 rows in batches of 8."""


def make_early(
    make_spec: MakeSpec, architecture: str, method: str, rate: float, **changes: Any
) -> TrialSpec:
    early = {"dev_rows": 16} | changes.pop("early_stopping", {})
    training = {"num_train_epochs": 6, "batch_size": 8, "early_stopping": early}
    return make_spec(
        architecture, method=method, learning_rate=rate, **{"training": training} | changes
    )


def find_epochs(result: TrialResult) -> tuple[int, int]:
    """Give the epoch with the lowest loss on dev rows, and the last trained one."""
    losses = result.history["dev_metric"].to_pylist()[EPOCH - 1 :: EPOCH]
    return int(np.argmin(losses)) + 1, len(losses)


@given(
    values=st.lists(st.integers(0, 4), min_size=1, max_size=12),
    patience=st.integers(1, 4),
    is_loss=st.booleans(),
)
def test_it_stops_and_chooses_as_the_callback_of_transformers(
    values: list[int], patience: int, is_loss: bool
) -> None:
    """Golden: EarlyStoppingCallback, with the best state that the HF Trainer remembers."""
    weight = torch.nn.Parameter(torch.zeros(1))
    epoch = 0
    ends = BestOnDev([weight], len(values), patience, is_loss, lambda: float(values[epoch - 1]))
    callback = transformers.EarlyStoppingCallback(early_stopping_patience=patience)
    args = transformers.TrainingArguments(
        metric_for_best_model="value", greater_is_better=not is_loss, use_cpu=True
    )
    state, control = transformers.TrainerState(), transformers.TrainerControl()
    best_epoch = 0
    while epoch < len(values) and not ends.is_over:
        epoch += 1
        assert not control.should_training_stop
        weight.data.fill_(epoch)
        ends.after_epoch(epoch)
        value = float(values[epoch - 1])
        callback.on_evaluate(args, state, control, {"eval_value": value})
        better = np.less if is_loss else np.greater  # as Trainer._determine_best_metric
        if state.best_metric is None or better(value, state.best_metric):
            state.best_metric, best_epoch = value, epoch
    assert control.should_training_stop == ends.is_over
    assert list(ends.kept_epochs) == [best_epoch]
    assert weight.item() == best_epoch


@pytest.mark.parametrize(("architecture", "method", "rate", "early"), CASES)
def test_the_model_is_that_of_the_best_epoch_to_the_byte(
    architecture: str,
    method: str,
    rate: float,
    early: dict[str, Any],
    make_spec: MakeSpec,
    tiny_dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Golden: the checkpoints of the same trial without early stopping; dropout is on."""
    spec = make_early(make_spec, architecture, method, rate, early_stopping=early)
    seen, plain = weights_of_steps(spec, tiny_dataset, tmp_path, monkeypatch)
    result = run_trial(spec, tiny_dataset, keep_models="all")
    best, last = find_epochs(result)
    assert result.convergence["best_epoch"] == best
    assert result.convergence["num_epochs"] == last == min(best + early["patience"], 6)
    steps = result.history.drop_columns("dev_metric")
    assert steps.equals(plain.history.slice(0, EPOCH * last))  # also the learning rates
    weights, compared = load_weights(result), 0
    for name in weights.keys() & seen[EPOCH * best].keys():
        assert torch.equal(weights[name], seen[EPOCH * best][name]), name
        compared += not torch.equal(weights[name], seen[EPOCH * last][name])
    assert compared >= 5 or best == last
    assert result.train_rows["id"].equals(plain.train_rows["id"])
    assert result.predictions["id"].equals(plain.predictions["id"])


@pytest.mark.parametrize("metric", ["loss", "auroc"])
def test_the_metric_is_that_of_transformers_and_scikit_learn(
    metric: str,
    make_spec: MakeSpec,
    tiny_dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Golden: each checkpoint in a plain model of transformers, text by text."""
    spec = make_early(make_spec, "bert", "full", 1e-2, early_stopping={"metric": metric})
    seen, _ = weights_of_steps(spec, tiny_dataset, tmp_path, monkeypatch)
    measured = run_trial(spec, tiny_dataset).history["dev_metric"].to_pylist()
    dev = draw_stopping_rows(tiny_dataset, spec)
    assert dev is not None and set(dev["lang"].to_pylist()) == {"en"} and len(dev) == 16
    labels = dev["label"].to_numpy()
    model = transformers.AutoModelForSequenceClassification.from_pretrained(spec.base_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(spec.base_path)
    model.eval()
    num_compared = 0
    for step, value in enumerate(measured, start=1):
        if step % EPOCH:
            assert value is None
            continue
        model.load_state_dict(seen[step], strict=False)
        with torch.inference_mode():
            logits = torch.cat(
                [
                    model(**tokenizer(text, return_tensors="pt")).logits
                    for text in dev["text"].to_pylist()
                ]
            )
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor(labels).long()).item()
        if metric == "loss":
            assert value == pytest.approx(loss, rel=1e-5)
            num_compared += 1
            continue
        # Texts whose scores differ by rounding alone may change places in a batch.
        scores = logits.softmax(-1)[:, 1].double().numpy()
        low, high = (
            sklearn.metrics.roc_auc_score(labels, scores + shift * labels)
            for shift in (-1e-5, 1e-5)
        )
        assert low - 1e-9 <= value <= high + 1e-9
        num_compared += low == high
    assert num_compared >= 1


@pytest.mark.parametrize(("architecture", "method", "rate", "early"), CASES)
def test_a_trial_that_is_killed_at_any_time_has_the_same_bytes(
    architecture: str,
    method: str,
    rate: float,
    early: dict[str, Any],
    make_spec: MakeSpec,
    tiny_dataset: Dataset,
    tmp_path: Path,
) -> None:
    spec = make_early(make_spec, architecture, method, rate, early_stopping=early)
    undisturbed = run_trial(spec, tiny_dataset, keep_models="all")
    best, last = (EPOCH * epoch for epoch in find_epochs(undisturbed))
    steps = sorted(
        {2, best, min(best + 1, last), last - 1, last}
    )  # also after training has stopped
    resumed = run_killed_at(steps, spec, tiny_dataset, located(tmp_path))
    assert_same_bytes(resumed, undisturbed)


def test_members_of_a_pack_stop_each_at_its_own_epoch(
    make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    plain = {"training": {"num_train_epochs": 6, "batch_size": 8}}
    specs = [
        *(
            make_early(
                make_spec, "llama", "lora", 5e-3,
                seed=seed, early_stopping={"metric": "auroc", "patience": patience},
            )
            for seed, patience in ((0, 1), (0, 2), (2, 2))
        ),
        make_spec("llama", seed=1, **plain),
    ]  # fmt: skip
    results = packed(specs, tiny_dataset)
    assert [len(result.history) / EPOCH for result in results] == [2, 5, 3, 6]
    for spec, result in zip(specs, results, strict=True):
        alone = run_trial(spec, tiny_dataset)
        assert result.execution["packed"] == len(specs)
        assert len(result.history) == len(alone.history)
        assert result.convergence.get("best_epoch") == alone.convergence.get("best_epoch")
        np.testing.assert_allclose(
            result.predictions["y_score"], alone.predictions["y_score"], atol=1e-5, rtol=0
        )


def test_target_rows_of_a_fold_are_held_out_of_training(
    make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    spec = make_early(
        make_spec, "bert", "full", 1e-2, early_stopping={"dev": "target", "num_folds": 2}
    )
    plain = spec.model_copy(
        update={"training": spec.training.model_copy(update={"early_stopping": None})}
    )
    dev = draw_stopping_rows(tiny_dataset, spec)
    assert dev is not None and draw_stopping_rows(tiny_dataset, plain) is None
    (train, test), (plain_train, plain_test) = (draw_rows(tiny_dataset, s) for s in (spec, plain))
    assert test.equals(plain_test)
    held_out = {*dev["id"].to_pylist()}
    assert set(dev["lang"].to_pylist()) == {"ja"} and len(held_out) == 4
    assert {*plain_train["id"].to_pylist()} == {*train["id"].to_pylist(), *held_out}
    result = run_trial(spec, tiny_dataset)
    assert spec.num_steps == 6 * math.ceil((24 + 8 - 4) / 8)
    assert len(result.history) <= spec.num_steps
    assert not held_out & {*result.train_rows["id"].to_pylist()}
    assert not held_out & {*result.predictions["id"].to_pylist()}


def test_a_trial_of_a_search_stops_on_the_dev_rows_of_the_search(
    make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    spec = make_early(
        make_spec, "bert", "full", 1e-2, dev=SourceDev(rows=8), early_stopping={"patience": 6}
    )
    assert spec.stopping_dev is None and draw_stopping_rows(tiny_dataset, spec) is None
    result = run_trial(spec, tiny_dataset)
    scores = result.predictions["y_score"].to_numpy()
    loss = sklearn.metrics.log_loss(result.predictions["y_true"].to_numpy(), scores)
    values = [value for value in result.history["dev_metric"].to_pylist() if value is not None]
    assert min(values) == pytest.approx(loss, rel=1e-12)


def test_weights_that_are_no_numbers_end_a_trial(
    make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    with pytest.raises(DivergedError):
        run_trial(make_early(make_spec, "llama", "lora", 1e30), tiny_dataset)


NUM_WORKERS = 2


def stop_together(rank: int, folder: str, texts: list[str]) -> None:
    """One worker: each trial, and the same trial from a checkpoint after its best epoch."""
    dataset = Dataset.from_table(pq.read_table(f"{folder}/rows.parquet"))
    for number, text in enumerate(texts):
        spec = TrialSpec.parse(json.loads(text))
        whole = run_trial(spec, dataset, keep_models="all")
        at = EPOCH * int(whole.convergence["num_epochs"]) - 1
        resumed = run_killed_at((at,), spec, dataset, Results(f"{folder}/results-{number}"))
        for first, second in zip(tables_of(whole), tables_of(resumed), strict=True):
            assert first.equals(second)
        Path(folder, f"{number}-stopped-{rank}").write_text(str(len(whole.history)))
        if rank == 0:
            weights: tuple[Weights, Weights] = load_weights(whole), load_weights(resumed)
            assert all(torch.equal(weights[1][name], weights[0][name]) for name in weights[0])
            pq.write_table(whole.predictions, f"{folder}/{number}.parquet")


@pytest.mark.chaos
def test_workers_stop_at_the_same_step(
    make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    specs = [
        make_early(
            make_spec, "llama", method, 5e-3, seed=2,
            early_stopping={"patience": 1, "metric": "auroc"},
            resources={"workers": NUM_WORKERS, "sharding": sharding},
            **({"lora": {"lora_dropout": 0.0}} if method == "lora" else {}),
        )
        for method in ("full", "lora")
        for sharding in ("ddp", "fsdp")
    ]  # fmt: skip

    def run() -> None:
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
        pq.write_table(tiny_dataset.table, tmp_path / "rows.parquet")
        for number in range(len(specs)):
            located(tmp_path / f"results-{number}")
        texts = [spec.model_dump_json() for spec in specs]
        run_together(stop_together, (str(tmp_path), texts), NUM_WORKERS)

    run_together_again(run)
    for number, spec in enumerate(specs):
        alone = run_trial(spec, tiny_dataset)
        assert alone.convergence["num_epochs"] < 6
        stopped = [(tmp_path / f"{number}-stopped-{r}").read_text() for r in range(NUM_WORKERS)]
        assert stopped == [str(len(alone.history))] * NUM_WORKERS
        together = pq.read_table(tmp_path / f"{number}.parquet")["y_score"].to_numpy()
        expected = alone.predictions["y_score"].to_numpy()
        np.testing.assert_allclose(together, expected, atol=1e-4, rtol=0)


def test_metrics_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    y_true, y_score = rng.integers(0, 2, 50), rng.random(50)
    assert compute_dev_metric("loss", y_true, y_score) == sklearn.metrics.log_loss(y_true, y_score)
    assert compute_dev_metric("f1", y_true, y_score) == sklearn.metrics.f1_score(
        y_true, y_score >= 0.5
    )
    three, classes = rng.dirichlet(np.ones(3), 50), rng.integers(0, 2, 50)  # one class is absent
    assert compute_dev_metric("loss", classes, three) == pytest.approx(
        -np.log(three[np.arange(50), classes]).mean()
    )


@pytest.mark.parametrize(
    ("metric", "num_classes", "sentence"),
    [
        ("aurok", 2, r"unknown metric 'aurok'. Did you mean 'auroc'"),
        ("log_loss", 2, r"Did you mean 'loss'"),
        ("f1", 3, r"unknown metric 'f1'"),
    ],
)
def test_unknown_metrics_are_refused(metric: str, num_classes: int, sentence: str) -> None:
    check_dev_metric(None, num_classes)
    check_dev_metric(EarlyStopping(metric="accuracy"), num_classes)
    with pytest.raises(InputError, match=sentence):
        check_dev_metric(EarlyStopping(metric=metric), num_classes)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"early_stopping": {"patience": 0}}, "early_stopping.patience: should be greater than 0"),
        ({"early_stopping": {"dev": "test"}}, "early_stopping.dev: should be 'source' or 'target'"),
        ({"early_stopping": {"rows": 3}}, "unknown key 'rows'"),
        (
            {"early_stopping": {}, "average": {"last_k": 2}},
            "average and early_stopping both choose the weights that count; set one of them to",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Training.parse(values)
