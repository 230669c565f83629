"""Reading the files of a Machine Readable News archive in parallel processes."""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from ctypes import c_longlong
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import Synchronized
from typing import Any

import pyarrow as pa

from xlt.data.core.errors import InputError
from xlt.data.sources.mrn.files import END, MAX_LINE, Advance, ArchiveFile, Lines, parse_header
from xlt.data.sources.mrn.items import ItemError, NewsItem, parse_item
from xlt.data.sources.mrn.rules import Options, Rules
from xlt.data.sources.reading import REJECTS_SCHEMA, Progress

CANDIDATES_SCHEMA = pa.schema(
    [
        pa.field("guid", pa.string()),
        pa.field("text", pa.string()),
        pa.field("lang", pa.string()),
        pa.field("label", pa.int8()),
        pa.field("moment", pa.timestamp("us", "UTC")),
        pa.field("story", pa.string()),
        pa.field("take", pa.int32()),
        pa.field("line", pa.int64()),
    ]
)
"""Columns of candidates: the items that no rule about single items drops."""
BATCH = 10_000
"""Candidates that are Python objects at once; they take several times the memory of a table."""
BYTES_PER_WORKER = 64 << 20
"""Stored bytes for each process; fewer are not worth its start, which takes half a second."""
TICK = 0.5
"""Seconds between two reports of progress."""
INSTRUMENTS = ("R:", "P:")
"""Prefixes of codes of single instruments and companies, which are too many to collect."""

_num_read: Synchronized[int]


@dataclass
class FileRows:
    """The rows of one file.

    Attributes:
        candidates: num_candidates x :data:`CANDIDATES_SCHEMA`, in the order of the file.
        dropped: Rule -> number of items that it dropped.
        rejects: num_rejected x :data:`REJECTS_SCHEMA`: lines that could not be read.
        languages: Language -> number of items, dropped ones included.
        subjects: Subject codes of all items; codes of instruments only if the options have some.
    """

    candidates: pa.Table = field(default_factory=CANDIDATES_SCHEMA.empty_table)
    dropped: Counter[str] = field(default_factory=Counter)
    rejects: pa.Table = field(default_factory=REJECTS_SCHEMA.empty_table)
    languages: Counter[str] = field(default_factory=Counter)
    subjects: set[str] = field(default_factory=set)


