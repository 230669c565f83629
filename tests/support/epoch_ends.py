"""Trials whose weights are chosen at the ends of epochs, and trials that are killed on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from safetensors.torch import load

from xlt.data.dataset.schema import Dataset
from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import TrialResult
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.checkpoints import Checkpoints
from xlt.trainables.trial import fit_stages as fit_stages_module
from xlt.trainables.trial.run_trial import run_trial
from xlt.trainables.trial.signature import read_versions

Weights = dict[str, torch.Tensor]


def located(folder: Path) -> Results:
    """Results in a folder."""
    results = Results(str(folder))
    results.prepare()
    return results


def load_weights(result: TrialResult) -> Weights:
    """Weights of a kept model, by the names of a trial's classifier."""
    (name,) = (name for name in result.model if name.endswith(".safetensors"))
    weights = load(result.model[name])
    if name == "model.safetensors":
        return weights
    return {_name_in_classifier(key): weight for key, weight in weights.items()}


def _name_in_classifier(key: str) -> str:
    """Name of a weight of peft's file: the file leaves out the name of the adapter."""
    parts = key.split(".")
    own = [] if {"lora_A", "lora_B"} & {*parts} else ["modules_to_save"]
    return ".".join([*parts[:-1], *own, "default", parts[-1]])


def weights_of_steps(
    spec: TrialSpec, dataset: Dataset, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[int, Weights], TrialResult]:
    """Train all rows to the last epoch, and read the weights of every checkpoint."""
    results, seen = located(folder), dict[int, Weights]()

    class Watched(Checkpoints):
        def save(self, model: Any, optimizer: Any, step: int, *rest: Any) -> None:
            super().save(model, optimizer, step, *rest)
            tensors = load(results.read("checkpoints", f"{self.trial_id}.safetensors"))
            seen[step] = {
                name.removeprefix("model."): tensor
                for name, tensor in tensors.items()
                if name.startswith("model.")
            }

    plain = spec.training.model_copy(update={"average": None, "early_stopping": None})
    spec = spec.model_copy(update={"training": plain})
    kept = Watched(results, spec.trial_id, 0, read_versions())
    with monkeypatch.context() as patched:
        patched.setattr(fit_stages_module, "train_used_rows", lambda *_: None)
        return seen, run_trial(spec, dataset, checkpoints=kept)


class KilledError(BaseException):
    """Ends a trial as SIGKILL does."""


def run_killed_at(
    steps: tuple[int, ...], spec: TrialSpec, dataset: Dataset, results: Results
) -> TrialResult:
    """Run a trial that is killed after each of the steps and then resumes."""

    class Cut(Checkpoints):
        last = 0

        def save(self, model: Any, optimizer: Any, step: int, *rest: Any) -> None:
            super().save(model, optimizer, step, *rest)
            if step == self.last:
                raise KilledError

    for step in steps:
        cut = Cut(results, spec.trial_id, 0, read_versions())
        cut.last = step
        with pytest.raises(KilledError):
            run_trial(spec, dataset, checkpoints=cut)
        torch.manual_seed(12345)
    kept = Checkpoints(results, spec.trial_id, 0, read_versions())
    resumed = run_trial(spec, dataset, keep_models="all", checkpoints=kept)
    assert resumed.execution["resumed_at_steps"] == list(steps)
    return resumed


def tables_of(result: TrialResult) -> list[pa.Table]:
    """Tables of a result."""
    return [result.predictions, result.history, result.train_rows]


def assert_same_bytes(first: TrialResult, second: TrialResult) -> None:
    """Tables, weights and convergence of two results are equal."""
    for one, other in zip(tables_of(first), tables_of(second), strict=True):
        assert one.equals(other)
    assert (first.model, first.convergence) == (second.model, second.convergence)
