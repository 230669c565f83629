"""Inspect the folder of a checkpoint before loading: its type, and whether it can be loaded."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.files import read_json_file
from xlt.data.core.json_text import MAX_JSON_BYTES, parse_json
from xlt.trainables.models.architectures import (
    ARCHITECTURES,
    ModelKind,
    derive_kind,
    find_biases,
    read_max_positions,
    read_num_layers,
)
from xlt.trainables.models.damaged_files import list_damaged_files
from xlt.trainables.models.model_config import ADAPTER_CONFIG, CONFIG, MODULES, read_config
from xlt.trainables.models.pad_token import derive_pad_token
from xlt.trainables.models.tokenizer_doubts import list_doubts
from xlt.trainables.models.tokenizer_files import (
    SPECIAL_TOKENS,
    TOKENIZER,
    TOKENIZER_CONFIG,
    describe_too_many_tokens,
    list_tokenizer_problems,
    read_tokenizer,
)
from xlt.trainables.spec.trial_spec import TrialSpec

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLED = "*.bin"
"""Pattern of pickled weights. Opening a pickle can run code, so these files are never read."""
METADATA = (
    CONFIG, ADAPTER_CONFIG, MODULES, TOKENIZER_CONFIG, SPECIAL_TOKENS, TOKENIZER, "vocab.txt",
)  # fmt: skip
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
        num_layers: Number of layers; None if unknown.
        has_biases: Whether the backbone has biases; None if the architecture is not listed.
        doubts: Signs that the tokenizer is not that of the model, see :func:`list_doubts`.
    """

    model_type: str
    kind: ModelKind | None
    linear: tuple[str, ...] | None
    pad_token: str | None
    max_positions: int | None
    num_layers: int | None
    has_biases: bool | None = None
    doubts: tuple[str, ...] = ()

    def problems(self, spec: TrialSpec) -> list[str]:
        """List the settings of a trial that do not fit this checkpoint."""
        problems, max_length = [], spec.training.max_length
        num_virtual = spec.peft.num_virtual_tokens if spec.peft else 0
        if self.linear and spec.lora:
            problems += [
                f"lora.{setting}: {unknown('module', name, self.linear)}"
                for setting, name in spec.lora.list_module_names()
                if name.rpartition(".")[2] not in self.linear
            ]
        adapted = max((spec.lora and spec.lora.layers_to_transform) or (0,))
        if self.num_layers and adapted >= self.num_layers:
            problems.append(
                f"lora.layers_to_transform: there is no layer {adapted}; the model has the layers "
                f"0 to {self.num_layers - 1}"
            )
        if self.max_positions and max_length + num_virtual > self.max_positions:
            problems.append(describe_too_long(max_length, self.max_positions, num_virtual))
        return problems


def describe_too_long(max_length: int, positions: int, num_virtual: int = 0) -> str:
    """Message for a ``training.max_length`` that exceeds a model's positions."""
    virtual = f" with {num_virtual} virtual tokens" if num_virtual else ""
    left = positions - num_virtual
    remedy = f"set it to at most {left}, in an override for this model only"
    return (
        f"training.max_length {max_length}{virtual} is more than the {positions} tokens that the "
        f"model has positions for; {remedy if left > 1 else 'lower num_virtual_tokens'}"
    )


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read the small files of a checkpoint.

    Args:
        folder: Folder as ``save_pretrained`` writes it; the weights may be missing.

    Raises:
        InputError: config.json cannot be used, see :func:`read_config`, or the tokenizer has more
            tokens than the model has embeddings.
    """
    config = read_config(folder)
    model_type = str(config.get("model_type"))
    listed = ARCHITECTURES.get(model_type)
    tokenizer, rows = read_tokenizer(folder), config.get("vocab_size")
    if tokenizer and isinstance(rows, int):
        size = tokenizer.get_vocab_size(with_added_tokens=False)
        if size > rows:
            raise InputError(describe_too_many_tokens(size, rows))
    return Checkpoint(
        model_type=model_type,
        kind=derive_kind(config),
        linear=listed.linear if listed else None,
        pad_token=derive_pad_token(folder, tokenizer, rows, listed.pad_token if listed else None),
        max_positions=read_max_positions(config),
        num_layers=read_num_layers(config),
        has_biases=find_biases(config),
        doubts=tuple(list_doubts(tokenizer, config)) if tokenizer else (),
    )


def check_files(folder: Path) -> None:
    """Refuse a folder whose weights or tokenizer cannot be loaded.

    Args:
        folder: Folder of a checkpoint.

    Raises:
        InputError: The tokenizer or a package that it needs is missing, there are no safetensors
            (pickled weights are never read), a shard is missing or has another size than its
            header says, or a file is damaged, see :func:`list_damaged_files`.
    """
    names = {file.name for file in folder.iterdir() if file.is_file()}
    check_names(str(folder), names, folder)
    if damaged := list_damaged_files(folder):
        raise InputError(damaged)
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
        names = read_json_file(folder / INDEX)["weight_map"].values()
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
            header = parse_json(stream.read(min(length, MAX_JSON_BYTES + 1)))
        ends = [item["data_offsets"][1] for key, item in header.items() if key != "__metadata__"]
        return 8 + length + max(ends, default=0)
    except (OSError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise InputError(
            f"{file.name} is incomplete or no safetensors file; copy it again"
        ) from error
