"""Train the tokenizer of a miniature on its corpus."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

PIECES = (
    r"\p{Han}+|\p{Hiragana}+|[\p{Katakana}ー]+|\p{N}"
    r"|[\p{L}\p{M}&&[^\p{Han}\p{Hiragana}\p{Katakana}ー]]+|[^\s]"
)
"""Pieces of text, cut where the script changes, so that a word is the same piece in both languages.

In Japanese a change of script is mostly a word boundary.
"""
BERT_TOKENS = {
    "pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}  # fmt: skip
DECODER_TOKENS = {
    "unk_token": "<unk>",
    "bos_token": "<s>",
    "eos_token": "</s>",
}  # no pad token, like Llama


SUBWORD_SHARE = 1 / 4
"""Share of the vocabulary that spells words; the rest are the most frequent whole words.

At these sizes the merges that lead to words would take most of the vocabulary.
"""
ALPHABET_SHARE = 1 / 8
"""Share of the vocabulary for the most frequent characters; Japanese has thousands."""
NUM_BYTES = 256


def train_tokenizer(architecture: str, texts: Sequence[str], vocab_size: int) -> Any:
    """Train WordPiece for BERT, or byte-pair encoding with byte fallback for decoders.

    Every text is wrapped in special tokens: ``[CLS] text [SEP]`` or ``<s> text </s>``.

    Args:
        architecture: Architecture of the miniature's recipe.
        texts: Texts to train on.
        vocab_size: Maximum number of entries, special tokens and bytes included.

    Returns:
        Fast tokenizer of transformers.
    """
    is_bert = architecture == "bert"
    names = BERT_TOKENS if is_bert else DECODER_TOKENS
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(PIECES), "removed", invert=True)
    words = _count_words(tokenizer, texts)
    # Without an alphabet the trainer numbers characters in the order of a hash table, which differs
    # from process to process. With an ordered alphabet it always learns the same merges.
    alphabet = _list_frequent_characters(words, round(ALPHABET_SHARE * vocab_size))
    trainer = trainers.BpeTrainer(
        vocab_size=round(SUBWORD_SHARE * vocab_size) - (0 if is_bert else NUM_BYTES),
        special_tokens=list(names.values()),
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    state = json.loads(tokenizer.to_str())
    state["model"] = (_make_wordpiece if is_bert else _make_byte_fallback)(state["model"])
    vocab = state["model"]["vocab"]
    for word in words:
        if len(vocab) >= vocab_size:
            break
        vocab.setdefault(word, len(vocab))
    tokenizer = Tokenizer.from_str(json.dumps(state))
    start, end = ("[CLS]", "[SEP]") if is_bert else ("<s>", "</s>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}",
        pair=f"{start} $A {end} $B:1 {end}:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (start, end)],
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def _count_words(tokenizer: Tokenizer, texts: Sequence[str]) -> dict[str, int]:
    """Count words: word -> count, the most frequent word first."""
    words = Counter[str]()
    for text in texts:
        pieces = tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(text))
        words.update(piece for piece, _ in pieces)
    return dict(sorted(words.items(), key=lambda item: (-item[1], item[0])))


def _list_frequent_characters(words: dict[str, int], num: int) -> list[str]:
    characters = Counter[str]()
    for word, count in words.items():
        for character in word:
            characters[character] += count
    return sorted(characters, key=lambda character: (-characters[character], character))[:num]


def _make_wordpiece(model: dict[str, Any]) -> dict[str, Any]:
    """Make WordPiece from the pieces of byte-pair encoding, each as a start and a rest of a word.

    The library's own WordPiece trainer searches in the same way, but numbers the pieces at random.
    """
    pieces = sorted(model["vocab"], key=model["vocab"].__getitem__)
    continuations = ["##" + piece for piece in pieces if piece not in BERT_TOKENS.values()]
    return {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": {piece: number for number, piece in enumerate(pieces + continuations)},
    }


def _make_byte_fallback(model: dict[str, Any]) -> dict[str, Any]:
    """Make byte-pair encoding that knows every text and keeps words of the vocabulary whole."""
    vocab = model["vocab"]
    for byte in range(NUM_BYTES):
        vocab.setdefault(f"<0x{byte:02X}>", len(vocab))
    # ignore_merges: a word of the vocabulary becomes one token, as in Llama 3.
    return model | {"byte_fallback": True, "ignore_merges": True, "unk_token": "<unk>"}
