"""Tokens as people read them, and where in the text they stand."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from typing import Any
from unicodedata import normalize

from xlt.data.core.errors import InputError
from xlt.trainables.spec.explain import Replacement

PRINTABLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
"""Bytes that stand for themselves in byte-level vocabularies; the others are numbered from 256 on
(Radford et al. 2019, GPT-2, ``bytes_to_unicode`` in encoder.py)."""
_BYTES = {chr(byte): byte for byte in PRINTABLE} | {
    chr(256 + number): byte
    for number, byte in enumerate(byte for byte in range(256) if byte not in PRINTABLE)
}
SPACE = "␣"
"""Shown for a token of white space alone."""


def make_readable(tokenizer: Any, token_ids: Sequence[int]) -> list[str]:
    """Tokens as people read them.

    White space at either end is dropped, so that a word is one token in a table whether or not it
    begins a text. Bytes that are no whole character are shown as ``<0xE7>``, as Llama's vocabulary
    writes them. WordPiece's ``##`` stays: ``##bon`` is not the word ``bon``.
    """
    byte_level = tokenizer.is_fast and "ByteLevel" in repr(tokenizer.backend_tokenizer.decoder)
    pieces: list[str] = tokenizer.convert_ids_to_tokens(list(token_ids))
    return [_decode_bytes(piece) if byte_level else _trim(piece) for piece in pieces]


def _trim(piece: str) -> str:
    return piece.replace("\u2581", " ").strip() or SPACE  # the mark of Metaspace


def _decode_bytes(piece: str) -> str:
    if not all(character in _BYTES for character in piece):
        return _trim(piece)  # an added token, which is written as it is
    content = bytes(_BYTES[character] for character in piece)
    try:
        return content.decode().strip() or SPACE
    except UnicodeDecodeError:
        return "".join(f"<0x{byte:02X}>" for byte in content)


def locate_tokens(
    tokenizer: Any, texts: Sequence[str], pairs: Sequence[str] | None, max_length: int
) -> tuple[list[str], list[list[tuple[int, int]]]]:
    """Where each token stands in its text.

    Args:
        tokenizer: Of transformers; one that does not tell places (BertJapaneseTokenizer) has its
            pieces looked up in the text.
        texts: num_texts.
        pairs: The second text of each; None: there are none.
        max_length: In tokens, as in :func:`encode`.

    Returns:
        The texts, those of a pair a line each; and of every token, special ones included, the
        characters [start, end) of these.
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
        found = (
            find_pieces(tokenizer.convert_ids_to_tokens(ids), {*tokenizer.all_special_tokens}, text)
            for ids, text in zip(encoded["input_ids"], whole, strict=True)
        )
        return whole, list(found)
    places = []
    for number, offsets in enumerate(encoded["offset_mapping"]):
        second = len(texts[number]) + 1
        moved = [second if of == 1 else 0 for of in encoded.sequence_ids(number)]
        places.append([(s + m, e + m) for (s, e), m in zip(offsets, moved, strict=True)])
    return whole, places


def find_pieces(pieces: Sequence[str], special: Set[str], text: str) -> list[tuple[int, int]]:
    """Where WordPiece tokens stand in a text that was normalised (NFKC) before it was split.

    Args:
        pieces: In the text's order.
        special: Tokens that stand for no characters; the unknown one is among them.
        text: As written.

    Returns:
        Characters [start, end) of each piece. One that is not in the text as it is (an unknown
        word, a letter that was put together from two) has all characters up to the next that is;
        a special token that has none left is nowhere: (0, 0).
    """
    characters = [(c, n) for n, written in enumerate(text) for c in normalize("NFKC", written)]
    flat = "".join(c for c, _ in characters)
    origin = [n for _, n in characters]
    found: list[tuple[int, int] | None] = []
    cursor = 0
    for piece in pieces:
        body = piece.removeprefix("##")
        start = -1 if piece in special else flat.find(body, cursor)
        cursor = start + len(body) if start >= 0 else cursor
        found.append((origin[start], origin[cursor - 1] + 1) if start >= 0 else None)
    places: list[tuple[int, int]] = []
    end = 0
    for number, place in enumerate(found):
        after = next((p[0] for p in found[number:] if p), len(text))
        gap = text[end:after]
        left = (after - len(gap.lstrip()), end + len(gap.rstrip()))
        places.append(place or (left if gap.strip() else (0, 0)))
        end = max(end, places[-1][1])
    return places


def _find_space_id(tokenizer: Any) -> int | None:
    """The id of a single space where the vocabulary has one."""
    ids: list[int] = tokenizer(" ", add_special_tokens=False)["input_ids"]
    return ids[0] if len(ids) == 1 else None


REPLACEMENTS: dict[str, Callable[[Any], int | None]] = {
    "mask": lambda tokenizer: tokenizer.mask_token_id,
    "unk": lambda tokenizer: tokenizer.unk_token_id,
    "pad": lambda tokenizer: tokenizer.pad_token_id,
    "space": _find_space_id,
}
"""Replacement -> its id in a tokenizer; None: it has none.

Only BERT was trained with a token for "hidden". A decoder has seen none, so that any choice is a
text that it never saw, and the choice is written into the attributions. The pad token keeps its
place and is attended to like any other; a decoder that ends without a special token is then read
at the last token that is not hidden."""


def find_replacement_id(tokenizer: Any, replacement: Replacement) -> int | None:
    """The id that stands for hidden tokens; None: they are deleted.

    Raises:
        InputError: The tokenizer has no such token.
    """
    if replacement == "delete":
        return None
    wanted = ("mask", "unk") if replacement == "auto" else (replacement,)
    found = (REPLACEMENTS[name](tokenizer) for name in wanted)
    token_id = next((i for i in found if i is not None), None)
    if token_id is None:
        has = [name for name, find in REPLACEMENTS.items() if find(tokenizer) is not None]
        raise InputError(
            f"replacement {replacement!r}: this tokenizer has no such token; choose one of "
            f"{', '.join([*has, 'delete'])}"
        )
    return token_id


def find_special_ids(tokenizer: Any) -> frozenset[int]:
    """Ids of the tokens that frame a text; the unknown token is one of the text itself."""
    return frozenset(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
