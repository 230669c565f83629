"""A tokenizer's files before it is loaded: is there one, and which packages does it need."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from data.errors import InputError

TOKENIZER = "tokenizer.json"
"""The whole of a fast tokenizer in one file."""
SENTENCEPIECE = ("tokenizer.model", "spiece.model", "spm.model", "sentencepiece.bpe.model")
"""What fast tokenizers are converted from where a checkpoint has no tokenizer.json."""
VOCABULARIES = ("vocab.txt", "vocab.json")
TOKENIZER_CONFIG = "tokenizer_config.json"
SPECIAL_TOKENS = "special_tokens_map.json"

EXTRA_OF = {"fugashi": "words", "unidic_lite": "words", "sentencepiece": "sentencepiece"}
"""Package that a tokenizer needs -> extra of this project that brings it."""


def check_tokenizer(folder: Path) -> None:
    """Refuse a folder whose tokenizer cannot be loaded here.

    Args:
        folder: A checkpoint.

    Raises:
        InputError: No tokenizer, or a package that it needs is not installed.
    """
    names = (TOKENIZER, *SENTENCEPIECE, *VOCABULARIES)
    if not any((folder / name).is_file() for name in names):
        raise InputError(
            f"{str(folder)!r} holds no tokenizer ({', '.join(names)}); save the model's "
            "tokenizer into it"
        )
    for package in needed_packages(folder):
        if find_spec(package) is None:
            extra = EXTRA_OF.get(package)
            named = f"'xlt-sweep[{extra}]'" if extra else package.replace("_", "-")
            raise InputError(
                f"its tokenizer needs {package}, which is not installed; "
                f"pip install {named} on every machine that runs trials"
            )


def needed_packages(folder: Path) -> list[str]:
    """Packages without which a folder's tokenizer cannot be loaded, beside transformers' own."""
    config = read_json(folder / TOKENIZER_CONFIG)
    if config.get("word_tokenizer_type") == "mecab":  # BertJapaneseTokenizer
        options = config.get("mecab_kwargs") or {}
        return ["fugashi", *filter(None, [options.get("mecab_dic", "unidic_lite")])]
    if not (folder / TOKENIZER).is_file() and any((folder / f).is_file() for f in SENTENCEPIECE):
        return ["sentencepiece"]
    return []


def read_json(file: Path) -> dict[str, Any]:
    """The content of a file; empty if there is none, or it is no JSON object."""
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
