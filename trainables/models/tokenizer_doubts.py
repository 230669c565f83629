"""Signs that the tokenizer in a checkpoint's folder is not that of the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from xlt.trainables.models.pad_token import PROBE

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MIN_SHARE = 0.5
"""Smallest usual share of a model's embeddings for which the tokenizer has a token. The others are
reserved or make the number round: ByT5 has 259 tokens and 384 embeddings, and most models have more
than 0.95."""


def list_doubts(tokenizer: Tokenizer, config: Mapping[str, Any]) -> list[str]:
    """List signs that a tokenizer and a model do not belong together; a trial can run anyway.

    Args:
        tokenizer: Content of tokenizer.json, see :func:`read_tokenizer`.
        config: Content of config.json, see :func:`read_config`.
    """
    doubts = []
    rows, size = config.get("vocab_size"), tokenizer.get_vocab_size()
    if isinstance(rows, int) and size < MIN_SHARE * rows:
        doubts.append(
            f"its tokenizer has {size:,} tokens, but the model has embeddings of {rows:,}"
        )
    named, text = config.get("bos_token_id"), tokenizer.encode(PROBE)
    plain = tokenizer.encode(PROBE, add_special_tokens=False)
    has_first = text.ids[:1] != plain.ids[:1]
    if isinstance(named, int) and has_first and text.ids[0] != named:
        doubts.append(
            f"its tokenizer begins texts with {text.tokens[0]!r} (id {text.ids[0]:,}), but "
            f"config.json says id {named:,} (bos_token_id)"
        )
    return doubts
