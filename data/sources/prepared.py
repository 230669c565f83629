"""The source ``prepared``: a data set that `xlt data prepare` wrote."""

from __future__ import annotations

from typing import Literal

from xlt.data.sources.options import SourceOptions
from xlt.data.sources.prepared_store import PreparedData
from xlt.data.sources.reading import Progress, Reading


class Options(SourceOptions):
    """The folder of the data set."""

    source: Literal["prepared"]
    """Name in SOURCES."""
    path: str
    """Folder of the data set: local path or pyarrow.fs URI."""


def read(options: Options, progress: Progress) -> Reading:
    """Read the rows; the manifest has the counts of dropped and rejected rows."""
    return Reading(PreparedData(options.path).load())
