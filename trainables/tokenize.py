"""Texts to token ids, once per tokenizer and data set in a process."""

from __future__ import annotations

import pyarrow as pa

from data.errors import InputError
from trainables.loading import Base


def encode(base: Base, rows: pa.Table, fingerprint: str, max_length: int) -> list[list[int]]:
    """Token ids of rows, special tokens included, cut to ``max_length``.

    Args:
        base: Its tokenizer encodes; its ``encodings`` remember.
        rows: num_rows x at least (id, text).
        fingerprint: Of the data set that the ids belong to.
        max_length: In tokens.

    Returns:
        num_rows lists of ids, in row order.

    Raises:
        InputError: Texts without a token, or whose last token is the one that pads batches: a
            decoder's classifier reads the last token that is not the pad token.
    """
    known = base.encodings.setdefault((fingerprint, max_length), {})
    ids, texts = rows["id"].to_pylist(), rows["text"].to_pylist()
    new = [(i, text) for i, text in zip(ids, texts, strict=True) if i not in known]
    if new:
        encoded = base.tokenizer([text for _, text in new], truncation=True, max_length=max_length)[
            "input_ids"
        ]
        pad = base.tokenizer.pad_token_id
        clash = [
            i for (i, _), tokens in zip(new, encoded, strict=True) if tokens[-1:] in ([], [pad])
        ]
        if clash:
            raise InputError(
                f"{len(clash)} texts have no tokens or end with the token "
                f"{base.tokenizer.pad_token!r} that pads batches, first ids {clash[:3]}; "
                "remove these texts, or the token from their end"
            )
        known.update({i: tokens for (i, _), tokens in zip(new, encoded, strict=True)})
    return [known[i] for i in ids]
