"""Read an archive on a Ray cluster: one task per file, on any node with a free core."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import ray

from xlt.data.core.errors import InputError
from xlt.data.sources.mrn.files import ArchiveFile
from xlt.data.sources.mrn.read import FileRows, read_file
from xlt.data.sources.mrn.rules import Options
from xlt.data.sources.reading import Progress
from xlt.sweep.on_ray.connection import RayConnection
from xlt.sweep.on_ray.deaths import describe_task_error
from xlt.sweep.on_ray.node_differences import refuse_different_nodes


def make_archive_reader(
    address: str,
) -> Callable[[Sequence[ArchiveFile], Options, Progress], list[FileRows]]:
    """Make a function that reads files on the cluster at an address, for :func:`read`.

    Each file must have the same path or URI on every node. Ray restarts a task whose node dies.

    Args:
        address: Address of a running cluster.

    Returns:
        A function that raises InputError if the cluster cannot be reached or cannot read a file,
        or if its nodes differ from this process.
    """

    def read_files(
        files: Sequence[ArchiveFile], options: Options, progress: Progress
    ) -> list[FileRows]:
        connection = RayConnection(address)
        try:
            refuse_different_nodes([])
            return _read(files, options, progress)
        except ray.exceptions.RayError as error:
            raise InputError(
                f"the cluster cannot read the archive: {describe_task_error(error)}; every node "
                "needs access to the files"
            ) from error
        finally:
            connection.close()

    return read_files


def _read(files: Sequence[ArchiveFile], options: Options, progress: Progress) -> list[FileRows]:
    num_bytes, num_read = sum(file.size for file in files), 0
    # Start with the largest file, so that no long task runs alone at the end.
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
