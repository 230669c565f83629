"""A checkpoint's folder before it is loaded: what it is, and whether it can be loaded at all."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from xlt.data.core.errors import InputError, unknown
from xlt.trainables.models.architectures import ARCHITECTURES, ModelKind, derive_kind, max_positions
from xlt.trainables.models.pad_token import derive_pad_token
from xlt.trainables.models.tokenizer_files import (
    SPECIAL_TOKENS,
    TOKENIZER,
    TOKENIZER_CONFIG,
    tokenizer_problems,
)

CONFIG = "config.json"
ADAPTER_CONFIG = "adapter_config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLED = "*.bin"
"""Names of weights as pickle, which can run code when opened; they are never read."""
METADATA = (CONFIG, ADAPTER_CONFIG, TOKENIZER_CONFIG, SPECIAL_TOKENS, TOKENIZER, "vocab.txt")
"""Files that :func:`read_checkpoint` reads: small, beside the weights."""


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint's files tell without its weights.

    Attributes:
        model_type: As transformers calls it.
        kind: Encoder or decoder; None: cannot be derived.
        linear: Modules that ``all-linear`` means; None: the architecture is not listed, peft finds
            them when it is loaded.
        pad_token: What will pad batches; None: known once the tokenizer is loaded.
        max_positions: Tokens of the longest text; None: no limit.
    """

    model_type: str
    kind: ModelKind | None
    linear: tuple[str, ...] | None
    pad_token: str | None
    max_positions: int | None

    def problems(self, target_modules: str | Sequence[str], max_length: int) -> list[str]:
        """What in a trial's settings does not go with this checkpoint.

        Args:
            target_modules: As in :class:`Lora`.
            max_length: Tokens that texts are cut to.
        """
        found = []
        if self.linear and not isinstance(target_modules, str):
            found += [
                f"lora.target_modules: {unknown('module', name, self.linear)}"
                for name in target_modules
                if name.rpartition(".")[2] not in self.linear
            ]
        if self.max_positions and max_length > self.max_positions:
            found.append(too_long(max_length, self.max_positions))
        return found


def too_long(max_length: int, positions: int) -> str:
    """The sentence for a ``training.max_length`` beyond a model's positions."""
    return (
        f"training.max_length {max_length} is more than the {positions} tokens that the model "
        f"has positions for; set it to {positions} at most, for this model alone in an override"
    )


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read what a folder's small files tell.

    Args:
        folder: A checkpoint as ``save_pretrained`` writes it; the weights need not be there.

    Raises:
        InputError: It holds no model, an adapter, an encoder-decoder, or one that brings its own
            code.
    """
    config = read_config(folder)
    model_type = str(config.get("model_type"))
    listed = ARCHITECTURES.get(model_type)
    return Checkpoint(
        model_type=model_type,
        kind=derive_kind(config),
        linear=listed.linear if listed else None,
        pad_token=derive_pad_token(folder, listed.pad_token if listed else None),
        max_positions=max_positions(config),
    )


def read_config(folder: Path) -> dict[str, Any]:
    """The content of config.json; errors as :func:`read_checkpoint`."""
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
    """Which base model an adapter is for, if it says so."""
    try:
        named = json.loads((folder / ADAPTER_CONFIG).read_text("utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, LookupError, TypeError):
        return ""
    return f"; it was trained on {named!r}" if named else ""


def _in_transformers(model_type: str) -> bool:
    """Whether a module of transformers is named like the type, or like its first words."""
    if model_type in ARCHITECTURES:
        return True
    words = model_type.replace("-", "_").split("_")
    names = ("_".join(words[:count]) for count in range(len(words), 0, -1))
    return any(n.isidentifier() and find_spec(f"transformers.models.{n}") for n in names)


def check_files(folder: Path) -> None:
    """Refuse a folder whose weights or tokenizer cannot be loaded.

    Args:
        folder: A checkpoint.

    Raises:
        InputError: No tokenizer or not what it needs, no safetensors (pickled weights are never
            read), a missing shard, or one that is shorter than its header says.
    """
    names = {file.name for file in folder.iterdir() if file.is_file()}
    check_names(str(folder), names, folder)
    for shard in _shards(folder):
        if not (folder / shard).is_file():
            raise InputError(f"{INDEX} names {shard}, which is missing; copy it again")
        expected, found = _expected_size(folder / shard), (folder / shard).stat().st_size
        if found != expected:
            raise InputError(
                f"{shard} has {found:,} bytes, its header says {expected:,}; it was cut "
                "off or damaged, copy it again"
            )


def check_names(place: str, names: Collection[str], folder: Path) -> None:
    """Refuse a checkpoint that lacks files or packages, from what its files are called.

    Args:
        place: Its folder or hub id.
        names: Of the files there.
        folder: Holds the small ones, see :data:`METADATA`.

    Raises:
        InputError: No tokenizer or not what it needs, no safetensors; all together.
    """
    problems = tokenizer_problems(place, names, folder)
    if WEIGHTS not in names and INDEX not in names:
        pickled = sorted(fnmatch.filter(names, PICKLED))
        held = (
            f"holds its weights as pickle only ({', '.join(pickled[:3])})"
            if pickled
            else "holds no weights"
        )
        problems.append(
            f"{place!r} {held}; safetensors are needed, because pickled files can run code: give "
            "a revision of the hub that has them (`revision: refs/pr/1` where a conversion is "
            "offered), or load the model once in transformers, where you trust it, and save it "
            "with `save_pretrained`"
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
    """Bytes of a whole safetensors file: 8 of the header's length, the header, the tensors.

    Source: the format's description in the README of huggingface/safetensors.
    """
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(min(length, file.stat().st_size)))
        ends = [item["data_offsets"][1] for key, item in header.items() if key != "__metadata__"]
        return 8 + length + max(ends, default=0)
    except (OSError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise InputError(f"{file.name} is not a whole safetensors file; copy it again") from error
