"""ARCHITECTURES: facts about model types of transformers that fine-tuning needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

ModelKind = Literal["encoder", "decoder"]
"""An encoder reads a text in both directions and classifies it by its first token; a decoder reads
from left to right and classifies by the last token."""


@dataclass(frozen=True)
class Architecture:
    """A model type of transformers with a class for sequence classification.

    Attributes:
        kind: Encoder or decoder.
        linear: Names of the linear modules of a pre-trained checkpoint except its output layer;
            ``target_modules: all-linear`` gives adapters to them.
        pad_token: Pad token of the tokenizer class in transformers, used if the files name no pad
            token; None if the class has none.
        positions_after_pad: Whether positions count from ``pad_token_id + 1``
            (``create_position_ids_from_input_ids`` in RoBERTa's code), so that a text has fewer.
        has_biases: Whether the backbone has biases without settings of config.json that add them.
    """

    kind: ModelKind
    linear: tuple[str, ...]
    pad_token: str | None = None
    positions_after_pad: bool = False
    has_biases: bool = True


_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
_GATED = (*_ATTENTION, "gate_proj", "up_proj", "down_proj")
_FUSED = ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h")
_GPT2 = ("c_attn", "c_proj", "c_fc")
_BERT = ("query", "key", "value", "dense")

_LLAMA = Architecture("decoder", _GATED, has_biases=False)
_GEMMA = Architecture("decoder", _GATED, "<pad>", has_biases=False)
_ROBERTA = Architecture("encoder", _BERT, "<pad>", positions_after_pad=True)

ARCHITECTURES: dict[str, Architecture] = {
    "llama": _LLAMA,
    "gpt_neox": Architecture("decoder", _FUSED, "<|padding|>"),
    "bert": Architecture("encoder", _BERT, "[PAD]"),
    "mistral": _LLAMA,
    "qwen2": Architecture("decoder", _GATED, "<|endoftext|>"),
    "qwen3": Architecture("decoder", _GATED, "<|endoftext|>", has_biases=False),
    "gemma": _GEMMA,
    "gemma2": _GEMMA,
    "gemma3_text": _GEMMA,
    "phi": Architecture("decoder", ("q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2")),
    "phi3": Architecture(
        "decoder", ("qkv_proj", "o_proj", "gate_up_proj", "down_proj"), has_biases=False
    ),
    "gpt2": Architecture("decoder", _GPT2),
    "gpt_bigcode": Architecture("decoder", _GPT2),
    "gptj": Architecture(
        "decoder", ("q_proj", "k_proj", "v_proj", "out_proj", "fc_in", "fc_out")
    ),
    "opt": Architecture("decoder", ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")),
    "bloom": Architecture("decoder", _FUSED),
    "falcon": Architecture("decoder", _FUSED),
    "mpt": Architecture(
        "decoder", ("Wqkv", "out_proj", "up_proj", "down_proj"), "<|padding|>", has_biases=False
    ),
    "olmo2": _LLAMA,
    "stablelm": Architecture("decoder", _GATED),
    "starcoder2": Architecture("decoder", (*_ATTENTION, "c_fc", "c_proj")),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "distilbert": Architecture(
        "encoder", ("q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"), "[PAD]"
    ),
    "deberta-v2": Architecture(
        "encoder", ("query_proj", "key_proj", "value_proj", "dense"), "[PAD]"
    ),
    "electra": Architecture("encoder", (*_BERT, "embeddings_project"), "[PAD]"),
    "albert": Architecture(
        "encoder", (*_BERT, "embedding_hidden_mapping_in", "ffn", "ffn_output"), "<pad>"
    ),
    # head.dense is included because it is pre-trained with the masked-token objective.
    "modernbert": Architecture("encoder", ("Wqkv", "Wi", "Wo", "dense"), has_biases=False),
}  # fmt: skip
"""``model_type`` of config.json -> architecture. :func:`derive_kind` judges other types."""

_BIASES = ("attention_bias", "mlp_bias", "norm_bias")
"""Settings of config.json that give biases to architectures without any."""
_ENDINGS: dict[str, ModelKind] = {
    "ForCausalLM": "decoder",
    "LMHeadModel": "decoder",
    "ForConditionalGeneration": "decoder",  # multimodal; encoder-decoders are refused
    "ForMaskedLM": "encoder",
    "ForPreTraining": "encoder",
}
"""Ending of the class name in config.json -> kind of model."""


def derive_kind(config: Mapping[str, Any]) -> ModelKind | None:
    """Derive whether a model is an encoder or a decoder.

    The registry decides, then ``is_decoder``, then the name of the class that was pre-trained.

    Args:
        config: Content of config.json.

    Returns:
        None if config.json does not say.
    """
    listed = ARCHITECTURES.get(str(config.get("model_type")))
    if listed:
        return listed.kind
    if config.get("is_decoder") is True:
        return "decoder"
    kinds = {
        kind
        for name in config.get("architectures") or ()
        for ending, kind in _ENDINGS.items()
        if str(name).endswith(ending)
    }
    return kinds.pop() if len(kinds) == 1 else None


def find_biases(config: Mapping[str, Any]) -> bool | None:
    """Find whether the backbone of a checkpoint has biases.

    Args:
        config: Content of config.json.

    Returns:
        None if the architecture is not listed.
    """
    listed = ARCHITECTURES.get(str(config.get("model_type")))
    if listed is None:
        return None
    return listed.has_biases or any(config.get(name) for name in _BIASES)


def describe_without_biases(model_type: str) -> str:
    """Message for an architecture whose biases are to be trained."""
    return (
        f"{model_type} has no biases, which are all that method bitfit trains beside the head; set "
        "`method: lora`, full or head"
    )


def describe_virtual_tokens(model_type: str, peft_type: str) -> str:
    """Message for virtual tokens that a classifier cannot read."""
    return (
        f"{peft_type} gives {model_type} vectors in the place of token ids, by which its "
        "classifier finds the last token of a text; give peft_type PREFIX_TUNING"
    )


def describe_encoder(model_type: str) -> str:
    """Message for an encoder that is to be prompted."""
    return (
        f"{model_type} is an encoder, which predicts no next token; method prompt needs a decoder "
        "with its output layer, such as Llama"
    )


def read_max_positions(config: Mapping[str, Any]) -> int | None:
    """Largest number of tokens of a text; None if config.json sets no limit."""
    listed = ARCHITECTURES.get(str(config.get("model_type")))
    reserved = 0
    if listed and listed.positions_after_pad:
        pad = config.get("pad_token_id")
        reserved = (pad if isinstance(pad, int) else 1) + 1
    for key in ("max_position_embeddings", "n_positions", "max_seq_len"):
        if isinstance(value := config.get(key), int) and value > reserved:
            return value - reserved
    return None


def read_num_layers(config: Mapping[str, Any]) -> int | None:
    """Number of layers; None if config.json has it under no usual name."""
    for key in ("num_hidden_layers", "n_layer", "num_layers", "n_layers"):
        if isinstance(value := config.get(key), int) and value > 0:
            return value
    return None
