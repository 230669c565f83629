"""Class weights: the losses of torch and of the HF Trainer, for any size of the passes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from grids import load_grid
from hf_trainer import build_without_dropout, train_both, training_rows
from sklearn.utils.class_weight import compute_class_weight

from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import Dataset
from xlt.sweep.experiment.experiment import load_experiment
from xlt.sweep.planning.grid import expand
from xlt.sweep.planning.prepare import prepare
from xlt.trainables.spec.class_weights import check_class_weights, compute_class_weights
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.classification import Classification, fit_classifier
from xlt.trainables.trial.run_pack import run_pack
from xlt.trainables.trial.run_trial import run_trial

MakeSpec = Callable[..., TrialSpec]
WEIGHTS = [1.0, 6.0]


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    labels = [0] * 7 + [1] * 3 + [2] * 2
    expected = compute_class_weight("balanced", classes=np.arange(3), y=np.array(labels))
    assert compute_class_weights("balanced", labels, "abc") == pytest.approx(expected)
    assert compute_class_weights({"b": 4.0}, labels, "abc") == [1.0, 4.0, 1.0]
    assert compute_class_weights(None, labels, "abc") is None


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
def test_a_step_learns_the_same_for_any_size_of_its_passes(
    size: int | None, make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    spec = make_spec("bert", resources={"micro_batch_size": size})
    token_ids, labels = training_rows(spec, tiny_dataset)
    model = build_without_dropout(spec)
    task = Classification(model, token_ids, labels, spec, WEIGHTS)
    batch = [0, 1, 2, 4, 6, 8, 10]  # unequal numbers of both classes
    loss = task.make_micro_batches()(batch)
    gradient = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    logits = torch.cat([
        model(input_ids=torch.tensor([token_ids[row]])).logits for row in batch
    ])  # fmt: skip
    model.zero_grad()
    expected = torch.nn.CrossEntropyLoss(weight=torch.tensor(WEIGHTS))(
        logits, torch.tensor([labels[row] for row in batch])
    )
    torch.autograd.backward(expected)
    torch.testing.assert_close(loss, expected.detach(), atol=1e-5, rtol=1e-4)
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(gradient[name], parameter.grad, atol=1e-5, rtol=1e-3)


def test_weights_reach_trials_alone_and_in_a_pack(
    make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    weighted = {"class_weights": {"positive": 20.0}, "num_train_epochs": 4, "batch_size": 8}
    specs = [make_spec("llama", training=weighted, seed=seed) for seed in (0, 1)]
    plain = make_spec("llama", training={"num_train_epochs": 4, "batch_size": 8})
    alone = run_trial(specs[0], tiny_dataset)
    scores = np.array(alone.predictions["y_score"].to_pylist())
    unweighted = np.array(run_trial(plain, tiny_dataset).predictions["y_score"].to_pylist())
    assert np.abs(scores - unweighted).max() > 0.01
    assert alone.convergence["label_entropy"] == pytest.approx(
        -sum(p * np.log(p) for p in (1 / 21, 20 / 21))
    )
    packed: dict[TrialSpec, Any] = {
        spec.seed: outcome for spec, outcome in run_pack(specs, tiny_dataset)
    }
    assert packed[0].execution["packed"] == 2
    np.testing.assert_allclose(packed[0].predictions["y_score"].to_pylist(), scores, atol=1e-5)


def test_class_weights_change_the_id_and_their_absence_does_not() -> None:
    plain, weighted = (
        load_grid("quickstart", "seeds=[0]", *settings).specs[0]
        for settings in ([], ["training.class_weights={positive: 5}"])
    )
    assert "class_weights" not in plain.identity()["training"]
    assert weighted.identity()["training"]["class_weights"] == {"positive": 5.0}
    assert weighted.trial_id != plain.trial_id


def test_unknown_classes_are_refused_before_a_launch() -> None:
    experiment = load_experiment("quickstart", ["training.class_weights={positve: 5}"])
    with pytest.raises(InputError, match="class_weights: unknown class 'positve'"):
        expand(prepare(experiment))
    check_class_weights("balanced", ["a", "b"])
