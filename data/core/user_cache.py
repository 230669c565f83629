"""The user's cache folder, and files of values kept in it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import uuid
from collections.abc import Mapping
from pathlib import Path

import platformdirs
import pyarrow as pa

CACHE_FORMAT = 1
"""Format of a cache file; a file of another format is not read."""
SETTLED_SECONDS = 2.0
"""A folder that changed less long ago is not kept, because a second change within one tick of the
clock would leave its stamp as it is. Two seconds is the coarsest tick (FAT; object stores have
one). Git's index has the same rule."""
_DIGEST = 32


class CacheFile:
    """A cache file: key -> bytes. Whatever is wrong with it, it is empty then.

    Args:
        about: What is kept, e.g. a location; names the file.
        kind: What the bytes are.
        version: Version of the values; a file of another version is not read.

    Attributes:
        values: What was kept.
    """

    def __init__(self, about: str, kind: str, version: int) -> None:
        name = hashlib.sha256(about.encode()).hexdigest()[:32]
        self.file = cache_dir() / "results" / f"{name}.{kind}"
        self._metadata = {
            b"about": about.encode(),
            b"format": f"{kind} {CACHE_FORMAT} {version}".encode(),
        }
        self.values = self._read()

    def _read(self) -> dict[str, bytes]:
        try:
            content = memoryview(self.file.read_bytes())
            if hashlib.sha256(content[_DIGEST:]).digest() != content[:_DIGEST]:
                return {}
            table = pa.ipc.open_stream(content[_DIGEST:]).read_all()
            if table.schema.metadata != self._metadata:
                return {}
            keys, values = table["key"].to_pylist(), table["value"].to_pylist()
            return dict(zip(keys, values, strict=True))
        except (OSError, pa.ArrowException, LookupError):
            return {}

    def keep(self, values: Mapping[str, bytes]) -> None:
        """Replace what is kept; where that cannot be written, the next reading takes longer."""
        if values == self.values:
            return
        columns = {
            "key": pa.array(list(values), pa.string()),
            "value": pa.array(list(values.values()), pa.large_binary()),
        }
        table = pa.table(columns).replace_schema_metadata(self._metadata)
        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        body = sink.getbuffer()
        unfinished = self.file.with_name(f".{uuid.uuid4().hex}.partial")
        with contextlib.suppress(OSError):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            try:
                with unfinished.open("wb") as stream:
                    stream.write(hashlib.sha256(body).digest())
                    stream.write(body)
                unfinished.replace(self.file)
            finally:
                unfinished.unlink(missing_ok=True)


def cache_dir() -> Path:
    """The user's cache folder, for miniatures and verified results; ``XLT_CACHE`` overrides it."""
    override = os.environ.get("XLT_CACHE")
    return Path(override).absolute() if override else Path(platformdirs.user_cache_dir("xlt-sweep"))
