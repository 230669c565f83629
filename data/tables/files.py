"""Files with tables: finding them, and their formats."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.fs as pafs

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.locations import locate

Format = Literal["csv", "tsv", "jsonl", "parquet"]
SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
"""Suffix -> format; ``.gz`` may follow any of them."""


@dataclass(frozen=True)
class File:
    """A file that is not yet read.

    Attributes:
        fs: File system of the file.
        path: Path in the file system.
        format: Format of the content.
        packed: Whether the file is compressed with gzip.
    """

    fs: pafs.FileSystem
    path: str
    format: Format
    packed: bool

    @property
    def name(self) -> str:
        """The name of the file, without its folder."""
        return posixpath.basename(self.path)

    def open(self) -> Any:
        """Open a stream of the uncompressed content.

        Raises:
            OSError, pa.ArrowException: The file cannot be opened.
        """
        stream = self.fs.open_input_stream(self.path, compression=None)
        return pa.CompressedInputStream(stream, "gzip") if self.packed else stream


def find_files(pattern: str, format: Format | None) -> list[File]:
    """Find the files that match a pattern.

    Args:
        pattern: Local path or pyarrow.fs URI; ``*`` in its last part stands for any characters.
        format: Format of the files; None: the suffix of each file decides.

    Returns:
        The files, sorted by name.

    Raises:
        InputError: No file matches, the file system cannot be read, or a suffix is unknown.
    """
    try:
        fs, path = locate(pattern)
        folder, name = posixpath.split(path)
        paths = [path]
        if "*" in name:
            wanted = re.compile(".*".join(map(re.escape, name.split("*"))))
            infos = fs.get_file_info(pafs.FileSelector(folder))
            names = (info.path for info in infos if info.type == pafs.FileType.File)
            paths = sorted(p for p in names if wanted.fullmatch(posixpath.basename(p)))
        elif fs.get_file_info(path).type != pafs.FileType.File:
            paths = []
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot be read: {error}", pattern) from error
    if not paths:
        raise InputError(
            "there is no such file; write * for any characters of a file name", pattern
        )
    return [File(fs, p, format or _format(p, pattern), p.lower().endswith(".gz")) for p in paths]


def _format(path: str, pattern: str) -> Format:
    suffix = posixpath.splitext(path.lower().removesuffix(".gz"))[1]
    if suffix not in SUFFIXES:
        raise InputError(unknown("file suffix", suffix, SUFFIXES) + " Or set format.", pattern)
    return SUFFIXES[suffix]
