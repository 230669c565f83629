"""Which commit of the Hugging Face hub a base model means, so that a push changes no result."""

from __future__ import annotations

from pathlib import Path

from trainables.base_models import BaseModel

UNRESOLVED = "unresolved"
"""Stands for the commit of a hub model when neither the hub nor the local cache can be asked."""


def resolve_revision(model: BaseModel) -> str | None:
    """The commit that a base model's revision names now.

    Args:
        model: Its ``revision`` may be a commit, a branch, a tag, or None for the newest.

    Returns:
        A commit; None for a local folder or a miniature; :data:`UNRESOLVED` without a connection
        and without a cached copy (the trial can then be planned but not run).
    """
    if model.miniature or Path(model.path).expanduser().is_dir():
        return None
    if model.revision and len(model.revision) == 40:
        return model.revision
    from httpx2 import HTTPError  # what huggingface_hub raises without a connection
    from huggingface_hub import HfApi, snapshot_download

    try:
        return HfApi().model_info(model.path, revision=model.revision, timeout=10).sha
    except (HTTPError, OSError):
        pass  # gated, offline or no connection: a cached copy may still do
    try:
        cached = snapshot_download(
            model.path,
            revision=model.revision,
            allow_patterns=["config.json"],
            local_files_only=True,
        )
    except OSError:
        return UNRESOLVED
    return Path(cached).name
