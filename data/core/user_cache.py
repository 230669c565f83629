"""The cache folder of the user, and cache files of keys and values in it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import platformdirs
import pyarrow as pa

from xlt.data.core.errors import InputError
from xlt.data.core.files import replacing

CACHE_FORMAT = 1
"""Version of the format of cache files; a file of another version is not read."""
SETTLED_SECONDS = 2.0
"""Shortest age of a folder whose content is cached. After a younger change, a second change within
one tick of the clock would not change the time stamp. Two seconds is the longest tick (FAT; object
stores have one second). Git's index has the same rule."""
_DIGEST = 32


class CacheFile:
    """A cache file: key -> bytes. A file that is missing or damaged counts as empty.

    Args:
        about: The origin of the values, e.g. a location; gives the file its name.
        kind: The kind of values.
        version: Version of the values; a file of another version is not read.

    Attributes:
        values: The values in the file.
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
        if not self.file.is_file():  # a pipe would wait for ever
            return {}
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
        """Replace the values; if the file cannot be written, the next command takes longer."""
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
        with contextlib.suppress(OSError):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self.file) as stream:
                stream.write(hashlib.sha256(body).digest())
                stream.write(body)


def cache_dir() -> Path:
    """Give the cache folder for miniatures and verified results; ``XLT_CACHE`` overrides it."""
    override = os.environ.get("XLT_CACHE")
    return Path(override).absolute() if override else Path(platformdirs.user_cache_dir("xlt-sweep"))


def prepare_cache_dir(num_bytes: int) -> None:
    """Make the cache folder before something that must be kept there is computed.

    Args:
        num_bytes: Space that it will need.

    Raises:
        InputError: It cannot be written, or has less space.
    """
    with writing_to_cache():
        cache_dir().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache_dir()) as probe:
            probe.write(bytes(num_bytes))


@contextlib.contextmanager
def writing_to_cache() -> Iterator[None]:
    """Name the cache folder in the error of a block that writes something which must be kept there.

    Raises:
        InputError: The block raised an OSError.
    """
    try:
        yield
    except OSError as error:
        raise InputError(
            f"cache folder {str(cache_dir())!r} cannot be written: {error.strerror or error}; free "
            "space, fix the permissions or set XLT_CACHE to another folder"
        ) from error
