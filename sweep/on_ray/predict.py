"""Tag texts on a Ray cluster: Ray Data sends chunks of texts to processes that hold the model."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext, Datasource, ReadTask
from ray.data.block import BlockMetadata

from xlt.data.core.errors import InputError
from xlt.data.core.memory import importing_torch
from xlt.data.tables.unlabelled import STDIN, TextRow, Unlabelled
from xlt.sweep.driver.scratch import scratch_folder
from xlt.sweep.machines.capacity import count_processes
from xlt.sweep.on_ray.connection import (
    RayConnection,
    group_by_resources,
    list_capacities,
    make_task_options,
)
from xlt.sweep.on_ray.deaths import describe_task_error
from xlt.sweep.on_ray.node_differences import refuse_different_nodes
from xlt.sweep.on_ray.worker import pack, unpack
from xlt.sweep.predict.chunks import Chunk, read_chunks, tag
from xlt.sweep.predict.run import Job, Tagged
from xlt.trainables.models.base_models import MINIATURE
from xlt.trainables.models.miniatures import find_miniature_folder

if TYPE_CHECKING:
    from xlt.trainables.inference.tagging import Tagger

NODE = "ray.io/node-id"
"""Label of every node, set by Ray."""
# Ray Data prints every step, and every error with its traceback; its log files keep them.
for _handler in logging.getLogger("ray.data").handlers:
    if isinstance(_handler, logging.StreamHandler):
        _handler.setLevel(logging.CRITICAL)


def predict_on_ray(address: str | None, job: Job) -> Iterator[Tagged]:
    """Tag texts on the cluster at an address, or on a local one.

    One task on this machine's node reads the input. As many processes as trials fit into the
    cluster score the chunks, and finished chunks come back in any order. Ray restarts a process
    that dies.

    Raises:
        InputError: The cluster cannot be reached or cannot hold a trial, or a process failed.
    """
    with scratch_folder("predict") as folder:
        job = replace(job, source=_readable(job.source, folder))
        connection = RayConnection(address)
        try:
            refuse_different_nodes([job.trial.spec])
            yield from _stream(job)
        except ray.exceptions.RayError as error:
            raise InputError(
                f"a process of the cluster failed: {describe_task_error(error)}; run the "
                "same command to resume"
            ) from error
        finally:
            connection.close()


def _readable(source: Unlabelled, folder: Path) -> Unlabelled:
    """Make the input readable for another process of this machine, in another working folder."""
    if source.path == STDIN:
        file = folder / "lines"
        with file.open("wb") as stream:
            shutil.copyfileobj(sys.stdin.buffer, stream)
        return source.model_copy(update={"path": str(file), "lines": True})
    if "://" in source.path:
        return source
    return source.model_copy(update={"path": str(Path(source.path).expanduser().absolute())})


def _stream(job: Job) -> Iterator[Tagged]:
    (launch,) = group_by_resources([job.trial.spec])
    slots = count_processes(list_capacities(), job.trial.spec.resources)
    identity = job.trial.spec.base_identity
    if identity.startswith(MINIATURE) and find_miniature_folder(identity).is_dir():
        _send(identity)
    context = DataContext.get_current().copy()
    context.enable_progress_bars = False
    # A chunk is one row. Blocks of one row can go to any process.
    context.target_max_block_size = 1
    this_node = {NODE: ray.get_runtime_context().get_node_id()}
    with DataContext.current(context):
        chunks = ray.data.read_datasource(
            _Chunks(job),
            override_num_blocks=1,
            num_cpus=0,
            label_selector=this_node,
        ).map_batches(
            _Tag,
            fn_constructor_args=(job,),
            batch_size=1,
            batch_format="pyarrow",
            compute=ActorPoolStrategy(min_size=1, max_size=slots, initial_size=slots),
            **make_task_options(launch.bundle),
        )
        for batch in chunks.iter_batches(batch_size=1, batch_format="pyarrow", prefetch_batches=0):
            (row,) = batch.to_pylist()
            if row["problems"]:
                raise InputError(row["problems"], row["digest"])
            table = pa.ipc.open_stream(row["content"]).read_all() if row["content"] else None
            yield Tagged(row["number"], row["num_rows"], row["digest"], table)


def _send(identity: str) -> None:
    """Put a miniature into the cache of every node."""
    folder = find_miniature_folder(identity)
    files = ray.put(pack(folder))
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    ray.get(
        [_receive.options(label_selector={NODE: node}).remote(files, identity) for node in nodes]
    )


@ray.remote(num_cpus=0)
def _receive(files: dict[str, bytes], identity: str) -> None:
    unpack(files, find_miniature_folder(identity))


class _Chunks(Datasource):
    """The chunks of the input as rows (number, num_rows, digest, content).

    The content is the texts as JSON; it is empty for a chunk that was tagged before.
    """

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = job

    def estimate_inmemory_data_size(self) -> int | None:
        return None

    def get_read_tasks(
        self,
        parallelism: int,
        per_task_row_limit: int | None = None,
        data_context: DataContext | None = None,
    ) -> list[ReadTask]:
        job = self._job

        def read() -> Iterator[pa.Table]:
            try:
                for chunk in read_chunks(job.source, job.settings.chunk_rows):
                    is_new = chunk.number not in job.done
                    rows = orjson.dumps([list(row) for row in chunk.rows]) if is_new else b""
                    yield _row(chunk.number, len(chunk.rows), chunk.digest, rows)
            except InputError as error:
                yield _failed(error)

        metadata = BlockMetadata(
            num_rows=None, size_bytes=None, exec_stats=None, task_exec_stats=None, input_files=None
        )
        return [ReadTask(read, metadata)]


class _Tag:
    """A process that scores chunks; it loads the model for its first chunk without tags."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._tagger: Tagger | None = None

    def __call__(self, batch: pa.Table) -> pa.Table:
        (row,) = batch.to_pylist()
        if not row["content"]:
            return batch
        try:
            content = self._tagged(row)
        except InputError as error:
            return _failed(error)
        return _row(row["number"], row["num_rows"], row["digest"], content)

    def _tagged(self, row: dict[str, Any]) -> bytes:
        """Tag a chunk, and return the table as an Arrow stream."""
        if self._tagger is None:
            with importing_torch():
                from xlt.trainables.inference.tagging import Tagger
            self._tagger = Tagger.load(self._job.trial)
        chunk = Chunk(row["number"], [TextRow(*cells) for cells in orjson.loads(row["content"])])
        keep = list(self._job.source.keep.values())
        table = tag(self._tagger, chunk, keep, self._job.settings.batch_size)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return bytes(sink.getvalue())


def _row(
    number: int, num_rows: int, digest: str, content: bytes, problems: Sequence[str] = ()
) -> pa.Table:
    return pa.table(
        {
            "number": [number],
            "num_rows": [num_rows],
            "digest": [digest],
            "content": pa.array([content], pa.large_binary()),
            "problems": pa.array([list(problems)], pa.list_(pa.string())),
        }
    )


def _failed(error: InputError) -> pa.Table:
    """Return bad input as a row, because Ray Data keeps only the text of an error."""
    return _row(-1, 0, error.where, b"", error.problems)
