"""SOURCES: where headlines come from; one file a source."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.load_entry import load_entry
from xlt.data.dataset.schema import Dataset
from xlt.data.sources.options import SourceOptions
from xlt.data.sources.reading import Progress, Reading

SOURCES: dict[str, str] = {
    "hub": "xlt.data.sources.hub.source",
    "mrn": "xlt.data.sources.mrn.source",
    "prepared": "xlt.data.sources.prepared",
    "synthetic": "xlt.data.sources.synthetic",
    "table": "xlt.data.sources.table",
}
"""Name -> module with ``Options`` and ``read(options, progress)``, imported when used."""


def parse_source(values: dict[str, Any], where: str = "") -> SourceOptions:
    """Validate the ``data`` block of an experiment.

    Args:
        values: ``source``, a name in :data:`SOURCES`, and that source's options.
        where: What errors call the block.

    Raises:
        InputError: No or an unknown source, or unknown or wrong options, told with the nearest
            known ones.
    """
    if "source" not in values:
        raise InputError(f"source is required. Known: {', '.join(sorted(SOURCES))}.", where)
    name = str(values["source"])
    if name not in SOURCES:
        raise InputError(unknown("source", name, SOURCES), where)
    options: SourceOptions = load_entry(SOURCES, name).Options.parse(values, where)
    return options


def read_source(
    options: SourceOptions,
    progress: Progress = lambda num_bytes, num_bytes_in_all: None,
    **how: Any,
) -> Reading:
    """Read or generate the rows that :func:`parse_source` was told of, and correct their labels.

    Args:
        options: Of the source.
        progress: Told how much was read, by sources that take long.
        **how: What the source's ``read`` takes besides, e.g. over which cluster to read.

    Raises:
        InputError: The source cannot give them, or the corrections are not of these rows.
    """
    from xlt.data.sources.corrections import apply  # here, because it reads its file as sources do

    reading: Reading = load_entry(SOURCES, options.source).read(options, progress, **how)
    if options.corrections is None:
        return reading
    dataset, report = apply(reading.dataset, options.corrections)
    return replace(reading, dataset=dataset, corrections=report)


def load_dataset(options: SourceOptions) -> Dataset:
    """The rows of :func:`read_source` that were kept."""
    return read_source(options).dataset
