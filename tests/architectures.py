"""Configs of the three architectures in two sizes, and real models of them; no tokenizers."""

from __future__ import annotations

import copy
from typing import Any

import transformers

SIZES = {
    "tiny": {"vocab_size": 1000, "hidden_size": 64, "intermediate_size": 256},
    "middle": {"vocab_size": 8000, "hidden_size": 256, "intermediate_size": 1024},
}
LAYERS = {"tiny": 2, "middle": 4}
CONFIGS = {
    "llama": transformers.LlamaConfig,
    "gpt_neox": transformers.GPTNeoXConfig,
    "bert": transformers.BertConfig,
}


def make_config(architecture: str, size: str, **changes: Any) -> Any:
    values = SIZES[size] | {
        "num_hidden_layers": LAYERS[size], "num_attention_heads": 4,
        "max_position_embeddings": 256, "pad_token_id": 0,
    }  # fmt: skip
    return CONFIGS[architecture](**(values | changes))


def make_model(config: Any, dtype: Any = None) -> Any:
    """A classifier with random weights, set up as loading does."""
    config = copy.deepcopy(config)
    config.use_cache = False
    typed = getattr(config, "type_vocab_size", 0) > 1
    config.sep_token_id = 3 if typed else None
    auto = transformers.AutoModelForSequenceClassification
    return auto.from_config(config, dtype=dtype).requires_grad_(False)
