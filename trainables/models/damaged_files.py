"""Describe files of a checkpoint whose first bytes show that they cannot be read."""

from __future__ import annotations

import codecs
from pathlib import Path

POINTER = b"version https://git-lfs.github.com/spec/"
"""First bytes of a Git LFS pointer, which `git clone` leaves in place of a large file if Git LFS is
not installed. Source: docs/spec.md of git-lfs/git-lfs."""


def describe_damage(file: Path) -> str | None:
    """Describe why a file cannot be read, judged by its first bytes.

    Args:
        file: Any file of a checkpoint.

    Returns:
        A sentence with the remedy; None if the first bytes show no damage.
    """
    with file.open("rb") as stream:
        start = stream.read(len(POINTER))
    if start == POINTER:
        return (
            f"{str(file)!r} is a Git LFS pointer, not the file itself; run `git lfs pull` in its "
            "repository, or download the file from the hub"
        )
    if file.suffix == ".json" and start.startswith(codecs.BOM_UTF8):
        return (
            f"{str(file)!r} begins with a byte order mark, which transformers cannot read; save it "
            "as UTF-8 without a byte order mark"
        )
    return None


def list_damaged_files(folder: Path) -> list[str]:
    """List the problems of all files of a folder, see :func:`describe_damage`.

    Pipes, sockets and devices are problems, too: whoever reads one may wait forever.
    """
    problems = []
    for file in sorted(folder.iterdir()):
        if file.is_file():
            problems.append(describe_damage(file))
        elif file.exists() and not file.is_dir():
            problems.append(f"{str(file)!r} is a pipe, socket or device, not a file; copy it again")
    return list(filter(None, problems))
