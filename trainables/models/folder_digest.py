"""The hash of a base model's folder; large files that did not change are not read again."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from xlt.data.core.user_cache import SETTLED_SECONDS, CacheFile

LARGE = 1 << 26
"""Bytes from which a file's hash is kept: it takes a second or so to read, and 7B weights have 13
GB."""


def folder_digest(folder: Path) -> str:
    """SHA-256 (hex) over names and contents of a folder's files, in any order of the disk.

    Hashes of large files are kept in the user's cache folder under size, times and number of the
    file, as :mod:`xlt.trainables.results.verified` keeps what result folders said.
    """
    kept = CacheFile(f"folder {folder.absolute()}", "digests", 1)
    values: dict[str, bytes] = {}
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = str(file.relative_to(folder))
        content = _stamped(file, name, kept, values)
        digest.update(name.encode() + b"\0" + content)
    if values:
        kept.keep(values)
    return digest.hexdigest()


def _stamped(file: Path, name: str, kept: CacheFile, values: dict[str, bytes]) -> bytes:
    """A file's hash; of a large one that is as it was, the kept one."""
    about = file.stat()
    stamp = f"{about.st_size} {about.st_mtime_ns} {about.st_ctime_ns} {about.st_ino} ".encode()
    known = kept.values.get(name, b"")
    if known.startswith(stamp):
        values[name] = known
        return known[len(stamp) :]
    with file.open("rb") as stream:
        content = hashlib.file_digest(stream, "sha256").digest()
    settled = time.time() - max(about.st_mtime, about.st_ctime) > SETTLED_SECONDS
    if about.st_size >= LARGE and settled:
        values[name] = stamp + content
    return content
