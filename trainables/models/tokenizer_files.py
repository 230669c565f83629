"""Check the files of a tokenizer before it is loaded, and the packages that it needs."""

from __future__ import annotations

from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xlt.data.core.files import read_json_file

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKENIZER = "tokenizer.json"
"""File that holds a complete fast tokenizer."""
SENTENCEPIECE = (
    "tokenizer.model", "spiece.model", "spm.model", "sentencepiece.bpe.model", "source.spm",
)  # fmt: skip
"""Files that sentencepiece reads if a checkpoint has no tokenizer.json; the last is Marian's."""
VOCABULARIES = ("vocab.txt", "vocab.json")
TOKENIZER_CONFIG = "tokenizer_config.json"
SPECIAL_TOKENS = "special_tokens_map.json"
WORD_TOKENIZERS = {"mecab": "fugashi", "sudachi": "sudachipy", "jumanpp": "rhoknp"}
"""Word tokenizer of BertJapaneseTokenizer in transformers -> package that it imports."""

EXTRA_OF = {"fugashi": "words", "unidic_lite": "words", "sentencepiece": "sentencepiece"}
"""Package that a tokenizer needs -> extra of this project that installs it."""


def list_tokenizer_problems(place: str, names: Collection[str], folder: Path) -> list[str]:
    """List the reasons why a checkpoint's tokenizer cannot be loaded on this machine.

    Args:
        place: Folder or hub id of the checkpoint.
        names: Names of its files.
        folder: Folder with its small files, see :data:`METADATA`.

    Returns:
        A problem if there is no tokenizer, and one for each package that is not installed.
    """
    one_of = (TOKENIZER, *SENTENCEPIECE, *VOCABULARIES)
    if not any(name in names for name in one_of):
        return [
            f"{place!r} holds no tokenizer ({', '.join(one_of)}); save the model's "
            "tokenizer into it"
        ]
    problems = []
    for package in list_needed_packages(names, folder):
        if find_spec(package) is None:
            extra = EXTRA_OF.get(package)
            named = f"'xlt-sweep[{extra}]'" if extra else package.replace("_", "-")
            problems.append(
                f"its tokenizer needs {package}, which is not installed; "
                f"pip install {named} on every machine that runs trials"
            )
    return problems


def list_needed_packages(names: Collection[str], folder: Path) -> list[str]:
    """List the packages that a tokenizer needs beyond the dependencies of transformers.

    Args:
        names: Names of the checkpoint's files.
        folder: Folder with its tokenizer_config.json, if it has one.
    """
    config = read_json(folder / TOKENIZER_CONFIG)
    words = WORD_TOKENIZERS.get(str(config.get("word_tokenizer_type")))
    if words == "fugashi":
        options = config.get("mecab_kwargs")
        named = options if isinstance(options, dict) else {}
        return [words, *filter(None, [str(named.get("mecab_dic", "unidic_lite") or "")])]
    if words:
        return [words]
    if TOKENIZER not in names and any(name in names for name in SENTENCEPIECE):
        return ["sentencepiece"]
    return []


def read_tokenizer(folder: Path) -> Tokenizer | None:
    """Read tokenizer.json, with its own padding and truncation switched off.

    Some published files pad each text to a fixed length and cut it, which would hide the last token
    and the length of a text.

    Returns:
        None if the folder has no such file or the file is damaged, which loading reports.
    """
    file = folder / TOKENIZER
    if not file.is_file():
        return None
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception:  # the library raises no narrower type
        return None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def describe_too_many_tokens(size: int, rows: int) -> str:
    """Message for a tokenizer with more tokens than the model has embeddings."""
    return (
        f"its tokenizer has {size:,} tokens, but the model has embeddings of {rows:,}; give the "
        "tokenizer that belongs to it"
    )


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object; empty if the file is missing or is no JSON object."""
    try:
        content = read_json_file(file)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
