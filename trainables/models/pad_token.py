"""Which token pads batches, so that no token of a text is taken for padding."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from xlt.data.core.errors import InputError
from xlt.trainables.models.tokenizer_files import (
    SPECIAL_TOKENS,
    TOKENIZER,
    TOKENIZER_CONFIG,
    read_json,
)

PROBE = "text"
"""Tokenised to see which token a tokenizer ends texts with."""
REMEDY = "give `pad_token`: a token of the vocabulary that ends no text"


def choose_pad_token(own: str | None, others: Iterable[str | None], last: str | None) -> str | None:
    """The tokenizer's own pad token, else the first special token that does not end texts.

    Decoder classifiers read the last token that differs from ``pad_token_id``, so a token that
    texts end with must not serve. The token that begins a text never ends one, while the
    end-of-text token does in some vocabularies and the unknown token after a rare character.

    Args:
        own: The tokenizer's pad token.
        others: Its other special tokens: beginning of text, unknown, end of text.
        last: The token that it ends texts with.

    Returns:
        None if every one of them ends texts.
    """
    return next((token for token in (own, *others) if token and token != last), None)


def set_pad_token(tokenizer: Any, model: Any, wanted: str | None = None) -> None:
    """Give tokenizer and config the same pad token.

    :func:`encode` refuses a text that ends with it.

    Args:
        tokenizer: Of transformers.
        model: The classifier.
        wanted: A token to take in place of the one that :func:`choose_pad_token` finds.

    Raises:
        InputError: There is no such token, or it ends every text.
    """
    last = tokenizer.convert_ids_to_tokens(tokenizer(PROBE)["input_ids"][-1])
    vocabulary, rows = tokenizer.get_vocab(), model.get_input_embeddings().weight.shape[0]
    if wanted is not None and vocabulary.get(wanted, rows) >= rows:
        raise InputError(f"pad_token {wanted!r} is not in the vocabulary; {REMEDY}")
    if wanted is not None and wanted == last:
        raise InputError(f"pad_token {wanted!r} ends every text; {REMEDY}")
    names = (tokenizer.pad_token, tokenizer.bos_token, tokenizer.unk_token, tokenizer.eos_token)
    # Classes of transformers add the pad token that they know, the model has no embedding of it.
    own, *others = (name if vocabulary.get(name, rows) < rows else None for name in names)
    chosen = wanted or choose_pad_token(own, others, last)
    if chosen is None:
        raise InputError(f"the tokenizer has no special token to pad with; {REMEDY}")
    tokenizer.pad_token = chosen
    tokenizer.padding_side = "right"
    model.config.pad_token_id = tokenizer.pad_token_id


def derive_pad_token(folder: Path, usual: str | None) -> str | None:
    """What :func:`set_pad_token` will choose, from a tokenizer's files alone.

    Args:
        folder: Holds tokenizer_config.json and the like.
        usual: What the architecture's tokenizers pad with if the vocabulary has it and the files
            name no other.

    Returns:
        None where the files do not tell; the tokenizer does once it is loaded.
    """
    config = read_json(folder / TOKENIZER_CONFIG)
    special = config | read_json(folder / SPECIAL_TOKENS)
    named = {key: _content(special.get(f"{key}_token")) for key in ("pad", "bos", "unk", "eos")}
    file = folder / TOKENIZER
    vocabulary: Any = ()
    last = named["eos"] if config.get("add_eos_token") is True else None
    if file.is_file():
        from tokenizers import Tokenizer

        try:
            tokenizer = Tokenizer.from_file(str(file))
        except Exception:  # the library raises nothing narrower; loading says what is wrong
            return None
        vocabulary = tokenizer.get_vocab()
        last = next(iter(tokenizer.encode(PROBE).tokens[-1:]), None)
    elif (words := folder / "vocab.txt").is_file():
        vocabulary = set(words.read_text("utf-8").split("\n"))
    if named["pad"] is None and usual in vocabulary:
        named["pad"] = usual
    return choose_pad_token(named["pad"], (named["bos"], named["unk"], named["eos"]), last)


def _content(token: Any) -> str | None:
    """A special token as written in files: a string, or an object with its content."""
    found = token.get("content") if isinstance(token, dict) else token
    return found if isinstance(found, str) else None
