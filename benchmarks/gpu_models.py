"""Configs of base models with the dimensions of the paper's, and small ones, for benchmarks."""

from __future__ import annotations

from typing import Any

import transformers

FAMILIES: dict[str, tuple[Any, dict[str, int], str, tuple[str, ...]]] = {
    # elyza/ELYZA-japanese-Llama-2-7b-fast-instruct: Llama 2 with 45,043 tokens (its model card)
    "llama": (
        transformers.LlamaConfig,
        {
            "vocab_size": 45_043,
            "hidden_size": 4096,
            "intermediate_size": 11_008,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
        },
        "lora",
        ("score",),
    ),
    # cyberagent/open-calm-7b (its model card: 32 layers, width 4096, 32 heads)
    "gpt_neox": (
        transformers.GPTNeoXConfig,
        {
            "vocab_size": 52_224,
            "hidden_size": 4096,
            "intermediate_size": 16_384,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
        },
        "lora",
        ("score",),
    ),
    # google-bert/bert-base-multilingual-cased
    "bert": (transformers.BertConfig, {"vocab_size": 119_547}, "full", ("classifier",)),
    # intfloat/multilingual-e5-small (its config.json)
    "e5": (
        transformers.BertConfig,
        {
            "vocab_size": 250_037,
            "hidden_size": 384,
            "intermediate_size": 1536,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
        },
        "full",
        ("classifier",),
    ),
}
"""Name -> class and sizes of a base model's config, method and head."""
SMALL = {
    "vocab_size": 1000,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
TRAIN_ROWS, TEST_ROWS = 1024 + 104, 512
"""Numbers of rows of ja104 (paper, section 3.2)."""