def read_parallel(
    files: Sequence[ArchiveFile],
    options: Options,
    progress: Progress,
    num_workers: int | None = None,
) -> list[FileRows]:
    """Read files in parallel processes.

    Args:
        files: The files.
        options: The options of the source, with its rules.
        progress: Function that is called with (stored bytes read, stored bytes of all files).
        num_workers: Number of processes; 1: this process; None: as many as the cores, files and
            bytes allow.

    Returns:
        The rows of each file, in the order of ``files``.

    Raises:
        InputError: A process was killed.
    """
    num_bytes = sum(file.size for file in files)
    if num_workers is None:
        num_workers = min(len(files), num_cores(), 1 + num_bytes // BYTES_PER_WORKER)
    if num_workers == 1:
        num_read = 0

        def advance(num: int) -> None:
            nonlocal num_read
            num_read += num
            progress(num_read, num_bytes)

        return [read_file(file, options, advance) for file in files]
    # Not fork, because this process may have threads and locks of pyarrow or Ray.
    context = multiprocessing.get_context("spawn")
    counter = context.Value(c_longlong, 0)
    try:
        with ProcessPoolExecutor(num_workers, context, _share, (counter,)) as pool:
            futures = {
                pool.submit(_read_shared, file, options): number
                # The largest file first, so that the processes end at about the same time.
                for number, file in sorted(enumerate(files), key=lambda pair: -pair[1].size)
            }
            pending = set(futures)
            while pending:
                _, pending = wait(pending, timeout=TICK)
                progress(counter.value, num_bytes)
            parts = {number: future.result() for future, number in futures.items()}
    except BrokenProcessPool as error:
        raise InputError(
            "a process that read the archive was killed or could not start; free memory, and in a "
            "script call the reader below if __name__ == '__main__'"
        ) from error
    return [parts[number] for number in range(len(files))]


def num_cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def read_file(file: ArchiveFile, options: Options, advance: Advance) -> FileRows:
    """Read one file; its problems become rejects.

    Args:
        file: The file. If the period in its header lies more than :data:`MARGIN` outside
            ``start`` and ``end``, the file is skipped.
        options: The options of the source, with its rules.
        advance: Function that is called with the number of bytes of each block.
    """
    num_read = 0

    def count(num: int) -> None:
        nonlocal num_read
        num_read += num
        advance(num)

    lines = Lines(file.blocks(count))
    reader = _Reader(file.path, options)
    for number, line in lines:
        reader.add(number, line)
        if reader.is_done:
            break
    else:
        reader.close(lines)
    advance(file.size - num_read)  # skipped bytes count as read
    return reader.finish()


class _Reader:
    """Sorts the lines of one file into candidates, dropped items and rejects."""

    def __init__(self, path: str, options: Options) -> None:
        self.is_done = False
        self._path = path
        self._options = options
        self._rules = Rules(options)
        self._has_header = False
        self._has_end = False
        self._rows: list[tuple[Any, ...]] = []
        self._batches: list[pa.RecordBatch] = []
        self._rejects: list[tuple[int, str]] = []
        self._result = FileRows()

    def add(self, number: int, line: bytes | None) -> None:
        """Sort a line; None is a line longer than MAX_LINE."""
        if line is None:
            self._rejects.append((number, f"is over {MAX_LINE} bytes long"))
            return
        line = line.strip()
        if not line:
            return
        if not self._has_header:
            self._begin(number, line)
        elif line == END:
            self._has_end = True
        else:
            try:
                self._sort(number, parse_item(line.removesuffix(b",")))
            except ItemError as error:
                self._rejects.append((number, str(error)))

    def close(self, lines: Lines) -> None:
        """Sort the content after the last line break, and reject a file that is not complete."""
        num_rejects = len(self._rejects)
        self.add(lines.number + 1, lines.tail)
        problem = lines.problem
        if not self._has_header and not self._rejects:
            problem = problem or "is empty"
        elif not self._has_end and not self.is_done:
            problem = problem or "ends without ]}; the file was cut off"
        if problem:
            del self._rejects[num_rejects:]  # half a line is the same problem
            self._rejects.append((lines.number + 1, problem))

    def finish(self) -> FileRows:
        """Give the rows of all lines."""
        self._flush()
        result = self._result
        result.candidates = pa.Table.from_batches(self._batches, CANDIDATES_SCHEMA)
        result.rejects = pa.table(
            {
                "file": [self._path] * len(self._rejects),
                "row": [number for number, _ in self._rejects],
                "reason": [reason for _, reason in self._rejects],
            },
            schema=REJECTS_SCHEMA,
        )
        wanted = {*self._options.positive, *self._options.exclude}
        if not any(code.startswith(INSTRUMENTS) for code in wanted):
            result.subjects = {c for c in result.subjects if not c.startswith(INSTRUMENTS)}
        return result

    def _begin(self, number: int, line: bytes) -> None:
        try:
            header = parse_header(line)
        except ValueError as error:
            self._rejects.append((number, str(error)))
            self.is_done = True
            return
        self._has_header = True
        self.is_done = header.is_outside(self._options.start, self._options.end)

    def _sort(self, number: int, item: NewsItem) -> None:
        self._result.languages[item.lang] += 1
        self._result.subjects.update(item.subjects)
        rule = self._rules.against(item)
        if rule:
            self._result.dropped[rule] += 1
            return
        label = self._rules.label(item)
        self._rows.append(
            (item.guid, item.headline, item.lang, label, item.moment, item.story, item.take, number)
        )
        if len(self._rows) >= BATCH:
            self._flush()

    def _flush(self) -> None:
        columns = list(zip(*self._rows, strict=True)) or [()] * len(CANDIDATES_SCHEMA)
        arrays = [
            pa.array(values, schema_field.type)
            for values, schema_field in zip(columns, CANDIDATES_SCHEMA, strict=True)
        ]
        self._batches.append(pa.record_batch(arrays, schema=CANDIDATES_SCHEMA))
        self._rows = []


def _share(counter: Synchronized[int]) -> None:
    """Store the counter of bytes in a worker; it can only be passed at the start."""
    global _num_read
    _num_read = counter


def _read_shared(file: ArchiveFile, options: Options) -> FileRows:
    """Read a file in a worker."""
    return read_file(file, options, _advance_shared)


def _advance_shared(num: int) -> None:
    with _num_read.get_lock():
        _num_read.value += num
