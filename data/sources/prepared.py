"""A data set that `xlt data prepare` made."""

from __future__ import annotations

from typing import Literal

from xlt.data.sources.options import SourceOptions
from xlt.data.sources.prepared_store import PreparedData
from xlt.data.sources.reading import Progress, Reading


class Options(SourceOptions):
    """Where it lies."""

    source: Literal["prepared"]
    """Name in SOURCES."""
    path: str
    """Its folder: local path or pyarrow.fs URI."""


def read(options: Options, progress: Progress) -> Reading:
    """Read the rows; what was dropped and rejected on the way stands in their manifest."""
    return Reading(PreparedData(options.path).load())
