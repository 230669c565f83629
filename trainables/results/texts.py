"""The texts of drawn rows beside an experiment's plan: result folders hold ids alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from xlt.data.core.errors import InputError
from xlt.data.core.files import to_parquet
from xlt.data.dataset.schema import Dataset
from xlt.trainables.results.result import Results

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("lang", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),  # name of the class
        pa.field("text", pa.string(), nullable=False),
        pa.field("text_pair", pa.string()),
        pa.field("published", pa.date32()),
    ]
)
"""One row a drawn row, in the order of the data set."""


def _path(experiment: str) -> str:
    return f"experiments/{experiment}.texts.parquet"


def save_texts(
    location: Results, experiment: str, dataset: Dataset, row_ids: Iterable[str]
) -> None:
    """Write the texts of rows, instead of what an earlier run wrote.

    Args:
        location: The results.
        experiment: Its name.
        dataset: Where the rows are from.
        row_ids: Their ids.
    """
    drawn = pa.array(sorted(set(row_ids)), pa.string())
    rows = dataset.table.filter(pc.is_in(dataset.table["id"], drawn))
    names = pa.array(dataset.classes, pa.string())
    columns = {name: rows[name] for name in SCHEMA.names}
    columns["label"] = names.take(rows["label"].cast(pa.int64()).combine_chunks())
    location.write(_path(experiment), to_parquet(pa.table(columns).cast(SCHEMA)))


def drop_texts(location: Results, experiment: str) -> None:
    """Remove the texts, where an earlier run kept them and this one must not."""
    if location.exists(_path(experiment)):
        location.fs.delete_file(location.path(_path(experiment)))


def read_texts(location: Results, experiment: str) -> Mapping[str, dict[str, Any]]:
    """Row id -> columns of :data:`SCHEMA`; empty where no texts were kept.

    Raises:
        InputError: The file is damaged.
    """
    path = _path(experiment)
    if not location.exists(path):
        return {}
    try:
        table = pq.read_table(pa.BufferReader(location.read(path))).cast(SCHEMA)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(
            f"{location.path(path)} cannot be read; `xlt run` writes it anew"
        ) from error
    return {row["id"]: row for row in table.to_pylist()}
