"""Tokens of a tokenizer: in readable form, their positions in a text, and their replacements."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from typing import Any
from unicodedata import normalize

from xlt.data.core.errors import InputError
from xlt.trainables.spec.explain import Replacement

PRINTABLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
"""Bytes that represent themselves in byte-level vocabularies; the others are numbered from 256
(Radford et al. 2019, GPT-2, ``bytes_to_unicode`` in encoder.py)."""
_BYTES = {chr(byte): byte for byte in PRINTABLE} | {
    chr(256 + number): byte
    for number, byte in enumerate(byte for byte in range(256) if byte not in PRINTABLE)
}
SPACE = "␣"
"""Readable form of a token that is only white space."""


def make_readable(tokenizer: Any, token_ids: Sequence[int]) -> list[str]:
    """Return tokens in readable form.

    White space at either end is dropped, so that a word is the same token in a table whether or not
    it begins a text. Bytes that form no whole character are shown as ``<0xE7>``, as Llama's
    vocabulary writes them. WordPiece's ``##`` stays, because ``##bon`` is not the word ``bon``.
    """
    byte_level = tokenizer.is_fast and "ByteLevel" in repr(tokenizer.backend_tokenizer.decoder)
    pieces: list[str] = tokenizer.convert_ids_to_tokens(list(token_ids))
    return [_decode_bytes(piece) if byte_level else _trim(piece) for piece in pieces]


def _trim(piece: str) -> str:
    return piece.replace("\u2581", " ").strip() or SPACE  # Metaspace's mark of a space


def _decode_bytes(piece: str) -> str:
    if not all(character in _BYTES for character in piece):
        return _trim(piece)  # an added token is not encoded in bytes
    content = bytes(_BYTES[character] for character in piece)
    try:
        return content.decode().strip() or SPACE
    except UnicodeDecodeError:
        return "".join(f"<0x{byte:02X}>" for byte in content)


def locate_tokens(
    tokenizer: Any, texts: Sequence[str], pairs: Sequence[str] | None, max_length: int
) -> tuple[list[str], list[list[tuple[int, int]]]]:
    """Locate each token in its text.

    Args:
        tokenizer: Tokenizer of transformers. If it reports no positions (BertJapaneseTokenizer),
            its pieces are searched in the text.
        texts: num_texts texts.
        pairs: num_texts second texts, or None.
        max_length: Maximum number of tokens, as in :func:`encode`.

    Returns:
        The texts, with the two texts of a pair on a line each; and for every token, special ones
        included, its characters [start, end) in that text.
    """
    encoded = tokenizer(
        list(texts),
        None if pairs is None else list(pairs),
        truncation=True,
        max_length=max_length,
        return_offsets_mapping=tokenizer.is_fast,
    )
    whole = [*texts] if pairs is None else [f"{a}\n{b}" for a, b in zip(texts, pairs, strict=True)]
    if not tokenizer.is_fast:
        located = (
            find_pieces(tokenizer.convert_ids_to_tokens(ids), {*tokenizer.all_special_tokens}, text)
            for ids, text in zip(encoded["input_ids"], whole, strict=True)
        )
        return whole, list(located)
    places = []
    for number, offsets in enumerate(encoded["offset_mapping"]):
        second = len(texts[number]) + 1
        shifts = [second if text == 1 else 0 for text in encoded.sequence_ids(number)]
        places.append([(s + m, e + m) for (s, e), m in zip(offsets, shifts, strict=True)])
    return whole, places


def find_pieces(pieces: Sequence[str], special: Set[str], text: str) -> list[tuple[int, int]]:
    """Locate WordPiece tokens in a text that was normalised (NFKC) before it was split.

    Args:
        pieces: Tokens in the order of the text.
        special: Tokens without characters of their own; the unknown token is one of them.
        text: Text before normalisation.

    Returns:
        Characters [start, end) of each piece. A piece that does not occur literally (an unknown
        word, a letter composed of two) gets all characters up to the next piece that does. A
        special token with no characters left gets (0, 0).
    """
    characters = [(c, n) for n, written in enumerate(text) for c in normalize("NFKC", written)]
    flat = "".join(c for c, _ in characters)
    origin = [n for _, n in characters]
    spans: list[tuple[int, int] | None] = []
    cursor = 0
    for piece in pieces:
        body = piece.removeprefix("##")
        start = -1 if piece in special else flat.find(body, cursor)
        cursor = start + len(body) if start >= 0 else cursor
        spans.append((origin[start], origin[cursor - 1] + 1) if start >= 0 else None)
    places: list[tuple[int, int]] = []
    end = 0
    for number, place in enumerate(spans):
        after = next((p[0] for p in spans[number:] if p), len(text))
        gap = text[end:after]
        gap_span = (after - len(gap.lstrip()), end + len(gap.rstrip()))
        places.append(place or (gap_span if gap.strip() else (0, 0)))
        end = max(end, places[-1][1])
    return places


def _find_space_id(tokenizer: Any) -> int | None:
    """Return the id of a single space, or None if the vocabulary has none."""
    ids: list[int] = tokenizer(" ", add_special_tokens=False)["input_ids"]
    return ids[0] if len(ids) == 1 else None


REPLACEMENTS: dict[str, Callable[[Any], int | None]] = {
    "mask": lambda tokenizer: tokenizer.mask_token_id,
    "unk": lambda tokenizer: tokenizer.unk_token_id,
    "pad": lambda tokenizer: tokenizer.pad_token_id,
    "space": _find_space_id,
}
"""Replacement -> function of a tokenizer that returns the token's id, or None if it has none.

Only BERT was trained with a token for "hidden". A decoder has never seen one, so with any choice
the masked text is unlike its training texts, and the choice is written into the attributions. The
pad token keeps its place and is attended to like any other token; a decoder whose texts end without
a special token is then read at the last token that is not hidden.
"""


def find_replacement_id(tokenizer: Any, replacement: Replacement) -> int | None:
    """Find the id of the token that replaces hidden tokens; None means that they are deleted.

    Raises:
        InputError: The tokenizer has no such token.
    """
    if replacement == "delete":
        return None
    names = ("mask", "unk") if replacement == "auto" else (replacement,)
    ids = (REPLACEMENTS[name](tokenizer) for name in names)
    token_id = next((i for i in ids if i is not None), None)
    if token_id is None:
        available = [name for name, find in REPLACEMENTS.items() if find(tokenizer) is not None]
        raise InputError(
            f"replacement {replacement!r}: this tokenizer has no such token; choose one of "
            f"{', '.join([*available, 'delete'])}"
        )
    return token_id


def find_special_ids(tokenizer: Any) -> frozenset[int]:
    """Find the ids of the special tokens around a text; the unknown token belongs to the text."""
    return frozenset(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
