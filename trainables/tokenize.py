"""Texts to token ids, once per tokenizer and data set in a process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from data.errors import InputError
from trainables.loading import Base


def encode(base: Base, rows: pa.Table, fingerprint: str, max_length: int) -> list[list[int]]:
    """Token ids of rows, special tokens included, cut to ``max_length``.

    Of a pair the longer text is cut first, as the tokenizer does by itself.

    Args:
        base: Its tokenizer encodes; its ``encodings`` remember.
        rows: num_rows x at least (id, text, text_pair).
        fingerprint: Of the data set that the ids belong to.
        max_length: In tokens.

    Returns:
        num_rows lists of ids, in row order.

    Raises:
        InputError: Texts without a token, or whose last token is the one that pads batches: a
            decoder's classifier reads the last token that is not the pad token.
    """
    known = base.encodings.setdefault((fingerprint, max_length), {})
    ids = rows["id"].to_pylist()
    new = [number for number, row_id in enumerate(ids) if row_id not in known]
    if new:
        fresh = rows.take(new)
        paired = fresh["text_pair"].null_count == 0
        pairs = fresh["text_pair"].to_pylist() if paired else None
        encoded = tokenize(base, fresh["text"].to_pylist(), pairs, max_length)["input_ids"]
        names = fresh["id"].to_pylist()
        clash = [
            i for i, tokens in zip(names, encoded, strict=True) if not is_readable(base, tokens)
        ]
        if clash:
            raise InputError(
                f"{len(clash)} texts have no tokens or end with the token "
                f"{base.tokenizer.pad_token!r} that pads batches, first ids {clash[:3]}; "
                "remove these texts, or the token from their end"
            )
        known.update(zip(names, encoded, strict=True))
    return [known[i] for i in ids]


def tokenize(base: Base, texts: Sequence[str], pairs: Sequence[str] | None, max_length: int) -> Any:
    """What the tokenizer says of texts, special tokens included, cut to ``max_length``.

    Args:
        base: Its tokenizer.
        texts: num_texts.
        pairs: num_texts second texts, or None. Of a pair the longer text is cut first.
        max_length: In tokens.

    Returns:
        ``BatchEncoding`` of transformers.
    """
    return base.tokenizer(
        list(texts),
        None if pairs is None else list(pairs),
        truncation=True,
        max_length=max_length,
    )


def is_readable(base: Base, tokens: Sequence[int]) -> bool:
    """Whether a decoder's classifier finds the end of a text: the last token that is no pad."""
    return len(tokens) > 0 and tokens[-1] != base.tokenizer.pad_token_id
