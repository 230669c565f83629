"""The trained classifier of a done trial, from the weights in its folder."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from peft import set_peft_model_state_dict
from safetensors.torch import load

from data.errors import InputError
from trainables.loading import Base, load_base
from trainables.loop import base_dtype
from trainables.methods import METHODS
from trainables.result import Results
from trainables.spec import TrialSpec


def load_kept(spec: TrialSpec, results: Results, num_labels: int) -> tuple[Base, Any]:
    """Build a trial's classifier as it was built for training, and give it its trained weights.

    Args:
        spec: A done trial.
        results: Where its folder lies.
        num_labels: Classes of the head.

    Returns:
        The base model and the classifier, ready to predict.

    Raises:
        InputError: The trial is not done or kept no weights, or they are damaged.
    """
    tensors = _read_weights(spec, results)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(spec.resources.cpus)
    base = load_base(spec, device, base_dtype(spec, device), num_labels)
    model = METHODS[spec.method](base, spec)
    if spec.method == "lora":
        set_peft_model_state_dict(model, tensors)
    else:
        model.load_state_dict(tensors)
    return base, model.eval()


def weight_files(spec: TrialSpec, results: Results) -> dict[str, str]:
    """The files of weights that a trial kept, each with its SHA-256.

    Raises:
        InputError: The trial is not done or kept none, with how to keep them.
    """
    state = results.state(spec.trial_id)
    if state.state != "done" or state.record is None:
        raise InputError(f"the trial is {state.state}; `xlt run` finishes it")
    files = state.record["files"]
    names = sorted(n for n in files if n.startswith("model/") and n.endswith(".safetensors"))
    if not names:
        kept = "adapters" if spec.method == "lora" else "all"
        raise InputError(
            "the trial kept no model; remove its folder and train it again with "
            f"storage.keep_models={kept} (an `explain` block explains without a kept model)"
        )
    return {name: files[name]["sha256"] for name in names}


def _read_weights(spec: TrialSpec, results: Results) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
    for name, sha256 in weight_files(spec, results).items():
        content = results.read("trials", spec.trial_id, name)
        if hashlib.sha256(content).hexdigest() != sha256:
            raise InputError(f"{name} was changed after it was written; train the trial again")
        tensors |= load(content)
    return tensors
