"""Training only the embedding rows that occur gives the bytes of training all rows."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from dry_run_specs import make_spec as make_step_spec
from gloo_group import run_together
from killed_trials import KilledError
from safetensors.torch import load
from tiny_checkpoints import make_classifier, make_config
from torch import nn

from xlt.data.dataset.schema import Dataset
from xlt.trainables.loading.base import Base
from xlt.trainables.methods.full import build
from xlt.trainables.methods.used_rows import UsedRows, restore_all_rows, train_used_rows
from xlt.trainables.models.architectures import ARCHITECTURES
from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import TrialResult
from xlt.trainables.spec.resources import Resources
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.checkpoints import Checkpoints
from xlt.trainables.training.classification import FitResult, fit_classifier
from xlt.trainables.training.loop import predict
from xlt.trainables.trial import fit_stages as fit_stages_module
from xlt.trainables.trial.run_trial import run_trial
from xlt.trainables.trial.signature import read_versions

pytestmark = pytest.mark.usefixtures("one_thread")

MakeSpec = Callable[..., TrialSpec]
VOCABULARY = 1003
NUM_ROWS = 40


def draw_texts(num: int, tokens: range, seed: int) -> list[list[int]]:
    rng = random.Random(seed)
    return [rng.choices(tokens, k=rng.randint(3, 12)) for _ in range(num)]


def train(
    spec: TrialSpec, config: Any, is_plain: bool, texts: list[list[int]]
) -> tuple[FitResult, Any, bool]:
    """Fine-tune a classifier, and return whether it trained only the used rows."""
    torch.manual_seed(0)
    base = Base(tokenizer=None, model=make_classifier(config), head_modules=())
    model = build(base, spec)
    if not is_plain:
        train_used_rows(model, base.model, texts)
    has_used_rows = isinstance(model.get_input_embeddings(), UsedRows)
    labels = [row % 2 for row in range(len(texts))]
    torch.manual_seed(1)
    fitted = fit_classifier(model, texts, labels, spec, lambda *_: None)
    rates = fitted.history["learning_rate"].to_pylist()
    restore_all_rows(model, rates, spec.training.weight_decay, fitted.kept_steps)
    return fitted, model, has_used_rows


def assert_same_bytes(spec: TrialSpec, config: Any, uses_rows: bool = True) -> None:
    texts = draw_texts(NUM_ROWS, range(100, 400), seed=0)
    other_texts = draw_texts(NUM_ROWS, range(4, VOCABULARY), seed=1)
    plain, plain_model, _ = train(spec, config, True, texts)
    fitted, model, has_used_rows = train(spec, config, False, texts)
    assert has_used_rows == uses_rows
    assert fitted.history.equals(plain.history)
    assert np.array_equal(fitted.train_score, plain.train_score)
    weights, plain_weights = model.state_dict(), plain_model.state_dict()
    assert list(weights) == list(plain_weights)
    assert all(torch.equal(weights[name], plain_weights[name]) for name in weights)
    assert type(model.get_input_embeddings()) is type(plain_model.get_input_embeddings())
    assert repr(model) == repr(plain_model)
    scores, plain_scores = (predict(m, other_texts, spec) for m in (model, plain_model))
    assert np.array_equal(scores, plain_scores)


def make_training_spec(**training: Any) -> TrialSpec:
    spec = make_step_spec("full")
    values = {"num_train_epochs": 3, "batch_size": 8, "weight_decay": 0.1, "max_grad_norm": 0.5}
    return spec.model_copy(update={"training": spec.training.model_copy(update=values | training)})


@pytest.mark.parametrize("model_type", sorted(ARCHITECTURES))
def test_every_architecture_gives_the_same_bytes(model_type: str) -> None:
    heads = {"num_key_value_heads": 2} if ARCHITECTURES[model_type].kind == "decoder" else {}
    config = make_config(model_type, vocab_size=VOCABULARY, pad_token_id=0, **heads)
    is_scaled = model_type.startswith("gemma")  # a subclass of nn.Embedding multiplies its rows
    assert_same_bytes(make_training_spec(), config, uses_rows=not is_scaled)


@pytest.mark.parametrize(
    "training",
    [
        {"warmup_ratio": 0.2},
        {"weight_decay": 0.0},
        {"lr_schedule": "constant", "max_grad_norm": 1e9},
        {"precision": "bf16"},
    ],
)
def test_settings_of_training_give_the_same_bytes(training: dict[str, Any]) -> None:
    config = make_config("bert", vocab_size=VOCABULARY, pad_token_id=0)
    assert_same_bytes(make_training_spec(**training), config)


def norm_changes(num_rows: int, num_used: int, width: int, seed: int) -> bool:
    """Return whether rows of zeros change a bit of the norm that gradients are clipped by."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(num_rows, generator=generator)[:num_used].sort().values
    used = torch.nn.Parameter(torch.zeros(num_used, width))
    every = torch.nn.Parameter(torch.zeros(num_rows, width))
    used.grad = torch.randn(num_used, width, generator=generator)
    every.grad = torch.zeros(num_rows, width).index_copy(0, rows, used.grad)
    norms = [torch.nn.utils.clip_grad_norm_([weight], 1e9) for weight in (used, every)]
    return norms[0].item() != norms[1].item()


