"""Keep tagged chunks in files beside the output, so that a killed run can resume."""

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
"""Key of the chunk's digest in the schema of a part."""
RECORD_SUFFIX = ".about.json"
PARTS_SUFFIX = ".parts"


class Output(Files):
    """Folder of an output."""

    kind = "output"


class PartStore:
    """Parts of an output, one for each tagged chunk, in the folder ``OUTPUT.parts/``.

    Args:
        output: Folder of the output.
        name: Name of the output.
        request: Everything except the input's rows that determines the output, as JSON values.

    Attributes:
        digests: Number of a tagged chunk -> its digest.
    """

    def __init__(self, output: Output, name: str, request: dict[str, Any]) -> None:
        self._output = output
        self._name = name
        self._folder = name + PARTS_SUFFIX
        self._request = request
        self.digests: dict[int, str] = {}

    def begin(self) -> dict[str, Any] | None:
        """Find the output or the parts of an earlier run, or create the folder of parts.

        Returns:
            The record of a finished output; None if the output is not finished.

        Raises:
            InputError: The output or its parts belong to another request, the output was made by
                another program, or the folder cannot be written.
        """
        output, name = self._output, self._name
        try:
            info = output.fs.get_file_info(output.path(name))
            exists = info.type != pafs.FileType.NotFound
            if exists and output.exists(name + RECORD_SUFFIX):
                record = output.read_json(name + RECORD_SUFFIX)
                self._refuse_other(record.get("request"), name)
                return record
            if output.exists(self._folder, REQUEST):
                self._refuse_other(output.read_json(self._folder, REQUEST), self._folder)
                self.digests = self._read_digests()
            elif exists:
                raise InputError(
                    "exists and was not made by `xlt predict`; remove it or give another --out",
                    output.path(name),
                )
            else:
                output.make_folder(self._folder)
                output.write(f"{self._folder}/{REQUEST}", to_json(self._request))
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                f"cannot be written: {error}; fix the access or give another --out",
                output.path(name),
            ) from error
        return None

    def save(self, number: int, digest: str, table: pa.Table) -> None:
        """Write a tagged chunk."""
        marked = table.replace_schema_metadata({DIGEST: digest.encode()})
        self._output.write(f"{self._folder}/{_file(number)}", to_parquet(marked))
        self.digests[number] = digest

    def check(self, number: int, digest: str) -> None:
        """Refuse a tagged chunk whose rows have changed."""
        if self.digests[number] != digest:
            raise InputError(
                f"chunk {number} of INPUT differs from the rows that were tagged into "
                f"{self._output.path(self._folder)}; give the same INPUT, or remove that folder to "
                "start from the beginning"
            )

    def input_digest(self, num_chunks: int) -> str:
        """SHA-256 (hex) of the whole input.

        Raises:
            InputError: There are more parts than chunks of the input.
        """
        if len(self.digests) != num_chunks:
            raise InputError(
                f"INPUT has {num_chunks} chunks, fewer than were tagged into "
                f"{self._output.path(self._folder)}; give the same INPUT, or remove that folder"
            )
        return hash_chunks(self.digests)

    def tables(self) -> Iterator[pa.Table]:
        """Yield the tagged chunks in order."""
        for number in range(len(self.digests)):
            content = self._output.read(self._folder, _file(number))
            yield pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)

    def finish(self, record: dict[str, Any]) -> None:
        """Write the record of the complete output, and remove the parts."""
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

    def _refuse_other(self, earlier: Any, name: str) -> None:
        if earlier == self._request:
            return
        earlier = earlier if isinstance(earlier, dict) else {}
        keys = [k for k in {**self._request, **earlier} if earlier.get(k) != self._request.get(k)]
        differences = [
            f"{key}: {json.dumps(earlier.get(key), ensure_ascii=False)} there, "
            f"{json.dumps(self._request.get(key), ensure_ascii=False)} requested"
            for key in keys
        ]
        raise InputError(
            f"belongs to another request, {'; '.join(differences)}; give another --out, or remove "
            "it",
            self._output.path(name),
        )


def hash_chunks(digests: dict[int, str]) -> str:
    """SHA-256 (hex) of an input, from the digests of its chunks."""
    ordered = "\n".join(digests[number] for number in sorted(digests))
    return hashlib.sha256(ordered.encode()).hexdigest()


def _file(number: int) -> str:
    return f"part-{number:06}.parquet"
