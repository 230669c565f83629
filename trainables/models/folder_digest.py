"""Hashes of a base model's files. Hashes of large unchanged files come from a cache."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from pathlib import Path

from xlt.data.core.user_cache import SETTLED_SECONDS, CacheFile

LARGE = 1 << 26
"""Smallest number of bytes of a file whose hash is cached. Reading 64 MiB takes up to a second, and
weights of a 7B model have 13 GB."""


def hash_folder(folder: Path) -> str:
    """SHA-256 (hex) of names and contents of a folder's files, sorted by name."""
    digest = hashlib.sha256()
    files = (path for path in folder.rglob("*") if path.is_file())
    for name, content in hash_files(folder, files).items():
        digest.update(name.encode() + b"\0" + content)
    return digest.hexdigest()


def hash_files(folder: Path, files: Iterable[Path]) -> dict[str, bytes]:
    """Hash files of a folder.

    Hashes of large files are cached in the user's cache folder. They are reused if size,
    modification times and inode of the file are unchanged.

    Args:
        folder: The folder.
        files: Files in it, at any depth.

    Returns:
        Path inside the folder -> SHA-256, sorted by path.
    """
    cache = CacheFile(f"folder {folder.absolute()}", "digests", 1)
    values: dict[str, bytes] = {}
    digests = {}
    for file in sorted(files):
        name = str(file.relative_to(folder))
        digests[name] = _file_digest(file, name, cache, values)
    if values:
        cache.keep(values)
    return digests


def _file_digest(file: Path, name: str, cache: CacheFile, values: dict[str, bytes]) -> bytes:
    """SHA-256 of a file, from the cache if the file is unchanged.

    ``values`` collects the entries that the cache should hold.
    """
    stat = file.stat()
    stamp = f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino} ".encode()
    known = cache.values.get(name, b"")
    if known.startswith(stamp):
        values[name] = known
        return known[len(stamp) :]
    with file.open("rb") as stream:
        content = hashlib.file_digest(stream, "sha256").digest()
    settled = time.time() - max(stat.st_mtime, stat.st_ctime) > SETTLED_SECONDS
    if stat.st_size >= LARGE and settled:
        values[name] = stamp + content
    return content
