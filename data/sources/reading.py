"""The result of reading a source: its rows, and counts of the rows that were left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from xlt.data.dataset.schema import Dataset
from xlt.data.sources.correction_report import CorrectionReport

REJECTS_SCHEMA = pa.schema(
    [
        pa.field("file", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),  # line or row number, from 1
        pa.field("reason", pa.string(), nullable=False),
    ]
)
"""Columns of the table of rows that could not be read."""

Progress = Callable[[int, int], None]
"""Function that is called with (bytes read, bytes in total) while a source is read."""


@dataclass(frozen=True)
class Reading:
    """The result of reading a source: every row of it is kept, dropped or rejected.

    Attributes:
        dataset: The kept rows.
        dropped: Rule -> number of rows that it dropped.
        rejects: num_rejected x :data:`REJECTS_SCHEMA`: the rows that could not be read.
        corrections: The changes by corrected labels, if there are any.
    """

    dataset: Dataset
    dropped: Mapping[str, int] = field(default_factory=dict)
    rejects: pa.Table = field(default_factory=REJECTS_SCHEMA.empty_table)
    corrections: CorrectionReport | None = None

    @property
    def num_read(self) -> int:
        """Number of rows of the source: kept, dropped and rejected."""
        return len(self.dataset.table) + sum(self.dropped.values()) + len(self.rejects)
