"""Load a tokenizer of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer
from transformers.utils import logging as transformers_logging

from xlt.data.core.errors import InputError
from xlt.trainables.models.damaged_files import list_damaged_files

# Every trial needs a new head, so warnings about it and progress bars would only hide the log.
transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()


def load_tokenizer(path: str | Path, revision: str | None = None) -> Any:
    """Load a tokenizer that neither pads nor cuts texts by itself.

    Some published tokenizer.json files pad each text to a fixed length and cut it.

    Args:
        path: Folder or hub id.
        revision: Commit on the hub; None: the newest commit.

    Raises:
        InputError: The tokenizer cannot be loaded.
    """
    if Path(path).is_dir() and (damaged := list_damaged_files(Path(path))):
        raise InputError(damaged)
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, revision=revision, trust_remote_code=False)
    except Exception as error:  # damaged files make transformers raise any error
        raise InputError(f"the tokenizer of {str(path)!r} cannot be loaded: {error}") from error
    if tokenizer.is_fast:
        tokenizer.backend_tokenizer.no_padding()
        tokenizer.backend_tokenizer.no_truncation()
    return tokenizer
