"""Weights of rows: the losses of torch, scikit-learn and the HF Trainer, for any size of passes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from grids import load_grid
from hf_trainer import build_without_dropout, train_both, training_rows
from packed_trials import assert_as_alone
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_sample_weight

from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import Dataset
from xlt.sweep.experiment.experiment import load_experiment
from xlt.sweep.planning.grid import expand
from xlt.sweep.planning.prepare import prepare
from xlt.trainables.spec.row_weights import check_class_weights, weigh_in_epoch, weigh_rows
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.classification import Classification, fit_classifier
from xlt.trainables.trial.run_trial import run_trial

MakeSpec = Callable[..., TrialSpec]
WEIGHTS = [1.0, 6.0]
WEIGHTED = {"class_weights": {"positive": 5.0}, "loss_weights": {"ja": 8.0}}


def rows_of(labels: list[int], langs: list[str]) -> pa.Table:
    return pa.table({"label": labels, "lang": langs})


def test_balanced_weights_are_those_of_scikit_learn(make_spec: MakeSpec) -> None:
    labels, langs = [0] * 7 + [1] * 3 + [2] * 2, ["en"] * 9 + ["ja"] * 3
    rows, plain = rows_of(labels, langs), make_spec("bert")

    def weigh(**training: Any) -> Any:
        return weigh_rows(make_spec("bert", training=training), rows, ["a", "b", "c"])

    by_class, by_lang = (compute_sample_weight("balanced", groups) for groups in (labels, langs))
    np.testing.assert_allclose(weigh(class_weights="balanced"), by_class)
    np.testing.assert_allclose(weigh(loss_weights="balanced"), by_lang)
    both = weigh(class_weights="balanced", loss_weights="balanced")
    np.testing.assert_allclose(both, by_class * by_lang)
    assert weigh(class_weights={"b": 4.0}).tolist() == [1.0] * 7 + [4.0] * 3 + [1.0] * 2
    assert weigh(loss_weights={"ja": 4.0, "en": 2}).tolist() == [2.0] * 9 + [4.0] * 3
    assert weigh_rows(plain, rows, "abc") is None
    assert weigh_in_epoch(plain, rows, "abc").tolist() == [1.0] * 12


def test_balanced_languages_weigh_the_same_in_an_epoch_that_repeats_rows(
    make_spec: MakeSpec,
) -> None:
    rows = rows_of([0, 1] * 16, ["en"] * 24 + ["ja"] * 8)
    training = {"loss_weights": "balanced", "target_share": 0.75}
    in_epoch = weigh_in_epoch(make_spec("bert", training=training), rows, "ab")
    assert in_epoch[:24].sum() == pytest.approx(in_epoch[24:].sum())
    shared = make_spec("bert", training={"target_share": 0.75})
    assert weigh_in_epoch(shared, rows, "ab").tolist() == [1.0] * 24 + [9.0] * 8


def test_losses_and_gradients_are_those_of_the_hf_trainer_with_weights(
    make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    spec = make_spec("bert")
    token_ids, labels = training_rows(spec, tiny_dataset)
    history, trainer = train_both(spec, token_ids, labels, tmp_path, WEIGHTS)
    logged = [entry["grad_norm"] for entry in trainer.state.log_history if "grad_norm" in entry]
    np.testing.assert_allclose(history["loss"].to_pylist(), trainer.losses, atol=1e-5, rtol=0)
    np.testing.assert_allclose(history["grad_norm"].to_pylist(), logged, atol=1e-4, rtol=1e-4)
    plain = fit_classifier(build_without_dropout(spec), token_ids, labels, spec, lambda *_: None)
    assert plain.history["loss"].to_pylist() != pytest.approx(trainer.losses, abs=1e-3)


@pytest.mark.parametrize("size", [1, 3, None])
def test_a_weight_is_that_of_scikit_learn_and_of_a_repeated_row_for_any_size_of_passes(
    size: int | None, make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    spec = make_spec("bert", resources={"micro_batch_size": size})
    token_ids, labels = training_rows(spec, tiny_dataset)
    model, batch = build_without_dropout(spec), [0, 1, 2, 4, 6, 8, 10]
    weights = [1, 6, 2, 1, 3, 1, 1]
    row_weights = [float(dict(zip(batch, weights, strict=True)).get(row, 1)) for row in range(32)]
    task = Classification(model, token_ids, labels, spec, row_weights)
    loss = task.make_micro_batches()(batch)
    gradient = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    logits = torch.cat([
        model(input_ids=torch.tensor([token_ids[row]])).logits for row in batch
    ])  # fmt: skip
    model.zero_grad()
    y_true, times = torch.tensor([labels[row] for row in batch]), torch.tensor(weights)
    repeated = [tensor.repeat_interleave(times, dim=0) for tensor in (logits, y_true)]
    expected = torch.nn.CrossEntropyLoss()(*repeated)
    torch.autograd.backward(expected)
    torch.testing.assert_close(loss, expected.detach(), atol=1e-5, rtol=1e-4)
    probabilities = logits.detach().double().softmax(-1).numpy()
    assert float(loss) == pytest.approx(
        log_loss(y_true.numpy(), probabilities, sample_weight=weights), abs=1e-5
    )
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(gradient[name], parameter.grad, atol=1e-5, rtol=1e-3)


def test_weights_of_classes_alone_have_the_bits_of_torch(make_spec: MakeSpec) -> None:
    """Trials of earlier versions had torch's loss with weights of classes."""
    spec, rng = make_spec("bert"), torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (40,), generator=rng).tolist()
    weights = [WEIGHTS[label] / 7 for label in labels]
    task = Classification(build_without_dropout(spec), [[5]] * 40, labels, spec, weights)
    for num_rows in range(1, 40):
        logits = torch.randn(num_rows, 2, generator=rng, requires_grad=True)
        ours = task.compute_loss(list(range(num_rows)), logits, 1)
        theirs = torch.nn.CrossEntropyLoss(torch.tensor(WEIGHTS) / 7)(
            logits, torch.tensor(labels[:num_rows])
        )
        gradients = [torch.autograd.grad(loss, logits)[0] for loss in (ours, theirs)]
        assert ours.equal(theirs) and gradients[0].equal(gradients[1])


