"""The texts of an experiment's drawn rows, beside its plan.

Trial folders hold only the ids of rows; the texts are kept once, and only if the experiment wants
them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from xlt.data.core.errors import InputError
from xlt.data.core.files import to_parquet
from xlt.data.dataset.schema import Dataset
from xlt.data.tables.parquet import read_parquet
from xlt.trainables.results.layout import texts_file
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
"""Columns of the file, which has one row for each drawn row, in the order of the data set."""


def save_texts(
    location: Results, experiment: str, dataset: Dataset, row_ids: Iterable[str]
) -> None:
    """Write the texts of rows; they replace those of an earlier run.

    Args:
        location: Results location.
        experiment: Name of the experiment.
        dataset: Data set that contains the rows.
        row_ids: Ids of the rows.
    """
    drawn_ids = pa.array(sorted(set(row_ids)), pa.string())
    rows = dataset.table.filter(pc.is_in(dataset.table["id"], drawn_ids))
    names = pa.array(dataset.classes, pa.string())
    columns = {name: rows[name] for name in SCHEMA.names}
    columns["label"] = names.take(rows["label"].cast(pa.int64()).combine_chunks())
    location.write(texts_file(experiment), to_parquet(pa.table(columns).cast(SCHEMA)))


def drop_texts(location: Results, experiment: str) -> None:
    """Remove the texts of an earlier run, for an experiment that no longer keeps them."""
    file = texts_file(experiment)
    if location.exists(file):
        location.fs.delete_file(location.path(file))


def read_texts(location: Results, experiment: str) -> Mapping[str, dict[str, Any]]:
    """Read the texts of an experiment's rows.

    Returns:
        Row id -> columns of :data:`SCHEMA`; empty if no texts are kept.

    Raises:
        InputError: The file is damaged.
    """
    file = texts_file(experiment)
    if not location.exists(file):
        return {}
    try:
        table = read_parquet(location.read(file)).cast(SCHEMA)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(
            f"{location.path(file)} cannot be read; `xlt run` writes it again"
        ) from error
    return {row["id"]: row for row in table.to_pylist()}
