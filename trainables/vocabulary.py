"""Tokenizers of the miniatures, trained on their corpus."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

PIECES = r"\p{Han}+|\p{Hiragana}+|[\p{Katakana}ー]+|\p{N}|[\p{L}\p{M}]+|[^\s]"
"""Text is cut where the script changes, which in Japanese mostly is a word boundary, so that a
word is the same piece within either language."""
BERT_TOKENS = {
    "pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}  # fmt: skip
DECODER_TOKENS = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}  # no pad: as Llama


def train_tokenizer(architecture: str, texts: Iterable[str], vocab_size: int) -> Any:
    """Train WordPiece for BERT, byte-pair encoding with byte fallback for decoders.

    Every text is wrapped in special tokens: ``[CLS] text [SEP]`` or ``<s> text </s>``.

    Args:
        architecture: As in a miniature's recipe.
        texts: What to train on.
        vocab_size: Entries at most, special tokens and bytes included.

    Returns:
        A fast tokenizer of transformers.
    """
    bert = architecture == "bert"
    names = BERT_TOKENS if bert else DECODER_TOKENS
    special = list(names.values())
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]") if bert else models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(PIECES), "removed", invert=True)
    if bert:
        trainer: Any = trainers.WordPieceTrainer(vocab_size=vocab_size, special_tokens=special)
        tokenizer.train_from_iterator(texts, trainer)
        start, end = "[CLS]", "[SEP]"
    else:
        trainer = trainers.BpeTrainer(vocab_size=vocab_size - 256, special_tokens=special)
        tokenizer.train_from_iterator(texts, trainer)
        tokenizer = _with_bytes(tokenizer)
        start, end = "<s>", "</s>"
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (start, end)],
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def _with_bytes(tokenizer: Tokenizer) -> Tokenizer:
    """Add the 256 bytes that spell what the vocabulary lacks, so that no text is unknown."""
    state = json.loads(tokenizer.to_str())
    vocab = state["model"]["vocab"]
    for byte in range(256):
        vocab.setdefault(f"<0x{byte:02X}>", len(vocab))
    state["model"] |= {"byte_fallback": True, "unk_token": "<unk>"}
    return Tokenizer.from_str(json.dumps(state))
