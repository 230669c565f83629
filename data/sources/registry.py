"""SOURCES: the sources of labelled headlines, by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from xlt.data.core.errors import read_name
from xlt.data.core.registries import Registry, load_entry
from xlt.data.core.stages import enter_stage
from xlt.data.dataset.schema import Dataset
from xlt.data.sources.corrections import correct_labels
from xlt.data.sources.options import SourceOptions
from xlt.data.sources.reading import Progress, Reading
from xlt.data.sources.translations.files import read_translations


def _check_source(name: str, module: Any) -> str:
    missing = [part for part in ("Options", "read") if not hasattr(module, part)]
    return f"it has no {' and no '.join(missing)}" if missing else ""


_OWN = {
    "hub": "xlt.data.sources.hub.source",
    "mrn": "xlt.data.sources.mrn.source",
    "prepared": "xlt.data.sources.prepared",
    "synthetic": "xlt.data.sources.synthetic",
    "table": "xlt.data.sources.table",
}
SOURCES = Registry[Any]("xlt.sources", _OWN, _check_source)
"""Name -> module with ``Options`` and ``read(options, progress)``, imported when used."""


def parse_source(values: dict[str, Any], where: str = "") -> SourceOptions:
    """Validate the ``data`` block of an experiment.

    Args:
        values: ``source``, a name in :data:`SOURCES`, and the options of that source.
        where: Name of the block in errors.

    Raises:
        InputError: The source is missing or unknown, or its options are unknown or wrong.
    """
    name = read_name("source", values, SOURCES, where)
    options: SourceOptions = load_entry(SOURCES, name).Options.parse(values, where)
    return options


def read_source(
    options: SourceOptions,
    progress: Progress = lambda num_bytes, num_bytes_in_all: None,
    **how: Any,
) -> Reading:
    """Read or generate the rows of a source, and apply its corrections and translations.

    Args:
        options: Options of the source, from :func:`parse_source`.
        progress: Function that slow sources call with the number of bytes read so far.
        **how: Further arguments of the source's ``read``, e.g. a reader on a cluster.

    Raises:
        InputError: The rows cannot be read, or corrections or translations do not match them.
    """
    reading: Reading = load_entry(SOURCES, options.source).read(options, progress, **how)
    if options.corrections:
        dataset, report = correct_labels(reading.dataset, options.corrections)
        reading = replace(reading, dataset=dataset, corrections=report)
    if options.translations:
        dataset = read_translations(reading.dataset, options.translations)
        reading = replace(reading, dataset=dataset)
    return reading


def load_dataset(options: SourceOptions) -> Dataset:
    """Read the data set of a source: the kept rows of :func:`read_source`."""
    enter_stage("reading the data")
    return read_source(options).dataset