@pytest.mark.parametrize("num_threads", [1, 2, 4])
def test_zero_rows_change_no_bit_of_the_clipping_norm(num_threads: int) -> None:
    """The tables are larger than the pieces that torch gives to its threads."""
    torch.set_num_threads(num_threads)
    assert not any(norm_changes(5000, 900, 128, seed) for seed in range(20))
    assert not norm_changes(60_000, 2000, 384, seed=0)
    assert any(norm_changes(5000, 900, 127, seed) for seed in range(20))  # no whole lanes


def test_micro_batches_and_checkpointing_give_the_same_bytes() -> None:
    config = make_config("bert", vocab_size=VOCABULARY, pad_token_id=0)
    spec = make_training_spec()
    resources = {"micro_batch_size": 3, "gradient_checkpointing": True}
    resources = spec.resources.model_copy(update=resources)
    assert_same_bytes(spec.model_copy(update={"resources": resources}), config)


def test_a_pad_token_that_is_not_the_padding_row() -> None:
    """The row of padding_idx has no gradient, also if a text contains it."""
    for padding in (150, 900):  # in texts; in no text
        config = make_config("bert", vocab_size=VOCABULARY, pad_token_id=padding)
        texts = draw_texts(NUM_ROWS, range(100, 400), seed=0)
        models = []
        for is_plain in (True, False):
            torch.manual_seed(0)
            base = Base(tokenizer=None, model=make_classifier(config), head_modules=())
            base.model.config.pad_token_id = 0
            spec, model = make_training_spec(), build(base, make_training_spec())
            if not is_plain:
                train_used_rows(model, base.model, texts)
            fitted = fit_classifier(model, texts, [0, 1] * (NUM_ROWS // 2), spec, lambda *_: None)
            rates = fitted.history["learning_rate"].to_pylist()
            restore_all_rows(model, rates, spec.training.weight_decay, fitted.kept_steps)
            models.append(model)
        first, second = (model.get_input_embeddings() for model in models)
        assert first.padding_idx == second.padding_idx == padding
        assert torch.equal(first.weight, second.weight)


@pytest.mark.parametrize("reason", ["width", "tied", "unlisted", "frozen", "many", "norm"])
def test_other_models_train_all_rows(reason: str) -> None:
    width = 36 if reason == "width" else 32
    config = make_config("bert", vocab_size=VOCABULARY, pad_token_id=0, hidden_size=width)
    model = make_classifier(config)
    base = Base(tokenizer=None, model=model, head_modules=())
    embeddings = model.get_input_embeddings()
    if reason == "tied":
        model.output = nn.Linear(width, VOCABULARY, bias=False)
        model.output.weight = embeddings.weight
    if reason == "norm":
        embeddings.max_norm = 1.0
    classifier = build(base, make_training_spec())
    if reason == "frozen":
        classifier.get_input_embeddings().weight.requires_grad_(False)
    if reason == "unlisted":
        model.config.model_type = "some_other"
    tokens = range(4, VOCABULARY) if reason == "many" else range(4, 40)
    train_used_rows(classifier, model, [list(tokens)])
    assert type(classifier.get_input_embeddings()) is nn.Embedding


def test_a_token_without_a_row_is_an_error() -> None:
    embeddings = UsedRows(nn.Embedding(10, 16), [2, 5])
    assert embeddings(torch.tensor([[5, 2]])).shape == (1, 2, 16)
    with pytest.raises(IndexError):
        embeddings(torch.tensor([3]))


def test_unused_rows_decay_as_in_adamw_of_torch() -> None:
    """Golden: torch's own AdamW on rows whose gradient is zero."""
    torch.manual_seed(0)
    embeddings = nn.Embedding(3000, 32)
    rates = [random.Random(0).uniform(0, 1e-2) for _ in range(200)]
    weight = nn.Parameter(embeddings.weight.detach().clone())
    optimizer = torch.optim.AdamW([weight], weight_decay=0.3, fused=True)
    for rate in rates:
        optimizer.param_groups[0]["lr"] = rate
        weight.grad = torch.zeros_like(weight)
        optimizer.step()
    expanded = UsedRows(embeddings, [7]).expand([[1 - rate * 0.3 for rate in rates]]).weight
    assert torch.equal(expanded[8:], weight[8:])
    assert torch.equal(expanded[7], embeddings.weight[7])


def run_bert(
    make_spec: MakeSpec, dataset: Dataset, folder: Path, **options: Any
) -> tuple[TrialResult, TrialSpec]:
    """Run a trial of BERT with a larger embedding matrix than its tokenizer needs."""
    config = make_config("bert", vocab_size=VOCABULARY, pad_token_id=0)
    spec = make_spec("bert")
    if not (folder / "config.json").exists():
        torch.manual_seed(0)
        classifier = make_classifier(config)
        classifier.base_model.save_pretrained(folder)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).write_bytes((Path(spec.base_path) / name).read_bytes())
    spec = spec.model_copy(
        update={"base_path": str(folder), "base_identity": "test:large-vocabulary"}
    )
    return run_trial(spec, dataset, keep_models="all", **options), spec


def assert_same_result(first: TrialResult, second: TrialResult) -> None:
    for table in ("predictions", "history", "train_rows"):
        assert getattr(first, table).equals(getattr(second, table))
    assert first.model == second.model
    assert first.metrics == second.metrics


def test_a_trial_gives_the_same_files_and_leaves_the_base_unchanged(
    make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = run_bert(make_spec, tiny_dataset, tmp_path)
    second, _ = run_bert(make_spec, tiny_dataset, tmp_path)  # of the same loaded base
    monkeypatch.setattr(fit_stages_module, "train_used_rows", lambda *_: None)
    plain, _ = run_bert(make_spec, tiny_dataset, tmp_path)
    for result in (first, second):
        assert_same_result(result, plain)
    weights = load(first.model["model.safetensors"])
    assert weights["bert.embeddings.word_embeddings.weight"].shape[0] == VOCABULARY


def train_together(rank: int, folder: str, text: str) -> None:
    """One worker: a trial that trains the used rows, and the same trial with all rows."""
    spec = TrialSpec.parse(json.loads(text))
    dataset = Dataset.from_table(pq.read_table(f"{folder}/rows.parquet"))
    used = run_trial(spec, dataset, keep_models="all")
    calls: list[Any] = []
    fit_stages_module.train_used_rows = lambda *arguments: calls.append(arguments)
    plain = run_trial(spec, dataset, keep_models="all")
    assert_same_result(used, plain)
    if rank == 0:
        assert (len(calls) > 0) == (spec.resources.sharding == "ddp")
        assert "bert.embeddings.word_embeddings.weight" in load(used.model["model.safetensors"])
        Path(folder, "compared").touch()


@pytest.mark.slow
@pytest.mark.parametrize("sharding", ["ddp", "fsdp"])
def test_two_processes_give_the_same_files(
    sharding: str, make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    _, spec = run_bert(make_spec, tiny_dataset, tmp_path)
    pq.write_table(tiny_dataset.table, tmp_path / "rows.parquet")
    resources = Resources(workers=2, sharding=sharding)
    spec = spec.model_copy(update={"resources": resources})
    run_together(train_together, (str(tmp_path), spec.model_dump_json()), resources.workers)
    assert (tmp_path / "compared").exists()


class _Killed(Checkpoints):
    def save(self, model: Any, optimizer: Any, step: int, *rest: Any) -> None:
        super().save(model, optimizer, step, *rest)
        if step == 3:
            raise KilledError


@pytest.mark.parametrize("is_plain", [False, True])
def test_a_checkpoint_of_used_rows_is_resumed_only_by_used_rows(
    is_plain: bool,
    make_spec: MakeSpec,
    tiny_dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, results = tmp_path / "base", Results(str(tmp_path / "results"))
    folder.mkdir()
    results.prepare()
    undisturbed, spec = run_bert(make_spec, tiny_dataset, folder)
    with pytest.raises(KilledError):
        killed = _Killed(results, spec.trial_id, 0, read_versions())
        run_bert(make_spec, tiny_dataset, folder, checkpoints=killed)
    saved = results.read_checkpoint(spec.trial_id)
    assert saved
    shape = load(saved)["model.bert.embeddings.word_embeddings.weight"].shape
    assert shape[0] < VOCABULARY / 2
    if is_plain:  # as on a GPU
        monkeypatch.setattr(fit_stages_module, "train_used_rows", lambda *_: None)
    kept = Checkpoints(results, spec.trial_id, 3600, read_versions())
    resumed, _ = run_bert(make_spec, tiny_dataset, folder, checkpoints=kept)
    assert resumed.execution["resumed_at_steps"] == ([] if is_plain else [3])
    assert_same_result(resumed, undisturbed)
