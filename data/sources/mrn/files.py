"""The files of a Machine Readable News archive: finding them, and streaming their lines."""

from __future__ import annotations

import posixpath
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import orjson
import pyarrow as pa
import pyarrow.fs as pafs

from xlt.data.core.errors import InputError
from xlt.data.core.locations import locate
from xlt.data.tables.files import find_files

NAMES = re.compile(
    r"(STORY\.RTRS\.\d{4}-\d{2}\.REC\.JSON|News\.RTRS\.\d{6}\.\d{4})\.txt(\.gz)?", re.ASCII
)
"""Names of monthly files in both generations; the last four digits of the older are a version."""
SHOWN_NAMES = "STORY.RTRS.YYYY-MM.REC.JSON.txt[.gz] or News.RTRS.YYYYMM.0214.txt[.gz]"
KIND = "MRN_STORY"
"""``RIC`` in the header of files with stories; files with scores, for example, have another."""
END = b"]}"
BLOCK = 1 << 20
"""Bytes that are read at once."""
PACKED_BLOCK = 1 << 16
"""Compressed bytes that are unpacked at once. Blocks are small, because damage loses the content
of its block."""
MAX_LINE = 1 << 24
"""Most bytes of a line in memory. The longest texts of a wire service have less than a tenth of it;
a longer line is damage, or an archive without line breaks."""
MARGIN = timedelta(days=1)
"""Longest time by which an item may lie outside the period in the header of its file."""

Advance = Callable[[int], None]
"""Function that is called with the number of bytes of each block that was read."""


@dataclass(frozen=True)
class ArchiveFile:
    """A file that is not yet read.

    Attributes:
        fs: File system of the file.
        path: Path in the file system.
        size: Bytes of the file as stored.
    """

    fs: pafs.FileSystem
    path: str
    size: int

    def blocks(self, advance: Advance) -> Iterator[bytes]:
        """Read the content in blocks, unpacked if the name ends in .gz.

        Raises:
            OSError, pa.ArrowException, zlib.error, EOFError: The rest cannot be read.
        """
        with self.fs.open_input_stream(self.path, compression=None) as stream:
            stored = self._stored(stream, advance)
            yield from _unpack(stored) if self.path.lower().endswith(".gz") else stored

    @staticmethod
    def _stored(stream: pa.NativeFile, advance: Advance) -> Iterator[bytes]:
        while block := stream.read(BLOCK):
            advance(len(block))
            yield block


def find_archive_files(paths: Iterable[str]) -> list[ArchiveFile]:
    """Find the files that paths match, without repetitions.

    Args:
        paths: Files (``*`` allowed in the name) or folders, as local paths or pyarrow.fs URIs.

    Returns:
        The files, sorted by path.

    Raises:
        InputError: A path does not exist, or a folder holds no file of an archive.
    """
    by_path: dict[tuple[str, str], ArchiveFile] = {}
    problems = []
    for path in paths:
        try:
            for file in _find(path):
                by_path[file.path, file.fs.type_name] = file
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise InputError(problems)
    return [by_path[key] for key in sorted(by_path)]


def _find(pattern: str) -> list[ArchiveFile]:
    try:
        fs, root = locate(pattern)
        infos = None
        if fs.get_file_info(root).type == pafs.FileType.Directory:
            infos = fs.get_file_info(pafs.FileSelector(root, recursive=True))
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot be read: {error}", pattern) from error
    if infos is None:
        paths = [file.path for file in find_files(pattern, "jsonl")]
        infos = fs.get_file_info(paths)
    else:
        infos = [info for info in infos if NAMES.fullmatch(posixpath.basename(info.path))]
        infos = [info for info in infos if info.type == pafs.FileType.File]
    if not infos:
        raise InputError(f"the folder holds no file named {SHOWN_NAMES}; name the files", pattern)
    return [ArchiveFile(fs, info.path, info.size or 0) for info in infos]


class Lines:
    """An iterator over the lines of a stream of blocks, in constant memory.

    It yields (number from 1, line) for each line with a line break; the line is None if it is
    longer than :data:`MAX_LINE`. The attributes are set at the end.

    Args:
        blocks: The content of a file in blocks.

    Attributes:
        number: Number of line breaks.
        tail: The content after the last line break.
        problem: The reason why the blocks could not be read to the end, or None.
    """

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self.number = 0
        self.tail = b""
        self.problem: str | None = None
        self._blocks = blocks

    def __iter__(self) -> Iterator[tuple[int, bytes | None]]:
        """Iterate over the lines; this works once."""
        is_skipping = False
        try:
            for block in self._blocks:
                *lines, self.tail = (self.tail + block).split(b"\n")
                for line in lines:
                    self.number += 1
                    is_long = is_skipping or len(line) > MAX_LINE
                    is_skipping = False
                    yield self.number, None if is_long else line
                if len(self.tail) > MAX_LINE:
                    is_skipping, self.tail = True, b""
        except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
            self.problem = f"cannot be read from here on: {error}"
        if is_skipping:
            self.tail = b""
            self.problem = self.problem or f"a line of over {MAX_LINE} bytes that never ends"


@dataclass(frozen=True)
class Header:
    """The first line of a file.

    Attributes:
        first: First day of the period that the file covers; None: not known.
        last: Last day of the period; None: not known.
    """

    first: date | None
    last: date | None

    def is_outside(self, start: date | None, end: date | None) -> bool:
        """Whether the file can have no item from ``start`` to ``end``."""
        is_before = start and self.last and start - self.last > MARGIN
        is_after = end and self.first and self.first - end > MARGIN
        return bool(is_before or is_after)


def parse_header(line: bytes) -> Header:
    """Read the first line of a file.

    Raises:
        ValueError: The line is not the header of an archive of stories.
    """
    try:
        header = orjson.loads(line.removeprefix(b"\xef\xbb\xbf") + END)
        ric, items = header["RIC"], header["Items"]
    except (ValueError, KeyError, TypeError):
        ric, items = None, None
    if items != []:
        raise ValueError(
            'is not a Machine Readable News archive: its first line is not {"RIC": ..., "Items":['
        )
    if ric != KIND:
        raise ValueError(f"holds {str(ric)[:40]!r} and not {KIND}, which alone has headlines")
    return Header(_day(header.get("Start")), _day(header.get("End")))


def _day(value: object) -> date | None:
    try:
        return datetime.fromisoformat(str(value)).date()
    except ValueError:
        return None


def _unpack(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Unpack gzip; a file may have several members, and padding by zeros."""
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
    for block in blocks:
        for start in range(0, len(block), PACKED_BLOCK):
            packed = block[start : start + PACKED_BLOCK]
            while packed:
                if unpacker.eof:
                    packed = packed.lstrip(b"\0")
                    if not packed:
                        break
                    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
                # A block at a time, because a few packed bytes may unpack to gigabytes.
                yield unpacker.decompress(packed, BLOCK)
                packed = unpacker.unconsumed_tail or unpacker.unused_data
    yield unpacker.flush()
    if not unpacker.eof:
        raise EOFError("the compressed data end early; the file was cut off")
