"""Inspect the folder of a checkpoint before loading: its type, and whether it can be loaded."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from xlt.data.core.errors import InputError, unknown
from xlt.trainables.models.architectures import (
    ARCHITECTURES,
    ModelKind,
    derive_kind,
    read_max_positions,
)
from xlt.trainables.models.pad_token import derive_pad_token
from xlt.trainables.models.tokenizer_files import (
    SPECIAL_TOKENS,
    TOKENIZER,
    TOKENIZER_CONFIG,
    list_tokenizer_problems,
)

CONFIG = "config.json"
ADAPTER_CONFIG = "adapter_config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLED = "*.bin"
"""Pattern of pickled weights. Opening a pickle can run code, so these files are never read."""
METADATA = (CONFIG, ADAPTER_CONFIG, TOKENIZER_CONFIG, SPECIAL_TOKENS, TOKENIZER, "vocab.txt")
"""Small files beside the weights, which :func:`read_checkpoint` reads."""


@dataclass(frozen=True)
class Checkpoint:
    """Facts about a checkpoint from its small files.

    Attributes:
        model_type: Model type in transformers.
        kind: Encoder or decoder; None if unknown.
        linear: Modules that ``all-linear`` selects; None if the architecture is not listed, and
            peft selects them when the model is loaded.
        pad_token: Token that will pad batches; None if only the loaded tokenizer shows it.
        max_positions: Largest number of tokens of a text; None: no limit.
    """

    model_type: str
    kind: ModelKind | None
    linear: tuple[str, ...] | None
    pad_token: str | None
    max_positions: int | None

    def problems(self, target_modules: str | Sequence[str], max_length: int) -> list[str]:
        """List the settings of a trial that do not fit this checkpoint.

        Args:
            target_modules: Modules with adapters, see :class:`Lora`.
            max_length: Number of tokens to which texts are cut.
        """
        problems = []
        if self.linear and not isinstance(target_modules, str):
            problems += [
                f"lora.target_modules: {unknown('module', name, self.linear)}"
                for name in target_modules
                if name.rpartition(".")[2] not in self.linear
            ]
        if self.max_positions and max_length > self.max_positions:
            problems.append(describe_too_long(max_length, self.max_positions))
        return problems


def describe_too_long(max_length: int, positions: int) -> str:
    """Message for a ``training.max_length`` that exceeds a model's positions."""
    return (
        f"training.max_length {max_length} is more than the {positions} tokens that the model "
        f"has positions for; set it to at most {positions}, in an override for this model only"
    )


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read the small files of a checkpoint.

    Args:
        folder: Folder as ``save_pretrained`` writes it; the weights may be missing.

    Raises:
        InputError: The folder holds no model, an adapter, an encoder-decoder, or a model with its
            own code.
    """
    config = read_config(folder)
    model_type = str(config.get("model_type"))
    listed = ARCHITECTURES.get(model_type)
    return Checkpoint(
        model_type=model_type,
        kind=derive_kind(config),
        linear=listed.linear if listed else None,
        pad_token=derive_pad_token(folder, listed.pad_token if listed else None),
        max_positions=read_max_positions(config),
    )


def read_config(folder: Path) -> dict[str, Any]:
    """Read config.json.

    Raises:
        InputError: See :func:`read_checkpoint`.
    """
    if (folder / ADAPTER_CONFIG).is_file():
        raise InputError(
            f"{str(folder)!r} holds an adapter ({ADAPTER_CONFIG}), not a base model"
            f"{_adapted(folder)}; give the base model, or merge the adapter into it "
            "(`merge_and_unload` of peft) and save that"
        )
    file = folder / CONFIG
    if not file.is_file():
        raise InputError(
            f"{str(folder)!r} holds no {CONFIG}; give the folder that `save_pretrained` "
            "of transformers wrote"
        )
    try:
        config = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{str(file)!r} is not JSON: {error}; copy it again") from error
    if not isinstance(config, dict) or "model_type" not in config:
        raise InputError(f"{str(file)!r} names no model_type; copy it again")
    if config.get("is_encoder_decoder") is True:
        raise InputError(
            f"{config['model_type']} is an encoder-decoder; give an encoder or a decoder"
        )
    if config.get("auto_map") and not _in_transformers(str(config["model_type"])):
        raise InputError(
            f"{config['model_type']} brings its own code (auto_map in {CONFIG}), which "
            "is never run (trust_remote_code is off); give a model that transformers knows"
        )
    return config


def _adapted(folder: Path) -> str:
    """Part of a message that names an adapter's base model; empty if the adapter does not."""
    try:
        config = json.loads((folder / ADAPTER_CONFIG).read_text("utf-8"))
        base_model = config["base_model_name_or_path"]
    except (OSError, ValueError, LookupError, TypeError):
        return ""
    return f"; it was trained on {base_model!r}" if base_model else ""


