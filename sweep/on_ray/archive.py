"""Reading an archive over a Ray cluster: a task a file, on whichever node has a core free."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import ray

from xlt.data.core.errors import InputError
from xlt.data.sources.mrn.files import ArchiveFile
from xlt.data.sources.mrn.read import FileRows, read_file
from xlt.data.sources.mrn.rules import Options
from xlt.data.sources.reading import Progress
from xlt.sweep.on_ray.connection import RayConnection


def read_on(address: str) -> Callable[[Sequence[ArchiveFile], Options, Progress], list[FileRows]]:
    """What :func:`read` reads files with, over the cluster at an address.

    Every node must see the files under their path or URI. A task whose node dies is started
    again by Ray.
    """

    def read_files(
        files: Sequence[ArchiveFile], options: Options, progress: Progress
    ) -> list[FileRows]:
        connection = RayConnection(address)
        try:
            return _read(files, options, progress)
        except ray.exceptions.RayError as error:
            raise InputError(
                f"the cluster could not read the archive: {error}; every node must see the files "
                "and have this version installed"
            ) from error
        finally:
            connection.close()

    return read_files


def _read(files: Sequence[ArchiveFile], options: Options, progress: Progress) -> list[FileRows]:
    num_bytes, num_read = sum(file.size for file in files), 0
    # The largest first, so that none is left alone at the end.
    order = sorted(range(len(files)), key=lambda number: -files[number].size)
    numbers = {_read_file.remote(files[number], options): number for number in order}
    parts: dict[int, FileRows] = {}
    pending = list(numbers)
    while pending:
        (ready,), pending = ray.wait(pending, num_returns=1)
        number = numbers[ready]
        parts[number] = ray.get(ready)
        num_read += files[number].size
        progress(num_read, num_bytes)
    return [parts[number] for number in range(len(files))]


@ray.remote(num_cpus=1, max_retries=3)
def _read_file(file: ArchiveFile, options: Options) -> FileRows:
    return read_file(file, options, lambda num_bytes: None)
