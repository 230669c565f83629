"""Reading the files of a Machine Readable News archive side by side, each to its candidates."""

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
from xlt.data.sources.mrn.items import Item, ItemError, parse_item
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
"""Items that no rule about single items leaves out."""
BATCH = 10_000
"""Candidates held as Python objects, which take several times the memory of a table."""
BYTES_PER_WORKER = 64 << 20
"""Stored bytes from which on another process, half a second to start, is worth its while."""
TICK = 0.5
"""Seconds between two reports of progress."""
INSTRUMENTS = ("R:", "P:")
"""Prefixes of codes of single instruments and companies: too many of them to be kept in mind."""

_num_read: Synchronized[int]


@dataclass
class FileRows:
    """What one file gave.

    Attributes:
        candidates: num_candidates x :data:`CANDIDATES_SCHEMA`, in file order.
        dropped: Rule -> items that it left out.
        rejects: num_rejected x :data:`REJECTS_SCHEMA`.
        languages: Items of each language, by any rule kept or not.
        subjects: Codes that any item has; those of instruments only if the options name such.
    """

    candidates: pa.Table = field(default_factory=CANDIDATES_SCHEMA.empty_table)
    dropped: Counter[str] = field(default_factory=Counter)
    rejects: pa.Table = field(default_factory=REJECTS_SCHEMA.empty_table)
    languages: Counter[str] = field(default_factory=Counter)
    subjects: set[str] = field(default_factory=set)


def read_parts(
    files: Sequence[ArchiveFile],
    options: Options,
    progress: Progress,
    num_workers: int | None = None,
) -> list[FileRows]:
    """Read files, several at a time.

    Args:
        files: What to read.
        options: What to keep.
        progress: Told (stored bytes read, stored bytes of all files).
        num_workers: Processes; 1: this one. None: as many as cores, files and bytes keep busy.

    Returns:
        What each file gave, in the order of ``files`` whatever ``num_workers``.

    Raises:
        InputError: A process was killed from outside.
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
    # Not by fork: this process may hold threads and locks, of pyarrow's or of Ray.
    context = multiprocessing.get_context("spawn")
    counter = context.Value(c_longlong, 0)
    try:
        with ProcessPoolExecutor(num_workers, context, _share, (counter,)) as pool:
            futures = {
                pool.submit(_read_shared, file, options): number
                # The largest first, so that none is left alone at the end.
                for number, file in sorted(enumerate(files), key=lambda pair: -pair[1].size)
            }
            pending = set(futures)
            while pending:
                _, pending = wait(pending, timeout=TICK)
                progress(counter.value, num_bytes)
            parts = {number: future.result() for future, number in futures.items()}
    except BrokenProcessPool as error:
        raise InputError(
            "a process that read the archive was killed, or could not start; give it more memory, "
            "and in a script call the reader below if __name__ == '__main__'"
        ) from error
    return [parts[number] for number in range(len(files))]


def num_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def read_file(file: ArchiveFile, options: Options, advance: Advance) -> FileRows:
    """Read one file; whatever is wrong with it is among the rejects.

    Args:
        file: What to read.
        options: What to keep. A file whose header says that it lies more than
            :data:`MARGIN` outside ``start`` and ``end`` is not read.
        advance: Told of every block.
    """
    num_read = 0

    def count(num: int) -> None:
        nonlocal num_read
        num_read += num
        advance(num)

    lines = Lines(file.blocks(count))
    reader = _Reader(file.place, options)
    for number, line in lines:
        reader.add(number, line)
        if reader.is_done:
            break
    else:
        reader.close(lines)
    advance(file.size - num_read)  # what need not be read is done too
    return reader.part()


class _Reader:
    """Sorts the lines of one file into candidates, dropped ones and rejects."""

    def __init__(self, place: str, options: Options) -> None:
        self.is_done = False
        self._place = place
        self._options = options
        self._rules = Rules(options)
        self._has_header = False
        self._has_end = False
        self._rows: list[tuple[Any, ...]] = []
        self._batches: list[pa.RecordBatch] = []
        self._rejects: list[tuple[int, str]] = []
        self._part = FileRows()

    def add(self, number: int, line: bytes | None) -> None:
        """Sort a line in; None: one over MAX_LINE."""
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
        """Sort in what stands behind the last line break, and tell whether the file is whole."""
        num_rejects = len(self._rejects)
        self.add(lines.number + 1, lines.tail)
        problem = lines.problem
        if not self._has_header and not self._rejects:
            problem = problem or "is empty"
        elif not self._has_end and not self.is_done:
            problem = problem or "ends without ]}; the file was cut off"
        if problem:
            del self._rejects[num_rejects:]  # half a line is the cut, not another problem
            self._rejects.append((lines.number + 1, problem))

    def part(self) -> FileRows:
        """What the lines gave."""
        self._flush()
        part = self._part
        part.candidates = pa.Table.from_batches(self._batches, CANDIDATES_SCHEMA)
        part.rejects = pa.table(
            {
                "file": [self._place] * len(self._rejects),
                "row": [number for number, _ in self._rejects],
                "reason": [reason for _, reason in self._rejects],
            },
            schema=REJECTS_SCHEMA,
        )
        wanted = {*self._options.positive, *self._options.exclude}
        if not any(code.startswith(INSTRUMENTS) for code in wanted):
            part.subjects = {c for c in part.subjects if not c.startswith(INSTRUMENTS)}
        return part

    def _begin(self, number: int, line: bytes) -> None:
        try:
            header = parse_header(line)
        except ValueError as error:
            self._rejects.append((number, str(error)))
            self.is_done = True
            return
        self._has_header = True
        self.is_done = header.is_outside(self._options.start, self._options.end)

    def _sort(self, number: int, item: Item) -> None:
        self._part.languages[item.lang] += 1
        self._part.subjects.update(item.subjects)
        rule = self._rules.against(item)
        if rule:
            self._part.dropped[rule] += 1
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
    """Give a worker the counter of bytes; it can only be handed over at the start."""
    global _num_read
    _num_read = counter


def _read_shared(file: ArchiveFile, options: Options) -> FileRows:
    """What a worker does with a file."""
    return read_file(file, options, _advance_shared)


def _advance_shared(num: int) -> None:
    with _num_read.get_lock():
        _num_read.value += num
