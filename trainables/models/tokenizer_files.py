"""A tokenizer's files before it is loaded: is there one, and which packages does it need."""

from __future__ import annotations

import json
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path
from typing import Any

TOKENIZER = "tokenizer.json"
"""The whole of a fast tokenizer in one file."""
SENTENCEPIECE = ("tokenizer.model", "spiece.model", "spm.model", "sentencepiece.bpe.model")
"""What fast tokenizers are converted from where a checkpoint has no tokenizer.json."""
VOCABULARIES = ("vocab.txt", "vocab.json")
TOKENIZER_CONFIG = "tokenizer_config.json"
SPECIAL_TOKENS = "special_tokens_map.json"
WORD_TOKENIZERS = {"mecab": "fugashi", "sudachi": "sudachipy", "jumanpp": "rhoknp"}
"""What BertJapaneseTokenizer of transformers splits words with -> package that it imports."""

EXTRA_OF = {"fugashi": "words", "unidic_lite": "words", "sentencepiece": "sentencepiece"}
"""Package that a tokenizer needs -> extra of this project that brings it."""


def tokenizer_problems(place: str, names: Collection[str], folder: Path) -> list[str]:
    """Why a checkpoint's tokenizer cannot be loaded here; empty: nothing is known against it.

    Args:
        place: The checkpoint's folder or hub id.
        names: Of the files there.
        folder: Holds the small ones, see :data:`METADATA`.

    Returns:
        That there is none, or each package that it needs and that is not installed.
    """
    one_of = (TOKENIZER, *SENTENCEPIECE, *VOCABULARIES)
    if not any(name in names for name in one_of):
        return [
            f"{place!r} holds no tokenizer ({', '.join(one_of)}); save the model's "
            "tokenizer into it"
        ]
    problems = []
    for package in needed_packages(names, folder):
        if find_spec(package) is None:
            extra = EXTRA_OF.get(package)
            named = f"'xlt-sweep[{extra}]'" if extra else package.replace("_", "-")
            problems.append(
                f"its tokenizer needs {package}, which is not installed; "
                f"pip install {named} on every machine that runs trials"
            )
    return problems


def needed_packages(names: Collection[str], folder: Path) -> list[str]:
    """Packages without which a tokenizer cannot be loaded, beside transformers' own.

    Args:
        names: Of the checkpoint's files.
        folder: Holds its tokenizer_config.json, if it has one.
    """
    config = read_json(folder / TOKENIZER_CONFIG)
    words = WORD_TOKENIZERS.get(str(config.get("word_tokenizer_type")))
    if words == "fugashi":
        options = config.get("mecab_kwargs") or {}
        return [words, *filter(None, [options.get("mecab_dic", "unidic_lite")])]
    if words:
        return [words]
    if TOKENIZER not in names and any(name in names for name in SENTENCEPIECE):
        return ["sentencepiece"]
    return []


def read_json(file: Path) -> dict[str, Any]:
    """The content of a file; empty if there is none, or it is no JSON object."""
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
