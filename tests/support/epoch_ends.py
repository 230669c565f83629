"""Weights of trials after each epoch, and of kept models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from killed_trials import located
from safetensors.torch import load

from xlt.data.dataset.schema import Dataset
from xlt.trainables.results.trial_result import TrialResult
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.checkpoints import Checkpoints
from xlt.trainables.trial import fit_stages as fit_stages_module
from xlt.trainables.trial.run_trial import run_trial
from xlt.trainables.trial.signature import read_versions

Weights = dict[str, torch.Tensor]


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
