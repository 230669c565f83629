"""What stands for a hidden token, and which tokens are never hidden, by the tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xlt.data.core.errors import InputError
from xlt.trainables.spec.explain import Replacement


def _one_space(tokenizer: Any) -> int | None:
    """The id of a single space where the vocabulary has one."""
    ids: list[int] = tokenizer(" ", add_special_tokens=False)["input_ids"]
    return ids[0] if len(ids) == 1 else None


REPLACEMENTS: dict[str, Callable[[Any], int | None]] = {
    "mask": lambda tokenizer: tokenizer.mask_token_id,
    "unk": lambda tokenizer: tokenizer.unk_token_id,
    "pad": lambda tokenizer: tokenizer.pad_token_id,
    "space": _one_space,
}
"""Replacement -> its id in a tokenizer; None: it has none.

Only BERT was trained with a token for "hidden". A decoder has seen none, so that any choice is a
text that it never saw, and the choice is written into the attributions. The pad token keeps its
place and is attended to like any other; a decoder that ends without a special token is then read
at the last token that is not hidden."""


def hidden_as(tokenizer: Any, replacement: Replacement) -> int | None:
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


def never_hidden(tokenizer: Any) -> frozenset[int]:
    """Ids of the tokens that frame a text; the unknown token is one of the text itself."""
    return frozenset(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
