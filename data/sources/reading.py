"""What reading a source gives: its rows, and an account of those that were left out."""

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
"""A row that could not be read."""

Progress = Callable[[int, int], None]
"""Told (bytes read, bytes in all) now and then."""


@dataclass(frozen=True)
class Reading:
    """A data set, and where every row that was read went.

    Attributes:
        dataset: The rows that were kept.
        dropped: Rule -> rows that it left out on purpose.
        rejects: num_rejected x :data:`REJECTS_SCHEMA`: rows that could not be read.
        corrections: What hand corrections changed, if there are any.
    """

    dataset: Dataset
    dropped: Mapping[str, int] = field(default_factory=dict)
    rejects: pa.Table = field(default_factory=REJECTS_SCHEMA.empty_table)
    corrections: CorrectionReport | None = None

    @property
    def num_read(self) -> int:
        """Rows that were there: kept, dropped and rejected ones."""
        return len(self.dataset.table) + sum(self.dropped.values()) + len(self.rejects)
