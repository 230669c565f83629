"""The files of a base model, in a folder or on the hub: whether they can be had and can be read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from data.errors import InputError

WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack")
"""Weights that are never read: opening most of these formats can run code."""
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer.model", "vocab.txt", "vocab.json", "spiece.model",
    "sentencepiece.bpe.model", "spm.model",
)  # fmt: skip
"""Vocabularies as the tokenizers of transformers name them; one of them is there."""
SENTENCEPIECE = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "spm.model")
WORD_TOKENIZERS = {"mecab": "fugashi", "sudachi": "sudachipy", "jumanpp": "rhoknp"}
"""What BertJapaneseTokenizer splits words with -> the module that it imports."""
HUB_SECONDS = 10
"""Waited for each answer of the hub."""


@dataclass(frozen=True)
class CheckpointFiles:
    """What there is to load.

    Attributes:
        where: ``folder``, ``cached`` (a copy of the hub's on this machine) or ``hub``.
        sizes: Bytes of each file, by its name.
        to_download: Bytes of the files that loading would fetch.
        config: config.json; empty: there is none.
        tokenizer_config: tokenizer_config.json; empty: there is none.
        folder: Where the files lie, unless they are on the hub only.
    """

    where: str
    sizes: dict[str, int]
    to_download: int
    config: dict[str, Any]
    tokenizer_config: dict[str, Any]
    folder: Path | None = None

    def problems(self) -> list[str]:
        """Why it cannot be loaded, each with the remedy; empty: nothing is known against it."""
        if not self.config:
            if "adapter_config.json" in self.sizes:
                return ["holds an adapter, not a base model; give the model that it was trained on"]
            return ["has no config.json; give a complete checkpoint of transformers"]
        return [*self._weights(), *self._tokenizer()]

    def _weights(self) -> list[str]:
        names = [name for name in self.sizes if name.endswith(".safetensors")]
        if WEIGHTS not in self.sizes and WEIGHTS_INDEX not in self.sizes:
            pickled = [n for n in self.sizes if any(fnmatch(n, kind) for kind in PICKLED)]
            if pickled:
                return [
                    f"has its weights only as {', '.join(pickled[:3])}, which can run code when "
                    "opened; load it once where you trust it and save_pretrained it as safetensors"
                ]
            return [f"has no {WEIGHTS} and no {WEIGHTS_INDEX}; give a complete checkpoint"]
        if self.folder is None:
            return []
        problems = []
        if WEIGHTS not in self.sizes:
            index = _read_json(self.folder / WEIGHTS_INDEX).get("weight_map", {})
            lacking = sorted({*index.values()} - {*names})
            if lacking:
                problems.append(f"lacks {', '.join(lacking)} of its weights; copy them, too")
        return problems + [told for name in sorted(names) if (told := _damage(self.folder / name))]

    def _tokenizer(self) -> list[str]:
        there = [name for name in TOKENIZER_FILES if name in self.sizes]
        if not there:
            return [f"has no tokenizer ({', '.join(TOKENIZER_FILES)}); copy its files, too"]
        needed = []
        if self.tokenizer_config.get("tokenizer_class") == "BertJapaneseTokenizer":
            kind = self.tokenizer_config.get("word_tokenizer_type", "basic")
            if kind in WORD_TOKENIZERS:
                needed.append(WORD_TOKENIZERS[kind])
            if kind == "mecab":
                options = self.tokenizer_config.get("mecab_kwargs") or {}
                needed.append(options.get("mecab_dic") or "unidic_lite")
        elif "tokenizer.json" not in there and there[0] in SENTENCEPIECE:
            needed.append("sentencepiece")
        lacking = [module.replace("_", "-") for module in needed if find_spec(module) is None]
        if lacking:
            return [
                f"needs {', '.join(lacking)} for its tokenizer: pip install {' '.join(lacking)}"
            ]
        return []


def in_folder(folder: Path, where: str = "folder") -> CheckpointFiles:
    """The files of a local folder.

    Raises:
        InputError: A config in it is not JSON.
    """
    sizes = {file.name: file.stat().st_size for file in sorted(folder.iterdir()) if file.is_file()}
    config, tokenizer = (
        _read_json(folder / name) if name in sizes else {}
        for name in ("config.json", "tokenizer_config.json")
    )
    return CheckpointFiles(where, sizes, 0, config, tokenizer, folder)


def on_hub(repo: str, revision: str | None) -> CheckpointFiles:
    """The files of a hub repository; its config is fetched, its weights are not.

    Args:
        repo: Hub id.
        revision: Commit, branch or tag; None: main.

    Returns:
        Of the hub, or of the copy in the hub's cache on this machine where the hub gives no
        answer.

    Raises:
        InputError: No such repository or revision, no access, or no answer and no copy.
    """
    from httpx2 import HTTPError  # what huggingface_hub raises without a connection
    from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    api = HfApi()
    try:
        info = api.model_info(repo, revision=revision, files_metadata=True, timeout=HUB_SECONDS)
        if info.gated:
            api.auth_check(repo)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
        config, tokenizer = (
            _read_json(Path(hf_hub_download(repo, name, revision=info.sha)))
            if name in sizes
            else {}
            for name in ("config.json", "tokenizer_config.json")
        )
    except GatedRepoError as error:
        raise InputError(
            f"access to {repo} has to be granted: accept its licence at {api.endpoint}/{repo}, "
            "then `hf auth login`, or set HF_TOKEN"
        ) from error
    except RevisionNotFoundError as error:
        raise InputError(f"{repo} has no revision {revision!r}; mend it") from error
    except RepositoryNotFoundError as error:
        raise InputError(
            f"the hub has no {repo}, or hides it from you; mend the name, or set HF_TOKEN"
        ) from error
    except (HTTPError, HfHubHTTPError, OSError) as error:
        return _without_hub(repo, revision, error)
    wanted = [name for name in sizes if "/" not in name and _is_loaded(name)]
    lacking = [n for n in wanted if not _is_cached(try_to_load_from_cache, repo, n, info.sha)]
    to_download = sum(sizes[name] for name in lacking)
    return CheckpointFiles(
        "hub" if to_download else "cached", sizes, to_download, config, tokenizer
    )


def _without_hub(repo: str, revision: str | None, error: Exception) -> CheckpointFiles:
    """The cached copy."""
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(repo, revision=revision, local_files_only=True)
    except OSError:
        first = str(error).partition("\n")[0]
        raise InputError(
            f"the hub gives no answer for {repo} and no copy is cached ({first}); connect, "
            "download it first, or give a local folder as its path"
        ) from error
    return in_folder(Path(folder), "cached")


def _is_loaded(name: str) -> bool:
    """Whether loading fetches a file: weights as safetensors, and what tokenizers read."""
    weights = fnmatch(name, "model*.safetensors")
    return weights or name.endswith((".json", ".txt", ".model"))


def _is_cached(look: Any, repo: str, name: str, revision: str | None) -> bool:
    return isinstance(look(repo, name, revision=revision), str)


def _damage(file: Path) -> str:
    """Why a safetensors file cannot be read, from its header; empty: it can."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy"):
            return ""
    except (SafetensorError, OSError) as error:
        return f"has a damaged {file.name} ({error}); copy or download it again"


def _read_json(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file} is not JSON: {error}") from error
    return value if isinstance(value, dict) else {}
