"""Files of a kept model: weights, config with the names of the classes, and tokenizer."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save_file

from xlt.data.core.errors import InputError
from xlt.trainables.methods.adapted import is_adapted
from xlt.trainables.methods.lora_starts import STARTED, double_rank, give_back
from xlt.trainables.models.model_config import ADAPTER_CONFIG
from xlt.trainables.results.find_trial import list_kept_weights
from xlt.trainables.results.location import inside_root
from xlt.trainables.results.result import Results
from xlt.trainables.training.trained_weights import gather_trained_weights
from xlt.trainables.training.workers import Workers

CLASSIFIER_CONFIG = "classifier_config.json"
"""Config of the classifier that an adapter belongs to. Beside an adapter, transformers takes a
config.json as the sign of a complete model, and would look for the base model's weights there."""
TRAINED_WEIGHTS = "trained_weights.safetensors"
"""Weights of a classifier whose other weights are those of its base model. transformers does not
read a file of this name, with which it would draw the others at random."""
NAMES_OF_MODULES = (
    "target_modules", "modules_to_save", "exclude_modules", "target_parameters",
    "feedforward_modules",
)  # fmt: skip
"""Settings of adapters that are sets."""


def make_model_files(
    model: Any, tokenizer: Any, classes: Sequence[str], max_length: int, workers: Workers
) -> dict[str, bytes]:
    """Make the files of save_pretrained: config, tokenizer and safetensors.

    With adapters the weights are adapters and head, and the config is :data:`CLASSIFIER_CONFIG`. If
    other weights are frozen, the trained ones alone are in :data:`TRAINED_WEIGHTS`. Every worker
    must call this, because the weights of a sharded model are gathered. Only the first worker gets
    the files; the others get none.

    Args:
        model: Trained classifier of a trial; its config gets the names of the classes.
        tokenizer: Tokenizer of the base model.
        classes: Name of each class.
        max_length: Maximum number of tokens of a text.
        workers: Workers that train the trial together.
    """
    weights = gather_trained_weights(model)
    if not workers.is_first:
        return {}
    name_classes(model, classes)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if is_adapted(model):
            # peft also keeps tensors that are not trained, such as random projections.
            save_adapter(model, folder, {**model.state_dict(), **weights})
        elif not all(parameter.requires_grad for parameter in model.parameters()):
            save_file(weights, folder / TRAINED_WEIGHTS, {"format": "pt"})
            save_config(model, folder / CLASSIFIER_CONFIG)
        else:
            model.save_pretrained(folder, state_dict=weights)
        save_tokenizer(tokenizer, max_length, model.config, folder)
        return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.is_file()}


@inside_root
def read_kept_weights(results: Results, trial_id: str) -> dict[str, torch.Tensor]:
    """Read the weights that a done trial kept, by name.

    Raises:
        InputError: The trial is not done, it kept no weights, or they are damaged.
        LostLocationError: The location was lost.
    """
    tensors: dict[str, torch.Tensor] = {}
    for name, sha256 in list_kept_weights(results.state(trial_id)).items():
        tensors |= load(results.read_weights(trial_id, name, sha256))
    return tensors


def load_kept_weights(model: Any, tensors: dict[str, torch.Tensor], method: str) -> None:
    """Load the kept weights of a trial into a classifier that was built for the same method.

    Raises:
        InputError: The weights are not those of the method.
    """
    if is_adapted(model):
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(model, tensors)
        return
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    missing, others = model.load_state_dict(tensors, strict=False)
    if others or not frozen.issuperset(missing):
        raise InputError(
            f"its kept weights are not those of method {method}: they have no "
            f"{sorted(set(missing) - frozen)[:3]}, and {sorted(others)[:3]} besides"
        )


def name_classes(model: Any, classes: Sequence[str]) -> None:
    """Write the names of the classes into a classifier's config, for ``id2label``."""
    model.config.id2label = dict(enumerate(classes))
    model.config.label2id = {name: number for number, name in enumerate(classes)}


def save_adapter(model: Any, folder: Path, weights: dict[str, Any] | None = None) -> None:
    """Save adapter and head as peft does, and the classifier's config beside them.

    Args:
        model: Classifier with adapters.
        folder: Folder to write into.
        weights: Weights of the model; None: as they are.
    """
    # Without this option peft asks the hub whether embeddings were resized.
    given = weights if weights is None else give_back(model, weights)
    model.save_pretrained(folder, state_dict=given, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # peft's empty template of a model card
    config = json.loads((folder / ADAPTER_CONFIG).read_bytes())
    if hasattr(model, STARTED):
        config = double_rank(config)
    for name in NAMES_OF_MODULES:
        if isinstance(config.get(name), list):  # a set, whose order differs between processes
            config[name] = sorted(set(config[name]))
    (folder / ADAPTER_CONFIG).write_bytes(json.dumps(config, indent=2, sort_keys=True).encode())
    save_config(model, folder / CLASSIFIER_CONFIG)


def save_config(model: Any, file: Path) -> None:
    """Save the config of a classifier, with or without adapters, under the name of its class."""
    config = copy.deepcopy(model.config)
    inner = model.get_base_model() if is_adapted(model) else model
    config.architectures = [type(inner).__name__]
    config.to_json_file(file)


def save_tokenizer(tokenizer: Any, max_length: int, config: Any, folder: Path) -> None:
    """Save a tokenizer that pads as the model needs it and cuts as the trial did, when asked to.

    A tokenizer in use remembers how it cut and padded the last texts; the saved one does not.

    Args:
        tokenizer: Tokenizer of the base model, which is not changed.
        max_length: Maximum number of tokens of a text.
        config: Config of the classifier.
        folder: Folder to write into.
    """
    saved = copy.deepcopy(tokenizer)
    saved.model_max_length = max_length
    saved.padding_side = getattr(config, "padding_side", "right")
    if saved.is_fast:
        saved.backend_tokenizer.no_padding()
        saved.backend_tokenizer.no_truncation()
    saved.save_pretrained(folder)
