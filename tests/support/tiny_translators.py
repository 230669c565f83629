"""Small random translators in the forms of NLLB, M2M100, mBART-50, Marian and T5."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sentencepiece
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789風力発電所会社気候試合"
SPECIALS = ["<s>", "<pad>", "</s>", "<unk>"]
SIZE: dict[str, Any] = {
    "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "init_std": 0.7,
    "max_position_embeddings": 64,
}  # fmt: skip
IDS = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}


def _vocabulary() -> dict[str, int]:
    return {token: number for number, token in enumerate([*SPECIALS, "▁", *CHARACTERS])}


def _save_sentencepiece(folder: Path, *names: str) -> dict[str, int]:
    """Train a model of single characters; give its tokens behind the special ones."""
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(CHARACTERS), CHARACTERS]), model_writer=trained,
        model_type="char", vocab_size=len(CHARACTERS) + 4, minloglevel=2,
    )  # fmt: skip
    for name in names:
        (folder / name).write_bytes(trained.getvalue())
    vocabulary = _vocabulary()
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    return vocabulary


def _nllb(folder: Path) -> Any:
    tokenizer = transformers.NllbTokenizer(vocab=_vocabulary(), merges=[])
    config = transformers.M2M100Config(
        vocab_size=len(tokenizer), decoder_start_token_id=2, **IDS, **SIZE
    )
    tokenizer.save_pretrained(folder)
    return transformers.M2M100ForConditionalGeneration(config)


def _m2m100(folder: Path) -> Any:
    _save_sentencepiece(folder, "sentencepiece.bpe.model")
    tokenizer = transformers.M2M100Tokenizer(
        str(folder / "vocab.json"), str(folder / "sentencepiece.bpe.model")
    )
    tokenizer.save_pretrained(folder)
    size = max(tokenizer.lang_code_to_id.values()) + 9
    config = transformers.M2M100Config(vocab_size=size, decoder_start_token_id=2, **IDS, **SIZE)
    return transformers.M2M100ForConditionalGeneration(config)


def _mbart50(folder: Path) -> Any:
    rows = [(token, -1.0) for token in ["<unk>", "<s>", "</s>", "▁", *CHARACTERS]]
    tokenizer = transformers.MBart50Tokenizer(vocab=rows)
    tokenizer.save_pretrained(folder)
    config = transformers.MBartConfig(
        vocab_size=len(tokenizer), decoder_start_token_id=2, forced_eos_token_id=2, **IDS, **SIZE
    )
    return transformers.MBartForConditionalGeneration(config)


def _marian(folder: Path) -> Any:
    vocabulary = _save_sentencepiece(folder, "source.spm", "target.spm")
    settings = {"tokenizer_class": "MarianTokenizer", "model_max_length": 64}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    config = transformers.MarianConfig(
        vocab_size=len(vocabulary), decoder_start_token_id=1, forced_eos_token_id=2, num_beams=4,
        **IDS, **SIZE,
    )  # fmt: skip
    return transformers.MarianMTModel(config)


def _t5(folder: Path) -> Any:
    plain = Tokenizer(models.BPE(vocab=_vocabulary(), merges=[], unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Metaspace()
    plain.decoder = decoders.Metaspace()
    plain.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 2)]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    config = transformers.T5Config(
        vocab_size=len(_vocabulary()), d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2,
        decoder_start_token_id=1, initializer_factor=8.0, pad_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return transformers.T5ForConditionalGeneration(config)


FORMS: dict[str, Callable[[Path], Any]] = {
    "nllb": _nllb, "m2m100": _m2m100, "mbart50": _mbart50, "marian": _marian, "t5": _t5,
}  # fmt: skip


def save_translator(form: str, folder: Path, seed: int = 0) -> Path:
    """Write a random translator, which turns texts into other characters."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sacremoses is recommended
        model = FORMS[form](folder)
    with torch.no_grad():  # codes of languages are seldom written
        model.get_input_embeddings().weight[len(_vocabulary()) :] *= 0.3
    model.save_pretrained(folder)
    return folder
