"""A results location: files under a root, on the local disk or behind any pyarrow.fs URI."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs

from data.errors import InputError
from trainables.spec import RESULT_FORMAT

MARKER = "xlt-results.json"
"""Lies in the root of every results location; a folder with files but without it is not ours."""


class Storage:
    """Files under a root that is ours; a write is whole or did not happen.

    Args:
        uri: A local path or any URI that pyarrow.fs understands (file, s3, gs, hdfs).

    Raises:
        InputError: The URI cannot be read.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri if "://" in uri else str(Path(uri).expanduser().absolute())
        try:
            self.fs, root = pafs.FileSystem.from_uri(self.uri)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"results location {uri!r} cannot be used: {error}") from error
        self.root = root.rstrip("/")
        if not self.root:
            raise InputError(f"results location {uri!r} names no folder or bucket; add one")

    def path(self, *parts: str) -> str:
        """A path below the root, in the file system's own form."""
        return "/".join([self.root, *parts])

    # --- the root ---------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make the root, or check that it is ours and writable.

        Raises:
            InputError: Not writable, full, other files in it, or of another format version.
        """
        try:
            self.check()
            if not self.exists(MARKER):
                self.fs.create_dir(self.root, recursive=True)
                self.write(MARKER, to_json({"format": RESULT_FORMAT, "kind": "xlt-sweep results"}))
            probe = f".probe-{uuid.uuid4().hex}"
            self.write(probe, b"x")
            self.fs.delete_file(self.path(probe))
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                f"results location {self.uri!r} cannot be written: {error}; "
                "free space, mend the permissions or give another --results"
            ) from error

    def check(self) -> None:
        """Refuse a root that holds something else or another format version."""
        if self.exists(MARKER):
            found = self.read_json(MARKER).get("format")
            if found != RESULT_FORMAT:
                raise InputError(
                    f"results location {self.uri!r} has format {found}; this version reads and "
                    f"writes format {RESULT_FORMAT}; give another --results"
                )
            return
        info = self.fs.get_file_info(self.root)
        if info.type == pafs.FileType.File:
            raise InputError(f"results location {self.uri!r} is a file; give a folder")
        others = self.fs.get_file_info(pafs.FileSelector(self.root, allow_not_found=True))
        # Hidden files (a write that was cut off, .DS_Store) and a fresh disk's own folder are no
        # one's results.
        if any(not other.base_name.startswith((".", "lost+found")) for other in others):
            raise InputError(
                f"results location {self.uri!r} holds other files and no {MARKER}; "
                "give an empty folder or an earlier results folder"
            )

    # --- files ------------------------------------------------------------------------------

    def exists(self, *parts: str) -> bool:
        """Whether a file lies below the root."""
        info = self.fs.get_file_info(self.path(*parts))
        return bool(info.type == pafs.FileType.File)

    def read(self, *parts: str) -> bytes:
        """A file's bytes."""
        with self.fs.open_input_stream(self.path(*parts)) as stream:
            return bytes(stream.read())

    def read_json(self, *parts: str) -> dict[str, Any]:
        """A JSON object; a damaged one is an InputError that names the file."""
        try:
            value = json.loads(self.read(*parts))
        except ValueError as error:
            raise InputError(f"{self.path(*parts)} is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise InputError(f"{self.path(*parts)} is not a JSON object")
        return value

    def write(self, path: str, content: bytes) -> None:
        """Write a file so that a reader sees the old content or the new, never a part."""
        target = self.path(path)
        if isinstance(self.fs, pafs.LocalFileSystem):
            folder, _, name = target.rpartition("/")
            partial = f"{folder}/.{name}.{uuid.uuid4().hex}.partial"
            try:
                with open(partial, "wb") as stream:
                    stream.write(content)
                    stream.flush()
                    os.fsync(stream.fileno())
                os.replace(partial, target)
            finally:
                Path(partial).unlink(missing_ok=True)
        else:  # object stores show an object only when it is whole
            with self.fs.open_output_stream(target) as stream:
                stream.write(content)


def to_json(value: dict[str, Any]) -> bytes:
    """A JSON object as the bytes of a file, for people to read too."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