def test_weights_reach_trials_alone_and_in_a_pack(
    make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    settings: dict[str, Any] = {"num_train_epochs": 2, "batch_size": 8}

    def make(seed: int, **training: Any) -> TrialSpec:
        return make_spec(learning_rate=2e-3, training=settings | training, seed=seed)

    specs = [
        make(0, target_share=0.4, **WEIGHTED), make(1, **WEIGHTED), make(1, target_share=0.75),
    ]  # fmt: skip
    assert_as_alone(specs, tiny_dataset)
    alone, plain = (run_trial(spec, tiny_dataset) for spec in (specs[1], make(1)))
    scores = [np.array(result.predictions["y_score"].to_pylist()) for result in (alone, plain)]
    assert np.abs(scores[0] - scores[1]).max() > 0.01
    assert alone.convergence["label_entropy"] == pytest.approx(
        -sum(p * np.log(p) for p in (1 / 6, 5 / 6))
    )


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("class_weights={positive: 5}", {"class_weights": {"positive": 5.0}}),
        ("loss_weights={jpn_Jpan: 8, English: 1}", {"loss_weights": {"ja": 8.0}}),
        ("loss_weights=balanced", {"loss_weights": "balanced"}),
        ("target_share=0.5", {"target_share": 0.5}),
    ],
)
def test_settings_change_the_id_and_their_absence_does_not(
    setting: str, value: dict[str, Any]
) -> None:
    plain, weighted = (
        load_grid("quickstart", "seeds=[0]", "patterns=[ja16]", *settings).specs[0]
        for settings in ([], [f"training.{setting}"])
    )
    assert plain.training.model_dump() | value == weighted.identity()["training"]
    assert not value.keys() & plain.identity()["training"].keys()
    assert weighted.trial_id != plain.trial_id


def test_unknown_names_are_refused_before_a_launch() -> None:
    for setting, problem in (
        ("class_weights={positve: 5}", "class_weights: unknown class 'positve'"),
        ("loss_weights={jaa: 5}", r"loss_weights: unknown language 'jaa'. Did .*Known: en, ja"),
    ):
        experiment = load_experiment("quickstart", [f"training.{setting}"])
        with pytest.raises(InputError, match=problem):
            expand(prepare(experiment))
    check_class_weights("balanced", ["a", "b"])


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("loss_weights={ja: 0}", "loss_weights.ja: should be greater than 0"),
        ("loss_weights={ja: .inf}", r"loss_weights.ja: should be a finite number"),
        ("loss_weights={ja: 2, Japanese: 3}", "'Japanese' is ja, which another key is, too"),
        ("loss_weights=even", "loss_weights: should be 'balanced'"),
        ("target_share=1.0", "target_share: should be less than 1"),
        ("target_share=0", "target_share: should be greater than 0"),
        ("target_share=half", "target_share: should be a valid number"),
    ],
)
def test_wrong_values_are_refused(setting: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        load_experiment("quickstart", [f"training.{setting}"])
