"""Tagged chunks as files beside the output, so that a killed run goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from xlt.data.core.errors import InputError
from xlt.data.core.files import NUM_AT_ONCE, Files, to_json, to_parquet

REQUEST = "request.json"
DIGEST = b"xlt.chunk"
"""Key in a part's schema under which the digest of its chunk lies."""
RECORD_SUFFIX = ".about.json"
PARTS_SUFFIX = ".parts"


class Output(Files):
    """The folder that an output lies in."""

    kind = "output"


class PartStore:
    """The parts of an output, in ``OUTPUT.parts/``.

    Args:
        output: The folder of the output.
        name: Of the output in there.
        request: Everything that changes the output's bytes but the input's rows, as JSON values.

    Attributes:
        digests: Number of each chunk that is tagged -> its digest.
    """

    def __init__(self, output: Output, name: str, request: dict[str, Any]) -> None:
        self._output = output
        self._name = name
        self._folder = name + PARTS_SUFFIX
        self._request = request
        self.digests: dict[int, str] = {}

    def begin(self) -> dict[str, Any] | None:
        """Find what was done before.

        Returns:
            The record of the finished output if it is of the same request, else None.

        Raises:
            InputError: The output, or parts of it, are of another request, or the output is none
                of ours, or the place cannot be written.
        """
        output, name = self._output, self._name
        try:
            info = output.fs.get_file_info(output.path(name))
            there = info.type != pafs.FileType.NotFound
            if there and output.exists(name + RECORD_SUFFIX):
                record = output.read_json(name + RECORD_SUFFIX)
                self._refuse_other(record.get("request"), name)
                return record
            if output.exists(self._folder, REQUEST):
                self._refuse_other(output.read_json(self._folder, REQUEST), self._folder)
                self.digests = self._read_digests()
            elif there:
                raise InputError(
                    "exists and was not made by `xlt predict`; remove it or give another --out",
                    output.path(name),
                )
            else:
                output.make_folder(self._folder)
                output.write(f"{self._folder}/{REQUEST}", to_json(self._request))
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                f"cannot be written: {error}; mend the access or give another --out",
                output.path(name),
            ) from error
        return None

    def save(self, number: int, digest: str, table: pa.Table) -> None:
        """Write a tagged chunk."""
        marked = table.replace_schema_metadata({DIGEST: digest.encode()})
        self._output.write(f"{self._folder}/{_file(number)}", to_parquet(marked))
        self.digests[number] = digest

    def check(self, number: int, digest: str) -> None:
        """Refuse a chunk that was tagged before with other rows."""
        if self.digests[number] != digest:
            raise InputError(
                f"INPUT differs, in chunk {number}, from what was tagged into "
                f"{self._output.path(self._folder)}; give the same, or remove that folder to begin "
                "anew"
            )

    def input_digest(self, num_chunks: int) -> str:
        """SHA-256 (hex) of the whole input.

        Raises:
            InputError: There are parts behind the input's end.
        """
        if len(self.digests) != num_chunks:
            raise InputError(
                f"INPUT has {num_chunks} chunks, fewer than were tagged into "
                f"{self._output.path(self._folder)}; give the same, or remove that folder"
            )
        return chain(self.digests)

    def tables(self) -> Iterator[pa.Table]:
        """The tagged chunks in order, one at a time."""
        for number in range(len(self.digests)):
            content = self._output.read(self._folder, _file(number))
            yield pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)

    def finish(self, record: dict[str, Any]) -> None:
        """Write the record of the output, which is whole by now, and remove the parts."""
        self._output.write(self._name + RECORD_SUFFIX, to_json({"request": self._request} | record))
        self._output.fs.delete_dir(self._output.path(self._folder))

    def _read_digests(self) -> dict[int, str]:
        output = self._output
        infos = output.fs.get_file_info(pafs.FileSelector(output.path(self._folder)))
        names = (info.base_name for info in infos)
        numbers = [int(n[5:-8]) for n in names if n.startswith("part-") and n.endswith(".parquet")]

        def digest(number: int) -> str:
            with output.fs.open_input_file(output.path(self._folder, _file(number))) as file:
                metadata: dict[bytes, bytes] = pq.read_schema(file).metadata or {}
            return metadata.get(DIGEST, b"").decode()

        with ThreadPoolExecutor(NUM_AT_ONCE) as pool:
            return dict(zip(numbers, pool.map(digest, numbers), strict=True))

    def _refuse_other(self, found: Any, name: str) -> None:
        if found == self._request:
            return
        found = found if isinstance(found, dict) else {}
        keys = [k for k in {**self._request, **found} if found.get(k) != self._request.get(k)]
        told = [
            f"{key}: {json.dumps(found.get(key), ensure_ascii=False)} there, "
            f"{json.dumps(self._request.get(key), ensure_ascii=False)} asked for"
            for key in keys
        ]
        raise InputError(
            f"is of another request, {'; '.join(told)}; give another --out, or remove it",
            self._output.path(name),
        )


def chain(digests: dict[int, str]) -> str:
    """SHA-256 (hex) of chunks by theirs."""
    ordered = "\n".join(digests[number] for number in sorted(digests))
    return hashlib.sha256(ordered.encode()).hexdigest()


def _file(number: int) -> str:
    return f"part-{number:06}.parquet"
