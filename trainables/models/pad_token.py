"""Choose the token that pads batches, so that no token of a text is taken for padding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xlt.data.core.errors import InputError
from xlt.trainables.models.tokenizer_files import SPECIAL_TOKENS, TOKENIZER_CONFIG, read_json

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PROBE = "text"
"""Text that is tokenised to see the token with which a tokenizer ends texts."""
REMEDY = "give `pad_token`: a token of the vocabulary that ends no text"


def choose_pad_token(
    names: Sequence[str | None], last: str | None, vocabulary: Mapping[str, int], rows: int | None
) -> str | None:
    """Choose the tokenizer's own pad token, else the first special token that does not end texts.

    A decoder classifies by the last token that differs from ``pad_token_id``, so a token that ends
    texts cannot pad. The beginning-of-text token never ends a text. The end-of-text token does in
    some vocabularies, and the unknown token does after a rare character.

    Args:
        names: Special tokens of the tokenizer: pad, beginning of text, unknown, end of text.
        last: Token with which the tokenizer ends texts.
        vocabulary: Token -> id.
        rows: Number of embeddings of the model; None if unknown. Tokenizer classes of transformers
            add their own pad token, for which the model may have no embedding.

    Returns:
        None if no token has an embedding and ends no text.
    """
    fitting = (
        name
        for name in names
        if name
        and name in vocabulary
        and (rows is None or vocabulary[name] < rows)
        and name != last
    )
    return next(fitting, None)


def set_pad_token(tokenizer: Any, model: Any, wanted: str | None = None) -> None:
    """Set the same pad token in the tokenizer and in the model's config.

    :func:`encode` refuses a text that ends with this token.

    Args:
        tokenizer: Tokenizer of transformers.
        model: Classifier.
        wanted: Token to use instead of the one that :func:`choose_pad_token` chooses.

    Raises:
        InputError: The vocabulary lacks the token, the token ends every text, or no special token
            can pad.
    """
    last = tokenizer.convert_ids_to_tokens(tokenizer(PROBE)["input_ids"][-1])
    vocabulary, rows = tokenizer.get_vocab(), model.get_input_embeddings().weight.shape[0]
    if wanted is not None and vocabulary.get(wanted, rows) >= rows:
        raise InputError(f"pad_token {wanted!r} is not in the vocabulary; {REMEDY}")
    if wanted is not None and wanted == last:
        raise InputError(f"pad_token {wanted!r} ends every text; {REMEDY}")
    names = (tokenizer.pad_token, tokenizer.bos_token, tokenizer.unk_token, tokenizer.eos_token)
    chosen = wanted or choose_pad_token(names, last, vocabulary, rows)
    if chosen is None:
        raise InputError(f"the tokenizer has no special token to pad with; {REMEDY}")
    tokenizer.pad_token = chosen
    tokenizer.padding_side = "right"
    model.config.pad_token_id = tokenizer.pad_token_id


def derive_pad_token(
    folder: Path, tokenizer: Tokenizer | None, rows: int | None, usual: str | None
) -> str | None:
    """Predict from a tokenizer's files which token :func:`set_pad_token` will choose.

    Args:
        folder: Folder with tokenizer_config.json and the other small files.
        tokenizer: Content of its tokenizer.json, see :func:`read_tokenizer`.
        rows: Number of embeddings of the model; None if unknown.
        usual: Usual pad token of the architecture, used if the vocabulary has it and the files
            name no pad token.

    Returns:
        None if the files do not say; then it is known when the tokenizer is loaded.
    """
    config = read_json(folder / TOKENIZER_CONFIG)
    special = config | read_json(folder / SPECIAL_TOKENS)
    names = [_content(special.get(f"{key}_token")) for key in ("pad", "bos", "unk", "eos")]
    last = names[3] if config.get("add_eos_token") is True else None
    if tokenizer:
        ids = {name: tokenizer.token_to_id(name) for name in (*names, usual) if name}
        vocabulary = {name: number for name, number in ids.items() if number is not None}
        last = next(iter(tokenizer.encode(PROBE).tokens[-1:]), None)
    elif (words := folder / "vocab.txt").is_file():
        pieces = words.read_text("utf-8").split("\n")
        vocabulary = {piece: number for number, piece in enumerate(pieces)}
    else:  # every token that the files name counts as one of the vocabulary
        vocabulary = {name: 0 for name in names if name}
    if names[0] is None and usual in vocabulary:
        names[0] = usual
    return choose_pad_token(names, last, vocabulary, rows)


def _content(token: Any) -> str | None:
    """Text of a special token, which files write as a string or as an object with ``content``."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else None
