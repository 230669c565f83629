"""Tokens as people read them, and where in the text they stand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

PRINTABLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
"""Bytes that stand for themselves in byte-level vocabularies; the others are numbered from 256 on
(Radford et al. 2019, GPT-2, ``bytes_to_unicode`` in encoder.py)."""
_BYTES = {chr(byte): byte for byte in PRINTABLE} | {
    chr(256 + number): byte
    for number, byte in enumerate(byte for byte in range(256) if byte not in PRINTABLE)
}
SPACE = "␣"
"""Shown for a token of white space alone."""


def readable(tokenizer: Any, token_ids: Sequence[int]) -> list[str]:
    """Tokens as people read them.

    White space at either end is dropped, so that a word is one token in a table whether or not it
    begins a text. Bytes that are no whole character are shown as ``<0xE7>``, as Llama's vocabulary
    writes them. WordPiece's ``##`` stays: ``##bon`` is not the word ``bon``.
    """
    byte_level = "ByteLevel" in repr(tokenizer.backend_tokenizer.decoder)
    pieces: list[str] = tokenizer.convert_ids_to_tokens(list(token_ids))
    return [_from_bytes(piece) if byte_level else _trimmed(piece) for piece in pieces]


def _trimmed(piece: str) -> str:
    return piece.replace("\u2581", " ").strip() or SPACE  # the mark of Metaspace


def _from_bytes(piece: str) -> str:
    if not all(character in _BYTES for character in piece):
        return _trimmed(piece)  # an added token, which is written as it is
    content = bytes(_BYTES[character] for character in piece)
    try:
        return content.decode().strip() or SPACE
    except UnicodeDecodeError:
        return "".join(f"<0x{byte:02X}>" for byte in content)


def locate(
    tokenizer: Any, texts: Sequence[str], pairs: Sequence[str] | None, max_length: int
) -> tuple[list[str], list[list[tuple[int, int]]]]:
    """Where each token stands in its text.

    Args:
        tokenizer: A fast tokenizer.
        texts: num_texts.
        pairs: The second text of each; None: there are none.
        max_length: In tokens, as in :func:`trainables.tokenize.encode`.

    Returns:
        The texts, those of a pair a line each; and of every token, special ones included, the
        characters [start, end) of these.
    """
    encoded = tokenizer(
        list(texts),
        None if pairs is None else list(pairs),
        truncation=True,
        max_length=max_length,
        return_offsets_mapping=True,
    )
    whole = [*texts] if pairs is None else [f"{a}\n{b}" for a, b in zip(texts, pairs, strict=True)]
    places = []
    for number, offsets in enumerate(encoded["offset_mapping"]):
        second = len(texts[number]) + 1
        moved = [second if of == 1 else 0 for of in encoded.sequence_ids(number)]
        places.append([(s + m, e + m) for (s, e), m in zip(offsets, moved, strict=True)])
    return whole, places
