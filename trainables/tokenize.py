"""Texts to token ids, once per tokenizer and data set in a process."""

from __future__ import annotations

from collections.abc import Sequence

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
        pairs = fresh["text_pair"].to_pylist() if fresh["text_pair"].null_count == 0 else None
        names = fresh["id"].to_pylist()
        encoded = encode_texts(base, names, fresh["text"].to_pylist(), pairs, max_length)
        known.update(zip(names, encoded, strict=True))
    return [known[i] for i in ids]


def encode_texts(
    base: Base, names: Sequence[str], texts: Sequence[str], pairs: Sequence[str] | None,
    max_length: int,
) -> list[list[int]]:  # fmt: skip
    """:func:`encode` of texts that are no rows of a data set, and are not remembered.

    Args:
        base: Its tokenizer encodes.
        names: num_texts, for the error.
        texts: num_texts.
        pairs: The second text of each; None: there are none.
        max_length: In tokens.
    """
    encoded: list[list[int]] = base.tokenizer(
        list(texts),
        None if pairs is None else list(pairs),
        truncation=True,
        max_length=max_length,
    )["input_ids"]
    pad = base.tokenizer.pad_token_id
    clash = [i for i, tokens in zip(names, encoded, strict=True) if tokens[-1:] in ([], [pad])]
    if clash:
        raise InputError(
            f"{len(clash)} texts have no tokens or end with the token "
            f"{base.tokenizer.pad_token!r} that pads batches, first ids {clash[:3]}; "
            "remove these texts, or the token from their end"
        )
    return encoded
