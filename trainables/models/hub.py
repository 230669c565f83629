"""The Hugging Face hub: commits and files of base models, and errors with a remedy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal

from xlt.data.core.errors import InputError
from xlt.trainables.models.base_models import BaseModel, find_local_folder
from xlt.trainables.models.weights_folder import METADATA, PICKLED, check_files, check_names

UNRESOLVED = "unresolved"
"""Commit of a hub model if neither the hub nor the local cache knows it."""
LOADED = ("*.json", "*.safetensors", "*.model", "*.spm", "*.txt")
"""Patterns of the files that loading needs; pickled weights and code are never downloaded."""
IN_FOLDERS = ("*/*",)
"""Pattern of files in folders of a repository: other formats of the same weights."""


@dataclass(frozen=True)
class ModelFiles:
    """The files of a base model.

    Attributes:
        where: Place of the files: a local folder, a complete copy in this machine's cache, or the
            hub.
        folder: Folder with at least the small files, see :data:`METADATA`.
        sizes: File name -> bytes.
        to_download: Bytes that loading would download.
    """

    where: Literal["folder", "cached", "hub"]
    folder: Path
    sizes: dict[str, int]
    to_download: int = 0


def list_folder_files(folder: Path, where: Literal["folder", "cached"]) -> ModelFiles:
    """List the files of a local folder, without checking that they can be loaded."""
    files = (file for file in sorted(folder.iterdir()) if file.is_file())
    return ModelFiles(where, folder, {file.name: file.stat().st_size for file in files})


def resolve_revision(model: BaseModel) -> str | None:
    """Find the commit that a base model's revision refers to now.

    Args:
        model: Base model whose ``revision`` is a commit, a branch, a tag, or None for the newest
            commit.

    Returns:
        A commit; None for a local folder or a miniature; :data:`UNRESOLVED` without a connection
        and a cached copy. An unresolved trial can be planned but not run.

    Raises:
        InputError: There is no such folder, or neither the hub nor the cache has such a repository
            or revision.
    """
    if model.miniature or find_local_folder(model.path):
        return None
    if model.revision and len(model.revision) == 40:
        return model.revision
    from httpx2 import HTTPError  # huggingface_hub raises it if there is no connection
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    unknown: Exception | None = None
    try:
        return HfApi().model_info(model.path, revision=model.revision, timeout=10).sha
    except HFValidationError as error:
        raise _with_remedy(error, model.path, model.revision) from error
    except (HTTPError, OSError) as error:  # a cached copy may still be usable
        missing = isinstance(error, (RepositoryNotFoundError, RevisionNotFoundError))
        unknown = error if missing and not isinstance(error, GatedRepoError) else None
    try:
        cached = snapshot_download(
            model.path,
            revision=model.revision,
            allow_patterns=["config.json"],
            local_files_only=True,
        )
    except OSError:
        if unknown:
            raise _with_remedy(unknown, model.path, model.revision) from unknown
        return UNRESOLVED
    return Path(cached).name


def find_metadata_folder(model: BaseModel, revision: str | None, *, download: bool) -> Path | None:
    """Folder with the small files of a checkpoint, see :data:`METADATA`.

    Args:
        model: Base model from a local folder or the hub.
        revision: Commit from :func:`resolve_revision`.
        download: Whether to download files that are not cached.

    Returns:
        None if the files are not cached and must not be downloaded.

    Raises:
        InputError: The download failed.
    """
    if folder := find_local_folder(model.path):
        return folder
    try:
        return _snapshot(model.path, revision, METADATA, local_files_only=not download)
    except InputError:
        if download:
            raise
        return None


def find_loadable_folder(path: str, revision: str | None) -> Path:
    """Folder with all files that loading needs; missing files are downloaded.

    Args:
        path: Local folder or hub id.
        revision: Commit on the hub.

    Raises:
        InputError: The repository is gated or unknown, the revision is unknown, or there is no
            connection.
    """
    return find_local_folder(path) or _snapshot(path, revision, LOADED)


def list_hub_files(path: str, revision: str | None) -> ModelFiles:
    """List the files of a repository; only the small ones are downloaded.

    A complete copy in the cache is used without a request to the hub.

    Args:
        path: Hub id.
        revision: Commit from :func:`resolve_revision`; None: the newest commit.

    Raises:
        InputError: The files are not available (see :func:`find_loadable_folder`) or cannot be
            loaded (see :func:`check_files`). The content of weights that are not downloaded is
            not checked.
    """
    if copy := _complete_copy(path, revision):
        check_files(copy)
        return list_folder_files(copy, "cached")
    from httpx2 import HTTPError
    from huggingface_hub import snapshot_download

    folder = _snapshot(path, revision, METADATA)
    try:
        listed = snapshot_download(
            path,
            revision=folder.name,
            allow_patterns=[*LOADED, PICKLED],
            ignore_patterns=list(IN_FOLDERS),
            dry_run=True,
        )
    except (HTTPError, OSError) as error:
        raise _with_remedy(error, path, revision) from error
    check_names(path, {file.filename for file in listed}, folder)
    loaded = [file for file in listed if not fnmatch(file.filename, PICKLED)]
    missing = [file.file_size or 0 for file in loaded if file.will_download]
    sizes = {file.filename: file.file_size or 0 for file in loaded}
    return ModelFiles("hub", folder, sizes, sum(missing))


def _complete_copy(path: str, revision: str | None) -> Path | None:
    """Cached copy of a repository; None if it lacks files, e.g. if only its tokenizer was used."""
    try:
        folder = _snapshot(path, revision, LOADED, local_files_only=True)
        check_names(path, {file.name for file in folder.iterdir()}, folder)
    except InputError:
        return None
    return folder


def _snapshot(
    path: str,
    revision: str | None,
    patterns: Sequence[str],
    local_files_only: bool = False,
) -> Path:
    from httpx2 import HTTPError
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()  # they would hide the sweep's own lines
    try:
        return Path(
            snapshot_download(
                path,
                revision=revision,
                allow_patterns=list(patterns),
                ignore_patterns=list(IN_FOLDERS),
                local_files_only=local_files_only,
            )
        )
    except (HTTPError, OSError, HFValidationError) as error:
        raise _with_remedy(error, path, revision) from error


def _with_remedy(error: Exception, path: str, revision: str | None) -> InputError:
    """Turn an error of the hub into one sentence with a remedy."""
    from huggingface_hub import constants, errors

    if isinstance(error, errors.GatedRepoError):
        return InputError(
            f"{path!r} is gated and this machine's token has no access; accept its terms "
            f"at {constants.ENDPOINT}/{path}, then `hf auth login` or set HF_TOKEN on every "
            "machine that runs trials"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return InputError(f"{path!r} has no revision {revision!r} on the hub; correct it")
    if isinstance(error, (errors.RepositoryNotFoundError, errors.HFValidationError)):
        return InputError(
            f"the hub has no repository {path!r}, or it is private and this machine's "
            "token has no access to it; correct the id, run `hf auth login`, or give a local folder"
        )
    return InputError(
        f"{path!r} is not completely cached and the hub cannot be reached "
        f"({type(error).__name__}); connect to the network, download it before "
        f"(`hf download {path}{f' --revision {revision}' if revision else ''}`), or give a local "
        "folder"
    )
