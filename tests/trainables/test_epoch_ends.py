"""The weights of a trial are those that its settings name at the ends of epochs."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from dry_run_specs import make_spec as make_step_spec
from epoch_ends import Weights, load_weights, weights_of_steps
from gloo_group import run_together, run_together_again
from hf_trainer import batches_of, build_without_dropout, trainer_on, training_rows
from killed_trials import assert_same_bytes, located, run_killed_at, tables_of
from packed_trials import packed
from tiny_checkpoints import make_classifier, make_config
from torch.optim.swa_utils import AveragedModel
from transformers import TrainerCallback

from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import Dataset
from xlt.trainables.loading.base import Base
from xlt.trainables.methods.full import build
from xlt.trainables.methods.used_rows import restore_all_rows, train_used_rows
from xlt.trainables.results.result import Results
from xlt.trainables.spec.training import Training
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.checkpoints import Checkpoints
from xlt.trainables.training.classification import fit_classifier
from xlt.trainables.trial import run_trial as run_trial_module
from xlt.trainables.trial.run_trial import run_trial

pytestmark = pytest.mark.usefixtures("one_thread")

MakeSpec = Callable[..., TrialSpec]
CASES = (("bert", "full"), ("llama", "lora"))
LAST_3 = {"num_train_epochs": 5, "batch_size": 8, "average": {"last_k": 3}}
NO_DROPOUT = {"lora_dropout": 0.0}


def trained_weights(model: Any) -> Weights:
    return {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}


def make_case(make_spec: MakeSpec, architecture: str, method: str, **changes: Any) -> TrialSpec:
    lora = {"lora": NO_DROPOUT} if method == "lora" else {}
    return make_spec(architecture, method=method, **lora, **{"training": LAST_3} | changes)


class _KeptAtEpochs(TrainerCallback):
    """Keep the weights of the HF Trainer's model after each epoch, and average them as torch."""

    def __init__(self, model: Any, num_epoch_steps: int, first_epoch: int) -> None:
        self.model, self.num_epoch_steps, self.first_epoch = model, num_epoch_steps, first_epoch
        self.kept: list[Weights] = []
        self.averaged = AveragedModel(model)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step % self.num_epoch_steps == 0:
            self.kept.append(trained_weights(self.model))
            if len(self.kept) >= self.first_epoch:
                self.averaged.update_parameters(self.model)


