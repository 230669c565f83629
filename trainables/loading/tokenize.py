"""Texts to token ids, once per tokenizer and data set in a process."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from xlt.data.core.errors import InputError
from xlt.trainables.loading.base import Base
from xlt.trainables.models.weights_folder import too_long


def encode(base: Base, rows: pa.Table, fingerprint: str, max_length: int) -> list[list[int]]:
    """Token ids of rows, special tokens included, cut to ``max_length``.

    Of a pair the longer text is cut first, as the tokenizer does by itself.

    Args:
        base: Its tokenizer encodes; its ``encodings`` and ``truncated`` remember.
        rows: num_rows x at least (id, text, text_pair).
        fingerprint: Of the data set that the ids belong to.
        max_length: In tokens.

    Returns:
        num_rows lists of ids, in row order.

    Raises:
        InputError: ``max_length`` is beyond the model's positions; texts with tokens that it has
            no embeddings of, without a token, or whose last token is the one that pads batches: a
            decoder's classifier reads the last token that is not the pad token.
    """
    if base.max_positions and max_length > base.max_positions:
        raise InputError(too_long(max_length, base.max_positions))
    key = (fingerprint, max_length)
    known = base.encodings.setdefault(key, {})
    ids = rows["id"].to_pylist()
    new = [number for number, row_id in enumerate(ids) if row_id not in known]
    if new:
        fresh = rows.take(new)
        names = fresh["id"].to_pylist()
        paired = fresh["text_pair"].null_count == 0
        pairs = fresh["text_pair"].to_pylist() if paired else None
        encoded, long = tokenize(base, fresh["text"].to_pylist(), pairs, max_length)
        refuse_unreadable(base, names, encoded)
        known.update(zip(names, encoded, strict=True))
        base.truncated.setdefault(key, set()).update(names[number] for number in long)
    return [known[i] for i in ids]


def count_truncated(base: Base, rows: pa.Table, fingerprint: str, max_length: int) -> int:
    """Rows that :func:`encode` cut; it must have seen them."""
    cut = base.truncated.get((fingerprint, max_length), set())
    return sum(row_id in cut for row_id in rows["id"].to_pylist())


def tokenize(
    base: Base, texts: Sequence[str], pairs: Sequence[str] | None, max_length: int
) -> tuple[list[list[int]], list[int]]:
    """Token ids of texts, special tokens included, and which texts were cut.

    Args:
        base: Its tokenizer.
        texts: num_texts.
        pairs: num_texts second texts, or None. Of a pair the longer text is cut first.
        max_length: In tokens.

    Returns:
        num_texts lists of at most ``max_length`` ids, and the numbers of the texts that have more.
    """
    encoded = _call_tokenizer(base, texts, pairs, None)
    long = [number for number, tokens in enumerate(encoded) if len(tokens) > max_length]
    if long:
        second = [pairs[number] for number in long] if pairs else None
        short = _call_tokenizer(base, [texts[number] for number in long], second, max_length)
        for number, tokens in zip(long, short, strict=True):
            encoded[number] = tokens
    return encoded, long


def is_readable(base: Base, tokens: Sequence[int]) -> bool:
    """Whether a decoder's classifier finds the end of a text: the last token that is no pad."""
    return len(tokens) > 0 and tokens[-1] != base.tokenizer.pad_token_id


def _call_tokenizer(
    base: Base, texts: Sequence[str], pairs: Sequence[str] | None, max_length: int | None
) -> list[list[int]]:
    """Token ids of texts; None: however long they are."""
    encoded: list[list[int]] = base.tokenizer(
        list(texts),
        None if pairs is None else list(pairs),
        truncation=max_length is not None,
        max_length=max_length,
        verbose=False,
    )["input_ids"]
    return encoded


def refuse_unreadable(base: Base, names: Sequence[str], encoded: Sequence[list[int]]) -> None:
    """Refuse texts that the model would read wrongly."""
    rows = list(zip(names, encoded, strict=True))
    strange = [name for name, tokens in rows if max(tokens, default=0) >= base.vocabulary]
    if strange:
        raise InputError(
            f"{len(strange)} texts have tokens beyond the {base.vocabulary:,} that the model has "
            f"embeddings of, first ids {strange[:3]}; give the tokenizer that belongs to the model"
        )
    clash = [name for name, tokens in rows if not is_readable(base, tokens)]
    if clash:
        raise InputError(
            f"{len(clash)} texts have no tokens or end with the token "
            f"{base.tokenizer.pad_token!r} that pads batches, first ids {clash[:3]}; "
            "remove these texts, or the token from their end, or give another `pad_token`"
        )
