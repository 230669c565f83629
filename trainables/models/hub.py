"""The Hugging Face hub: which commit a base model means, its files, and why they cannot be had."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal

from xlt.data.core.errors import InputError
from xlt.trainables.models.base_models import BaseModel, local_folder
from xlt.trainables.models.weights_folder import METADATA, PICKLED, check_files, check_names

UNRESOLVED = "unresolved"
"""Stands for the commit of a hub model when neither the hub nor the local cache can be asked."""
LOADED = ("*.json", "*.safetensors", "*.model", "*.txt")
"""Files that loading needs; pickled weights and code are never downloaded."""
IN_FOLDERS = ("*/*",)
"""Other formats of the same weights lie in folders of a repository."""


@dataclass(frozen=True)
class ModelFiles:
    """The files of a base model that can be had.

    Attributes:
        where: ``cached``: a whole copy of the hub's lies on this machine.
        folder: Holds at least the small files, see :data:`METADATA`.
        sizes: Bytes of each file, by its name.
        to_download: Bytes that loading would fetch.
    """

    where: Literal["folder", "cached", "hub"]
    folder: Path
    sizes: dict[str, int]
    to_download: int = 0


def folder_files(folder: Path, where: Literal["folder", "cached"]) -> ModelFiles:
    """The files of a folder on this machine; that they can be loaded is not looked at."""
    files = (file for file in sorted(folder.iterdir()) if file.is_file())
    return ModelFiles(where, folder, {file.name: file.stat().st_size for file in files})


def resolve_revision(model: BaseModel) -> str | None:
    """The commit that a base model's revision names now.

    Args:
        model: Its ``revision`` may be a commit, a branch, a tag, or None for the newest.

    Returns:
        A commit; None for a local folder or a miniature; :data:`UNRESOLVED` without a connection
        and without a cached copy (the trial can then be planned but not run).

    Raises:
        InputError: No such folder; or the hub knows no such repository or revision, and no copy is
            cached.
    """
    if model.miniature or local_folder(model.path):
        return None
    if model.revision and len(model.revision) == 40:
        return model.revision
    from httpx2 import HTTPError  # what huggingface_hub raises without a connection
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
        raise _told(error, model.path, model.revision) from error
    except (HTTPError, OSError) as error:  # gated, offline ...: a cached copy may still do
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
            raise _told(unknown, model.path, model.revision) from unknown
        return UNRESOLVED
    return Path(cached).name


def metadata_folder(model: BaseModel, revision: str | None, *, download: bool) -> Path | None:
    """A folder with the small files of a checkpoint, see :data:`METADATA`.

    Args:
        model: A local folder or a hub id.
        revision: From :func:`resolve_revision`.
        download: Whether the hub may be asked for what is not cached.

    Returns:
        None if nothing is cached and the hub may not be asked.

    Raises:
        InputError: The hub was asked and does not give them.
    """
    if folder := local_folder(model.path):
        return folder
    try:
        return _snapshot(model.path, revision, METADATA, local_files_only=not download)
    except InputError:
        if download:
            raise
        return None


def loadable_folder(path: str, revision: str | None) -> Path:
    """A folder with all files that loading needs; downloads what is not cached.

    Args:
        path: A local folder or a hub id.
        revision: A commit of the hub.

    Raises:
        InputError: Gated without access, no such repository or revision, no connection.
    """
    return local_folder(path) or _snapshot(path, revision, LOADED)


def hub_files(path: str, revision: str | None) -> ModelFiles:
    """The files of a repository, of which none but the small ones are downloaded.

    The hub is asked unless a whole copy is cached.

    Args:
        path: A hub id.
        revision: From :func:`resolve_revision`; None: the newest commit.

    Raises:
        InputError: They cannot be had (see :func:`loadable_folder`), or not be loaded (see
            :func:`check_files`; the content of weights that are not
            downloaded is not known).
    """
    if whole := _whole_copy(path, revision):
        check_files(whole)
        return folder_files(whole, "cached")
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
        raise _told(error, path, revision) from error
    check_names(path, {file.filename for file in listed}, folder)
    loaded = [file for file in listed if not fnmatch(file.filename, PICKLED)]
    lacking = [file.file_size or 0 for file in loaded if file.will_download]
    sizes = {file.filename: file.file_size or 0 for file in loaded}
    return ModelFiles("hub", folder, sizes, sum(lacking))


def _whole_copy(path: str, revision: str | None) -> Path | None:
    """The cached copy, unless it has no weights, as one that was only tokenised with."""
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

    disable_progress_bars()  # they would bury the sweep's lines
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
        raise _told(error, path, revision) from error


def _told(error: Exception, path: str, revision: str | None) -> InputError:
    """An error of the hub as one sentence with its remedy."""
    from huggingface_hub import constants, errors

    if isinstance(error, errors.GatedRepoError):
        return InputError(
            f"{path!r} is gated and this machine's token has no access; accept its terms "
            f"at {constants.ENDPOINT}/{path}, then `hf auth login` or set HF_TOKEN on every "
            "machine that runs trials"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return InputError(f"{path!r} has no revision {revision!r} on the hub; mend it")
    if isinstance(error, (errors.RepositoryNotFoundError, errors.HFValidationError)):
        return InputError(
            f"the hub has no repository {path!r}, or it is private and this machine's "
            "token does not open it; mend the id, `hf auth login`, or give a local folder"
        )
    return InputError(
        f"{path!r} is not wholly cached and the hub cannot be asked "
        f"({type(error).__name__}); connect, download it before "
        f"(`hf download {path}{f' --revision {revision}' if revision else ''}`), or give a local "
        "folder"
    )
