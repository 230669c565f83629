"""Compare the files of a base model with their hashes: damaged weights are never trained on."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from xlt.data.core.errors import InputError
from xlt.data.core.files import replacing
from xlt.trainables.models.base_models import MINIATURE
from xlt.trainables.models.folder_digest import hash_files, hash_folder

SUMS = "SHA256SUMS"
"""File with the hashes of a miniature's other files, in the form of sha256sum."""
_FOLDER = "sha256:"
"""Beginning of the identity of a local folder, see :func:`identify`."""
_SHA256 = re.compile("[0-9a-f]{64}")


def verify_files(folder: Path, identity: str) -> None:
    """Refuse a base model if one of its files was damaged or changed.

    A miniature has the hashes from its pre-training; one of an earlier version gets them now. The
    identity of a local folder is its hash. The hub's cache names large files by their hash.

    Args:
        folder: Folder with the files.
        identity: Identity of the base model in a trial's spec.

    Raises:
        InputError: The file or folder, with the remedy.
    """
    if identity.startswith(MINIATURE):
        _verify_miniature(folder)
    elif identity.startswith(_FOLDER):
        if hash_folder(folder) != identity.removeprefix(_FOLDER):
            raise InputError(
                f"files in {str(folder)!r} differ from those with which the trials were planned; "
                "restore them, or start again: changed files are another base model"
            )
    else:
        _verify_hub_files(folder)


def write_sums(folder: Path) -> None:
    """Write the hashes of a miniature's files into its folder."""
    with replacing(folder / SUMS) as stream:
        stream.write(_list_sums(folder))


def _verify_miniature(folder: Path) -> None:
    if not (folder / SUMS).is_file():
        with suppress(OSError):  # a cache that is read only
            write_sums(folder)
    elif (folder / SUMS).read_bytes() != _list_sums(folder):
        raise InputError(
            f"the miniature in {str(folder)!r} is damaged: its files differ from {SUMS}; remove "
            "this folder, and the next run pre-trains it again"
        )


def _list_sums(folder: Path) -> bytes:
    files = [f for f in folder.iterdir() if f.is_file() and f.name != SUMS and f.name[0] != "."]
    sums = hash_files(folder, files).items()
    return "".join(f"{content.hex()}  {name}\n" for name, content in sums).encode()


def _verify_hub_files(folder: Path) -> None:
    for name, content in hash_files(folder, folder.glob("*.safetensors")).items():
        blob = (folder / name).resolve()
        if _SHA256.fullmatch(blob.name) and blob.name != content.hex():
            raise InputError(
                f"{name} in the hub's cache is damaged; remove {str(blob)!r}, and it is downloaded "
                "again"
            )
