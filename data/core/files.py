"""Files below a root, on the local disk or at any pyarrow.fs URI, with atomic writes."""

from __future__ import annotations

import errno
import io
import json
import mmap
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TypeVar

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from xlt.data.core.errors import InputError
from xlt.data.core.json_text import MAX_JSON_BYTES, parse_json
from xlt.data.core.locations import locate

NUM_AT_ONCE = 16
"""Files that are read at the same time from an object store."""
Item = TypeVar("Item")
Result = TypeVar("Result")


class Files:
    """Files below a root.

    Args:
        uri: A local path, or a URI that pyarrow.fs supports (file, s3, gs, hdfs).

    Attributes:
        kind: The word for such a root in error messages.

    Raises:
        InputError: The URI has no known file system, or contains a secret.
    """

    kind = "location"

    def __init__(self, uri: str) -> None:
        self.uri = uri if "://" in uri else str(Path(uri).expanduser().absolute())
        try:
            self.fs, root = locate(self.uri)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{self.kind} {uri!r} cannot be used: {error}") from error
        self.root = root.rstrip("/")
        if not self.root:
            raise InputError(f"{self.kind} {uri!r} names no folder or bucket; add one")

    def path(self, *parts: str) -> str:
        """Join the root and the parts to a path of the file system."""
        return "/".join([self.root, *parts])

    @property
    def is_object_store(self) -> bool:
        """Whether the root lies in an object store, which has keys but no real folders."""
        return self.fs.type_name in ("s3", "gcs")

    def make_folder(self, *parts: str) -> None:
        """Create a folder below the root, with its parents; do nothing in an object store."""
        if not self.is_object_store:
            self.fs.create_dir(self.path(*parts) if parts else self.root, recursive=True)

    def exists(self, *parts: str) -> bool:
        """Whether there is such a file below the root."""
        info = self.fs.get_file_info(self.path(*parts))
        return bool(info.type == pafs.FileType.File)

    def names(self) -> list[str]:
        """List files and folders directly below the root, without hidden ones.

        Returns:
            Sorted names; none if the root does not exist.
        """
        infos = self.fs.get_file_info(pafs.FileSelector(self.root, allow_not_found=True))
        return sorted(info.base_name for info in infos if not info.base_name.startswith("."))

    def sizes(self, *parts: str) -> dict[str, int]:
        """Give the size of each file below a folder, at any depth.

        Returns:
            Path inside the folder -> bytes; empty if the folder does not exist.
        """
        folder = self.path(*parts)
        selector = pafs.FileSelector(folder, allow_not_found=True, recursive=True)
        return {
            info.path[len(folder) + 1 :]: info.size
            for info in self.fs.get_file_info(selector)
            if info.type == pafs.FileType.File
        }

    def read(self, *parts: str, most: int | None = None) -> bytes:
        """Read a file, or its first ``most`` bytes.

        Raises:
            OSError: The file cannot be read, or is a pipe or device, which may have no end.
        """
        path = self.path(*parts)
        if isinstance(self.fs, pafs.LocalFileSystem):
            refuse_special(path)
        with self.fs.open_input_stream(path) as stream:
            return bytes(stream.read(most))

    def map_items(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Call a function that reads files with each item, in parallel for remote files.

        Small local files are read one after the other, which is faster: threads of one
        interpreter wait for each other longer than for the disk.
        """
        if isinstance(self.fs, pafs.LocalFileSystem):
            return list(map(function, items))
        with ThreadPoolExecutor(NUM_AT_ONCE) as pool:
            return list(pool.map(function, items))

    def read_json(self, *parts: str) -> dict[str, Any]:
        """Read a JSON object.

        Raises:
            InputError: The file is no JSON object, or is beyond the limits of
                :mod:`xlt.data.core.json_text`.
        """
        try:
            value = parse_json(self.read(*parts, most=MAX_JSON_BYTES + 1))
        except ValueError as error:
            raise InputError(f"{self.path(*parts)} is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise InputError(f"{self.path(*parts)} is not a JSON object")
        return value

    def write(self, path: str, content: bytes) -> None:
        """Write a file atomically: a reader sees the old content or the new, never a part."""
        if self.is_object_store:
            self._send(self.path(path), content)
            return
        with self.writing(path) as stream:
            stream.write(content)

    def create(self, path: str, content: bytes) -> bool | None:
        """Write a file that must not exist, so that one of several processes creates it.

        Returns:
            Whether this call created the file; None: it did nothing, because the storage cannot
            exclude other processes.
        """
        if not isinstance(self.fs, pafs.LocalFileSystem):
            return None
        file = Path(self.path(path))
        whole = _temporary_name(file)
        try:
            with open(whole, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.link(whole, file)
            _sync_folder(file.parent)
            return True
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            return None  # a disk without hard links
        finally:
            whole.unlink(missing_ok=True)

    def _send(self, target: str, content: bytes | mmap.mmap) -> None:
        """Write a whole file in one call, because Ctrl-C does not interrupt a call."""
        with self.fs.open_output_stream(target) as stream:
            stream.write(content)

    @contextmanager
    def writing(self, path: str) -> Iterator[Any]:
        """Open a stream to a file that is replaced atomically at the end of the block."""
        target = self.path(path)
        if isinstance(self.fs, pafs.LocalFileSystem):
            with replacing(Path(target)) as stream:
                yield stream
        else:
            # A closed stream creates the object, and an error in the block closes the stream too.
            # So nothing is sent before the content is complete.
            with tempfile.TemporaryFile() as whole:
                yield whole
                whole.flush()
                if whole.tell():
                    with mmap.mmap(whole.fileno(), 0, access=mmap.ACCESS_READ) as content:
                        self._send(target, content)
                else:
                    self._send(target, b"")


def refuse_special(file: str | Path) -> None:
    """Raise OSError for a pipe, socket or device: reading it may wait forever or never end."""
    mode = os.stat(file).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # opening a folder has an error of its own
        raise OSError(errno.EINVAL, "a pipe, socket or device, not a file", str(file))


def read_json_file(file: Path) -> Any:
    """Read JSON from a local file.

    Raises:
        OSError: The file cannot be read, or is a pipe, socket or device.
        ValueError: See :func:`parse_json`.
    """
    refuse_special(file)
    with file.open("rb") as stream:
        content = stream.read(MAX_JSON_BYTES + 1)
    return parse_json(content)


@contextmanager
def replacing(file: Path) -> Iterator[IO[bytes]]:
    """Write a local file under a temporary name, and move it into place at the end of the block.

    After an error in the block the previous file, if any, is unchanged.
    """
    partial = _temporary_name(file)
    try:
        with open(partial, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, file)
        _sync_folder(file.parent)
    finally:
        partial.unlink(missing_ok=True)


def _temporary_name(file: Path) -> Path:
    return file.with_name(f".{file.name}.{uuid.uuid4().hex}.partial")


def _sync_folder(folder: Path) -> None:
    """Write a folder's entries to the disk: after a power cut a later file implies earlier ones."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network disks cannot
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_partial(folder: Path) -> None:
    """Remove the temporary files of killed processes from a local folder, at any depth."""
    for file in folder.rglob(".*.partial"):
        file.unlink(missing_ok=True)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Fill a local folder under a temporary name, and move it into place at the end of the block.

    If another process has created the folder meanwhile, that one stays.

    Yields:
        The temporary folder.
    """
    partial = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.partial")
    partial.mkdir(parents=True)
    try:
        yield partial
        try:
            os.replace(partial, folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def to_json(value: dict[str, Any]) -> bytes:
    """Format a JSON object as an indented file that people can read."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def to_parquet(table: pa.Table) -> bytes:
    """Format a table as a Parquet file; equal tables give equal bytes."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()
