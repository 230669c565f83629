"""Turn texts into token ids, once per tokenizer and text in a process."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from xlt.data.core.errors import InputError
from xlt.trainables.loading.base import Base, Texts
from xlt.trainables.models.weights_folder import describe_too_long


def encode(base: Base, rows: pa.Table, max_length: int) -> list[list[int]]:
    """Return the token ids of rows, special tokens included, cut to ``max_length``.

    In a pair the longer text is cut first, which is the tokenizer's own rule.

    Args:
        base: Base model with the tokenizer; its ``encodings`` and ``truncated`` are the cache.
        rows: num_rows x at least (id, text, text_pair).
        max_length: Maximum number of tokens.

    Returns:
        num_rows lists of ids, in row order.

    Raises:
        InputError: ``max_length`` exceeds the model's positions, or a text is unreadable, see
            :func:`refuse_unreadable`.
    """
    if base.max_positions and max_length > base.max_positions:
        raise InputError(describe_too_long(max_length, base.max_positions))
    cached = base.encodings.setdefault(max_length, {})
    texts = list_texts(rows)
    new = [number for number, text in enumerate(texts) if text not in cached]
    if new:
        fresh = rows.take(new)
        paired = fresh["text_pair"].null_count == 0
        pairs = fresh["text_pair"].to_pylist() if paired else None
        encoded, long = tokenize(base, fresh["text"].to_pylist(), pairs, max_length)
        refuse_unreadable(base, fresh["id"].to_pylist(), encoded)
        cached.update(zip((texts[number] for number in new), encoded, strict=True))
        base.truncated.setdefault(max_length, set()).update(texts[new[number]] for number in long)
    return [cached[text] for text in texts]


def count_truncated(base: Base, rows: pa.Table, max_length: int) -> int:
    """Count the rows that :func:`encode` cut; call it for these rows first."""
    cut = base.truncated.get(max_length, set())
    return sum(text in cut for text in list_texts(rows))


def list_texts(rows: pa.Table) -> list[Texts]:
    """List the texts of rows, which identify a row in caches: an id may have translations."""
    return list(zip(rows["text"].to_pylist(), rows["text_pair"].to_pylist(), strict=True))


def tokenize(
    base: Base, texts: Sequence[str], pairs: Sequence[str] | None, max_length: int
) -> tuple[list[list[int]], list[int]]:
    """Return the token ids of texts, special tokens included, and the texts that were cut.

    Args:
        base: Base model with the tokenizer.
        texts: num_texts texts.
        pairs: num_texts second texts, or None. In a pair the longer text is cut first.
        max_length: Maximum number of tokens.

    Returns:
        num_texts lists of at most ``max_length`` ids, and the numbers of the texts that were
        longer.
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
    """Return whether a decoder's classifier finds the end of a text.

    It reads the last token that is not the pad token, so no text may end with a pad token.
    """
    return len(tokens) > 0 and tokens[-1] != base.tokenizer.pad_token_id


def _call_tokenizer(
    base: Base, texts: Sequence[str], pairs: Sequence[str] | None, max_length: int | None
) -> list[list[int]]:
    """Return the token ids of texts, of any length if ``max_length`` is None."""
    encoded: list[list[int]] = base.tokenizer(
        list(texts),
        None if pairs is None else list(pairs),
        truncation=max_length is not None,
        max_length=max_length,
        verbose=False,
    )["input_ids"]
    return encoded


def refuse_unreadable(base: Base, names: Sequence[str], encoded: Sequence[list[int]]) -> None:
    """Raise InputError for texts that the model would read wrongly.

    Args:
        base: Base model with the tokenizer.
        names: num_texts names for the message.
        encoded: num_texts lists of token ids.

    Raises:
        InputError: A text has a token without an embedding, has no token, or ends with the pad
            token: a decoder's classifier reads the last token that is not the pad token.
    """
    refuse_unknown_tokens(base, names, encoded)
    rows = zip(names, encoded, strict=True)
    unreadable = [name for name, tokens in rows if not is_readable(base, tokens)]
    if unreadable:
        raise InputError(
            f"{len(unreadable)} texts have no tokens or end with the token "
            f"{base.tokenizer.pad_token!r} that pads batches, first ids {unreadable[:3]}; "
            "remove these texts, or the token from their end, or give another `pad_token`"
        )


def refuse_unknown_tokens(
    base: Base, names: Sequence[str], encoded: Sequence[Sequence[int] | NDArray[np.int64]]
) -> None:
    """Raise InputError for texts with a token that has no embedding.

    The arguments are those of :func:`refuse_unreadable`.
    """
    rows = zip(names, encoded, strict=True)
    unknown = [name for name, tokens in rows if max(tokens, default=0) >= base.vocabulary]
    if unknown:
        raise InputError(
            f"{len(unknown)} texts have tokens beyond the {base.vocabulary:,} embeddings of the "
            f"model, first ids {unknown[:3]}; give the tokenizer that belongs to the model"
        )
