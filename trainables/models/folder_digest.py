"""Hash of a base model's folder. Hashes of large unchanged files come from a cache."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from xlt.data.core.user_cache import SETTLED_SECONDS, CacheFile

LARGE = 1 << 26
"""Smallest number of bytes of a file whose hash is cached. Reading 64 MiB takes up to a second, and
weights of a 7B model have 13 GB."""


def hash_folder(folder: Path) -> str:
    """SHA-256 (hex) of names and contents of a folder's files, sorted by name.

    Hashes of large files are cached in the user's cache folder. They are reused if size,
    modification times and inode of the file are unchanged.
    """
    cache = CacheFile(f"folder {folder.absolute()}", "digests", 1)
    values: dict[str, bytes] = {}
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = str(file.relative_to(folder))
        content = _file_digest(file, name, cache, values)
        digest.update(name.encode() + b"\0" + content)
    if values:
        cache.keep(values)
    return digest.hexdigest()


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