@pytest.mark.parametrize(("architecture", "method"), CASES)
def test_the_mean_is_that_of_the_hf_trainers_epochs(
    architecture: str, method: str, make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    """Golden: plain arithmetic over states of the HF Trainer, and torch's AveragedModel."""
    spec = make_case(make_spec, architecture, method)
    token_ids, labels = training_rows(spec, tiny_dataset)
    ours, theirs = build_without_dropout(spec), build_without_dropout(spec)
    fitted = fit_classifier(ours, token_ids, labels, spec, lambda *_: None)
    batches = list(batches_of(spec, token_ids, labels, theirs.config.pad_token_id))
    trainer = trainer_on(theirs, spec, batches, tmp_path)
    kept = _KeptAtEpochs(theirs, len(batches) // 5, first_epoch=3)
    trainer.add_callback(kept)
    trainer.train()
    assert len(kept.kept) == 5
    assert list(fitted.kept_steps) == [12, 16, 20]
    averaged = trained_weights(kept.averaged.module)
    for name, weight in trained_weights(ours).items():
        mean = torch.stack([weights[name].double() for weights in kept.kept[2:]]).mean(0)
        torch.testing.assert_close(weight.double(), mean, atol=2e-5, rtol=0)
        torch.testing.assert_close(weight, averaged[name], atol=2e-5, rtol=0)
    assert any(torch.dist(trained_weights(ours)[n], w) > 1e-3 for n, w in kept.kept[-1].items())


@pytest.mark.parametrize(("architecture", "method"), CASES)
def test_a_trial_keeps_the_mean_of_its_epochs_and_trains_no_step_more(
    architecture: str,
    method: str,
    make_spec: MakeSpec,
    tiny_dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Golden: plain arithmetic over the checkpoints of a trial; dropout is on in both."""
    spec = make_spec(architecture, method=method, training=LAST_3)
    seen, plain = weights_of_steps(spec, tiny_dataset, tmp_path, monkeypatch)
    result = run_trial(spec, tiny_dataset, keep_models="all")
    assert result.history.equals(plain.history)
    assert result.train_rows.equals(plain.train_rows)
    assert not result.predictions["y_score"].equals(plain.predictions["y_score"])
    weights, compared = load_weights(result), 0
    for name in weights.keys() & seen[20].keys():
        terms = [seen[step][name].numpy() for step in (12, 16, 20)]
        mean = (terms[0] + terms[1] + terms[2]) / np.float32(3)
        assert np.array_equal(weights[name].numpy(), mean), name
        compared += 1
    assert compared >= 5


@pytest.mark.parametrize(("architecture", "method"), CASES)
def test_a_mean_that_is_resumed_has_the_same_bytes(
    architecture: str, method: str, make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    spec = make_spec(architecture, method=method, training=LAST_3)
    undisturbed = run_trial(spec, tiny_dataset, keep_models="all")
    steps = (11, 12, 13, 19, 20)  # before, at and after the first epoch that counts; at the end
    resumed = run_killed_at(steps, spec, tiny_dataset, located(tmp_path))
    assert_same_bytes(resumed, undisturbed)


def test_a_resumed_mean_needs_its_sums(
    make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above can fail: without the sums in the checkpoint the model is another one."""
    spec = make_spec("llama", training=LAST_3)
    undisturbed = run_trial(spec, tiny_dataset, keep_models="all")
    init = run_trial_module.Checkpoints.restore

    def forget(self: Checkpoints, model: Any, optimizer: Any, state: Any, workers: Any) -> int:
        step = init(self, model, optimizer, state, workers)
        for copy in state.copies:
            copy.zero_()
        return step

    monkeypatch.setattr(Checkpoints, "restore", forget)
    resumed = run_killed_at((13,), spec, tiny_dataset, located(tmp_path))
    assert resumed.model != undisturbed.model


@pytest.mark.parametrize("last_k", [2, 5])
def test_rows_of_unused_tokens_have_the_bytes_of_their_mean(last_k: int) -> None:
    """Rows of tokens without text only decay; their mean is that of training all rows."""
    spec = make_step_spec("full")
    values = {"num_train_epochs": 5, "batch_size": 8, "weight_decay": 0.1, "warmup_ratio": 0.2}
    training = Training.parse(spec.training.model_dump() | values | {"average": {"last_k": last_k}})
    spec = spec.model_copy(update={"training": training, "learning_rate": 5e-2})
    rng = random.Random(0)
    texts = [rng.choices(range(100, 400), k=rng.randint(3, 12)) for _ in range(36)]
    models = []
    for only_used in (True, False):
        torch.manual_seed(0)
        config = make_config("bert", vocab_size=1003, pad_token_id=0)
        base = Base(tokenizer=None, model=make_classifier(config), head_modules=())
        model = build(base, spec)
        if only_used:
            train_used_rows(model, base.model, texts)
        torch.manual_seed(1)
        fitted = fit_classifier(model, texts, [0, 1] * 18, spec, lambda *_: None)
        rates = fitted.history["learning_rate"].to_pylist()
        restore_all_rows(model, rates, training.weight_decay, fitted.kept_steps)
        models.append(model.state_dict())
    used, plain = models
    assert all(torch.equal(used[name], plain[name]) for name in plain)
    rows = used["bert.embeddings.word_embeddings.weight"][500:]
    initial = base.model.get_input_embeddings().weight[500:]
    assert not torch.equal(rows, initial)


def test_members_of_a_pack_have_their_own_means(make_spec: MakeSpec, tiny_dataset: Dataset) -> None:
    specs = [
        make_spec("llama", seed=seed, training={"num_train_epochs": 3, "batch_size": 8} | average)
        for seed, average in enumerate(({"average": {"last_k": 2}}, {"average": {"last_k": 3}}, {}))
    ]
    for spec, result in zip(specs, packed(specs, tiny_dataset), strict=True):
        assert result.execution["packed"] == 3
        alone = run_trial(spec, tiny_dataset)
        np.testing.assert_allclose(
            result.predictions["y_score"], alone.predictions["y_score"], atol=1e-5, rtol=0
        )


def test_micro_batches_change_no_mean(make_spec: MakeSpec, tiny_dataset: Dataset) -> None:
    whole, parts = (
        run_trial(make_case(make_spec, "llama", "lora", resources=resources), tiny_dataset)
        for resources in ({}, {"micro_batch_size": 3})
    )
    np.testing.assert_allclose(
        whole.predictions["y_score"], parts.predictions["y_score"], atol=1e-5, rtol=0
    )


NUM_WORKERS = 2


def train_together(rank: int, folder: str, texts: list[str]) -> None:
    """One worker: each trial, and the same trial from a checkpoint within its last epochs."""
    dataset = Dataset.from_table(pq.read_table(f"{folder}/rows.parquet"))
    for number, text in enumerate(texts):
        spec = TrialSpec.parse(json.loads(text))
        results = Results(f"{folder}/results-{number}")
        whole = run_trial(spec, dataset, keep_models="all")
        resumed = run_killed_at((13,), spec, dataset, results)
        for first, second in zip(tables_of(whole), tables_of(resumed), strict=True):
            assert first.equals(second)
        if rank == 0:
            assert load_weights(whole).keys() == load_weights(resumed).keys()
            for name, weight in load_weights(whole).items():
                assert torch.equal(weight, load_weights(resumed)[name]), name
            pq.write_table(whole.predictions, f"{folder}/{number}.parquet")


@pytest.mark.chaos
def test_workers_take_the_mean_together(
    make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    specs = [
        make_case(
            make_spec, "llama", method, resources={"workers": NUM_WORKERS, "sharding": sharding}
        )
        for method in ("full", "lora")
        for sharding in ("ddp", "fsdp")
    ]

    def run() -> None:
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
        pq.write_table(tiny_dataset.table, tmp_path / "rows.parquet")
        for number in range(len(specs)):
            located(tmp_path / f"results-{number}")
        texts = [spec.model_dump_json() for spec in specs]
        run_together(train_together, (str(tmp_path), texts), NUM_WORKERS)

    run_together_again(run)
    for number, spec in enumerate(specs):
        alone = run_trial(spec, tiny_dataset).predictions["y_score"].to_numpy()
        together = pq.read_table(tmp_path / f"{number}.parquet")["y_score"].to_numpy()
        np.testing.assert_allclose(together, alone, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("average", "sentence"),
    [
        ({"last_k": 4}, "average.last_k 4 is more than num_train_epochs 3; lower it, or train"),
        ({"last_k": 1}, "average.last_k: should be greater than 1"),
        ({"k": 3}, "unknown key 'k'"),
        (3, "average: should be a mapping"),
    ],
)
def test_averages_that_cannot_be_are_refused(average: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Training.parse({"num_train_epochs": 3, "average": average})
