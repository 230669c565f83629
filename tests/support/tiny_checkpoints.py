"""Small random models of every listed architecture, and checkpoints of them with tokenizers."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from xlt.trainables.models.architectures import ARCHITECTURES, ModelKind

SIZE: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "max_position_embeddings": 128,
}  # fmt: skip
_GPT2: dict[str, Any] = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 128}
OTHER_SIZES: dict[str, dict[str, Any]] = {
    "gpt2": _GPT2,
    "gpt_bigcode": _GPT2,
    "gptj": _GPT2 | {"rotary_dim": 4},
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 2},
    "mpt": {"d_model": 32, "n_layers": 2, "n_heads": 2, "max_seq_len": 128},
    "falcon": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
    "distilbert": {
        "dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 2, "max_position_embeddings": 128,
    },
    "opt": SIZE | {"ffn_dim": 64, "word_embed_proj_dim": 32},
    "albert": SIZE | {"embedding_size": 16},
    "electra": SIZE | {"embedding_size": 16},
    "deberta-v2": SIZE | {
        "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 16,
        "position_biased_input": False, "norm_rel_ebd": "layer_norm", "share_att_key": True,
    },
    "modernbert": SIZE | {"global_attn_every_n_layers": 2, "local_attention": 32},
}  # fmt: skip
"""Settings as in the config.json of microsoft/deberta-v3-base and others; the rest is SIZE."""

_GROUPED = SIZE | {"num_key_value_heads": 2}
_VISION: dict[str, Any] = {"hidden_size": 32, "image_size": 28, "patch_size": 14}
_TEXT = _GROUPED | {"head_dim": 16, "vocab_size": 400}
UNLISTED: dict[str, tuple[ModelKind, str, dict[str, Any]]] = {
    "xlnet": (
        "decoder", "AutoModelForCausalLM",
        {"d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 64},
    ),
    "yoso": ("encoder", "AutoModelForMaskedLM", SIZE),
    "mixtral": ("decoder", "AutoModelForCausalLM", _GROUPED | {"num_local_experts": 4}),
    "phimoe": ("decoder", "AutoModelForCausalLM", _GROUPED | {"num_local_experts": 4}),
    "ibert": ("encoder", "AutoModelForMaskedLM", SIZE),
    "canine": ("encoder", "AutoModel", SIZE),
    "helium": ("decoder", "AutoModelForCausalLM", _GROUPED),
    "modernbert-decoder": (
        "decoder", "AutoModelForCausalLM",
        SIZE | {"pad_token_id": 0, "bos_token_id": 1, "cls_token_id": 1} |
        {"eos_token_id": 2, "sep_token_id": 2},
    ),
    "gemma3": (
        "decoder", "AutoModelForImageTextToText",
        {
            "text_config": _TEXT,
            "vision_config": _VISION | {
                "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
            },
        },
    ),
    "qwen3_5": (
        "decoder", "AutoModelForImageTextToText",
        {
            "text_config": _TEXT | {
                "linear_num_key_heads": 2, "linear_num_value_heads": 2, "linear_key_head_dim": 16,
                "linear_value_head_dim": 16, "layer_types": ["linear_attention", "full_attention"],
            },
            "vision_config": _VISION | {
                "intermediate_size": 64, "depth": 2, "num_heads": 2, "out_hidden_size": 32,
            },
        },
    ),
}  # fmt: skip
"""Architectures that are not listed -> (kind of tokenizer, pre-trained class, settings)."""

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"vocab_size": 1000, "hidden_size": 64, "intermediate_size": 256},
    "middle": {
        "vocab_size": 8000, "hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 4,
    },
}  # fmt: skip
"""Sizes of the models whose memory and time are measured; the rest is SIZE."""


def make_config(model_type: str, **fields: Any) -> Any:
    """A config of an architecture, of its least size but for the fields given."""
    values = OTHER_SIZES.get(model_type, SIZE) | fields
    return transformers.AutoConfig.for_model(model_type, **values)


def make_measured_config(model_type: str, size: str, **fields: Any) -> Any:
    """A config large enough for measuring: of four heads, without a tokenizer's tokens."""
    heads = {"num_attention_heads": 4, "max_position_embeddings": 256, "pad_token_id": 0}
    return make_config(model_type, **(heads | SIZES[size] | fields))


def make_classifier(config: Any, dtype: Any = None) -> Any:
    """A classifier with random weights, set up as loading does."""
    config = copy.deepcopy(config)
    config.use_cache = False
    typed = getattr(config, "type_vocab_size", 0) > 1
    config.sep_token_id = 3 if typed else None
    auto = transformers.AutoModelForSequenceClassification
    return auto.from_config(config, dtype=dtype).requires_grad_(False)


def make_pretrained(config: Any) -> Any:
    """A model as pre-training leaves it, without a classifier; its weights are always the same."""
    torch.manual_seed(0)
    is_encoder = ARCHITECTURES[config.model_type].kind == "encoder"
    auto: Any = (
        transformers.AutoModelForMaskedLM if is_encoder else transformers.AutoModelForCausalLM
    )
    return auto.from_config(config)


def save_tokenizer(kind: ModelKind, texts: list[str], folder: Path) -> Any:
    """A WordPiece tokenizer as BERT's, or byte-level BPE, without a pad token as GPT-NeoX's."""
    trainer: Any
    if kind == "encoder":
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=special)
        names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]"}
        names |= {"sep_token": "[SEP]", "mask_token": "[MASK]"}
    else:
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=["<unk>", "<s>", "</s>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        )
        names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    tokenizer.train_from_iterator(texts, trainer)
    if kind == "encoder":
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
        )
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)
    fast.save_pretrained(folder)
    return fast


def save_checkpoint(model_type: str, texts: list[str], folder: Path) -> None:
    """A pre-trained checkpoint's files: its weights have no classifier."""
    kind = ARCHITECTURES[model_type].kind
    tokenizer = save_tokenizer(kind, texts, folder)
    if kind == "encoder":
        ids: dict[str, int | None] = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
        ids |= {"cls_token_id": 2, "sep_token_id": 3} if model_type == "modernbert" else {}
    else:
        ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": None}
        ids["num_key_value_heads"] = 2
    model = make_pretrained(make_config(model_type, vocab_size=len(tokenizer), **ids))
    _save_spread_weights(model, folder)


def save_unlisted_checkpoint(model_type: str, texts: list[str], folder: Path) -> None:
    """A pre-trained checkpoint's files, of an architecture in ``UNLISTED``."""
    kind, auto, fields = UNLISTED[model_type]
    tokenizer = save_tokenizer(kind, texts, folder)
    if "text_config" not in fields:
        fields = fields | {"vocab_size": len(tokenizer)}
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(model_type, **fields)
    _save_spread_weights(getattr(transformers, auto).from_config(config), folder)


def _save_spread_weights(model: Any, folder: Path) -> None:
    """Save a model with large weights; as drawn, texts would hardly differ in their scores."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, 0.2)
    model.save_pretrained(folder)
