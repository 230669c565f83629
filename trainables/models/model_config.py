"""Read config.json of a checkpoint, and describe folders that are no base model."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from xlt.data.core.errors import InputError
from xlt.data.core.files import read_json_file
from xlt.data.core.text import shorten
from xlt.trainables.models.architectures import ARCHITECTURES
from xlt.trainables.models.damaged_files import describe_damage

CONFIG = "config.json"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
MODULES = "modules.json"
"""File of a sentence-transformers folder that lists its modules and their folders."""
_TYPES: dict[str, type] = {
    "model_type": str, "architectures": list, "quantization_config": dict, "text_config": dict,
    "vocab_size": int, "pad_token_id": int,
}  # fmt: skip
"""Key of config.json -> type of its value, for the keys that are read before a model is loaded."""


def read_config(folder: Path) -> dict[str, Any]:
    """Read config.json; for a multimodal model, only the config of its text model.

    Args:
        folder: Folder of a checkpoint.

    Returns:
        The keys of config.json. The keys of ``text_config`` replace those of a multimodal model,
        because texts are classified by its text model alone.

    Raises:
        InputError: The folder holds no model, an adapter, an encoder-decoder, a model with
            quantised weights or with its own code, or config.json cannot be read.
    """
    for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        if (folder / name).is_file():
            raise InputError(
                f"{str(folder)!r} holds an adapter ({name}), not a base model"
                f"{_adapted(folder)}; give the base model, or merge the adapter into it "
                "(`merge_and_unload` of peft) and save that"
            )
    file = folder / CONFIG
    if not file.is_file():
        raise InputError(f"{str(folder)!r} holds no {CONFIG}; {_find_model_below(folder)}")
    if damage := describe_damage(file):
        raise InputError(damage)
    try:
        config = read_json_file(file)
    except (OSError, ValueError) as error:
        raise InputError(f"{str(file)!r} is not JSON: {error}; copy it again") from error
    if not isinstance(config, dict) or "model_type" not in config:
        raise InputError(f"{str(file)!r} names no model_type; copy it again")
    _refuse_other_types(file, config)
    if config.get("is_encoder_decoder") is True:
        raise InputError(
            f"{config['model_type']} is an encoder-decoder; give an encoder or a decoder"
        )
    if config.get("auto_map") and not _in_transformers(str(config["model_type"])):
        raise InputError(
            f"{config['model_type']} brings its own code (auto_map in {CONFIG}), which "
            "is never run (trust_remote_code is off); give a model that transformers knows"
        )
    if quantization := config.get("quantization_config"):
        raise InputError(
            f"its weights are quantised ({quantization.get('quant_method', 'method not named')}, "
            f"quantization_config in {CONFIG}); give the model that it was made from, which "
            "`lora.quantize_base: nf4` quantises while it is loaded"
        )
    nested = config.get("text_config")
    if isinstance(nested, dict) and "model_type" in nested:
        _refuse_other_types(file, nested)
        return {**config, **nested, "architectures": config.get("architectures")}
    return config


def _refuse_other_types(file: Path, config: dict[str, Any]) -> None:
    """Raise InputError if a value that is read before loading has another type, or 64 bits."""
    for name, kind in _TYPES.items():
        value = config.get(name)
        is_right = isinstance(value, kind) and not isinstance(value, bool)
        if value is not None and not (is_right and (kind is not int or abs(value) < 2**63)):
            shown = f"{shorten(str(value))!r} is no {kind.__name__}"
            raise InputError(f"{name} in {str(file)!r}: {shown}; copy the file again")


def _find_model_below(folder: Path) -> str:
    """Remedy for a folder without config.json: the folder below it that holds the model."""
    try:
        modules = read_json_file(folder / MODULES)
        (name,) = (m["path"] for m in modules if str(m["type"]).endswith(".Transformer"))
        where = f"{MODULES} says that its transformer lies in the folder {name!r}"
    except (OSError, ValueError, LookupError, TypeError):
        below = sorted(path.parent.name for path in folder.glob(f"*/{CONFIG}"))
        if len(below) != 1:
            return "give the folder that `save_pretrained` of transformers wrote"
        (name,) = below
        where = f"its folder {name!r} holds one"
    if (folder / name).is_dir():
        return f"{where}; give {str(folder / name)!r}"
    return f"{where}; download that folder and give its path"


def _adapted(folder: Path) -> str:
    """Part of a message that names an adapter's base model; empty if the adapter does not."""
    try:
        config = read_json_file(folder / ADAPTER_CONFIG)
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
