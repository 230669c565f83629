"""Load the config from which transformers builds a base model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers

from xlt.data.core.errors import InputError
from xlt.trainables.models.model_config import read_config

OUTPUTS = {"return_dict": True, "output_attentions": False, "output_hidden_states": False}
"""Settings of a model's outputs, whatever config.json says: logits by name, and nothing else."""
RENAMED = {
    r"^_orig_mod\.": "",  # saved from torch.compile
    r"^module\.": "",  # saved from DistributedDataParallel
    r"^model\.language_model\.": "model.",  # the text model of a multimodal model
    r"^language_model\.model\.": "model.",  # the same, saved by transformers 4
    r"^transformer\.(?=(layers|embed_tokens|norm)\.)": "model.",  # LlamaForQuestionAnswering
}
"""Patterns of weight names -> names in the classifier, for ``key_mapping`` of transformers."""


def load_config(folder: Path) -> Any:
    """Load the config of a checkpoint; for a multimodal model, the config of its text model.

    Raises:
        InputError: The config cannot be read, see :func:`read_config`, or this version of
            transformers does not know its architecture or a value of it.
    """
    model_type = read_config(folder)["model_type"]
    try:
        config = transformers.AutoConfig.from_pretrained(folder)
    except Exception as error:  # a value of another type makes transformers raise any error
        raise InputError(
            f"transformers {transformers.__version__} cannot read the config of {model_type!r}: "
            f"{error}"
        ) from error
    if config.model_type != model_type:
        config = config.get_text_config()
    for name, value in OUTPUTS.items():
        if getattr(config, name, value) != value:
            setattr(config, name, value)
    if config._attn_implementation is not None:  # written by the machine that saved it
        config._attn_implementation = None
    rows, pad = getattr(config, "vocab_size", None), getattr(config, "pad_token_id", None)
    if rows is not None and pad is not None and pad >= rows:  # loading sets another one
        config.pad_token_id = None
    return config