def _in_transformers(model_type: str) -> bool:
    """Whether transformers has a module with the name of the type, or of its first words."""
    if model_type in ARCHITECTURES:
        return True
    words = model_type.replace("-", "_").split("_")
    names = ("_".join(words[:count]) for count in range(len(words), 0, -1))
    return any(n.isidentifier() and find_spec(f"transformers.models.{n}") for n in names)


def check_files(folder: Path) -> None:
    """Refuse a folder whose weights or tokenizer cannot be loaded.

    Args:
        folder: Folder of a checkpoint.

    Raises:
        InputError: The tokenizer or a package that it needs is missing, there are no safetensors
            (pickled weights are never read), or a shard is missing or has another size than its
            header says.
    """
    names = {file.name for file in folder.iterdir() if file.is_file()}
    check_names(str(folder), names, folder)
    for shard in _shards(folder):
        if not (folder / shard).is_file():
            raise InputError(f"{INDEX} names {shard}, which is missing; copy it again")
        expected, size = _expected_size(folder / shard), (folder / shard).stat().st_size
        if size != expected:
            raise InputError(
                f"{shard} has {size:,} bytes, its header says {expected:,}; it is incomplete "
                "or damaged, copy it again"
            )


def check_names(place: str, names: Collection[str], folder: Path) -> None:
    """Refuse a checkpoint that lacks files or packages, judged by the names of its files.

    Args:
        place: Folder or hub id of the checkpoint.
        names: Names of its files.
        folder: Folder with its small files, see :data:`METADATA`.

    Raises:
        InputError: The tokenizer, a package that it needs, or the safetensors are missing. One
            error lists all problems.
    """
    problems = list_tokenizer_problems(place, names, folder)
    if WEIGHTS not in names and INDEX not in names:
        pickled = sorted(fnmatch.filter(names, PICKLED))
        fault = (
            f"holds its weights as pickle only ({', '.join(pickled[:3])})"
            if pickled
            else "holds no weights"
        )
        problems.append(
            f"{place!r} {fault}; safetensors are needed, because pickled files can run code: give "
            "a revision of the hub that has them (`revision: refs/pr/1` if it offers a conversion) "
            "or, if you trust the model, load it once in transformers and save it with "
            "`save_pretrained`"
        )
    if problems:
        raise InputError(problems)


def _shards(folder: Path) -> list[str]:
    """Names of the files that hold the weights."""
    if (folder / WEIGHTS).is_file():
        return [WEIGHTS]
    try:
        names = json.loads((folder / INDEX).read_text("utf-8"))["weight_map"].values()
        return sorted({str(name) for name in names})
    except (OSError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise InputError(f"{INDEX} cannot be read; copy it again") from error


def _expected_size(file: Path) -> int:
    """Bytes of a complete safetensors file: 8 for the header's length, the header, the tensors.

    Source: description of the format in the README of huggingface/safetensors.
    """
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(min(length, file.stat().st_size)))
        ends = [item["data_offsets"][1] for key, item in header.items() if key != "__metadata__"]
        return 8 + length + max(ends, default=0)
    except (OSError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise InputError(
            f"{file.name} is incomplete or no safetensors file; copy it again"
        ) from error
