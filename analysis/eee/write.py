"""Write the records of an experiment as a folder in the layout of the EEE datastore."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from xlt.analysis.eee.aggregates import Origin, make_aggregate
from xlt.analysis.eee.instances import LINKED, make_instances
from xlt.analysis.tables.metric_cells import MetricCells, collect_metric_cells
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.scores import load_scores
from xlt.analysis.trials.test_lang import by_test_lang
from xlt.analysis.uncertainty.intervals import CellIntervals
from xlt.data.core.errors import InputError
from xlt.data.core.files import replacing, to_json
from xlt.trainables.metrics.registry import reported_metrics
from xlt.trainables.results.plan import PlannedCell


def write_eee(
    collected: Collected,
    folder: Path,
    origin: Origin,
    texts: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Path]:
    """Write two files for each cell with a done run.

    ``data/<experiment>/<who>/<model>/<uuid>.json`` has the metrics of the cell, as a mean over its
    runs with an interval and for each run; ``<uuid>_samples.jsonl`` has the test rows of each run.

    Args:
        collected: The experiment, not at a prevalence.
        folder: Folder to write into; files of an earlier call for the same cells are replaced.
        origin: Parts that are the same in all records.
        texts: Row id -> texts to write; None: records have no texts.

    Returns:
        The aggregate files.

    Raises:
        InputError: No run is done, or predictions cannot be used.
    """
    views: dict[str, Collected] = {}
    for tested in by_test_lang(collected):
        for cell in tested.plan.cells:
            views.setdefault(tested.test_lang or cell.target_lang, tested)
    metrics = dict.fromkeys([*reported_metrics(len(collected.plan.classes)), LINKED])
    cells = {lang: _collect_cells(tested, [*metrics]) for lang, tested in views.items()}
    written = []
    for cell in collected.plan.cells:
        if any(row.is_done for row in collected.by_cell[cell.key]):
            langs = cell.test_langs or (cell.target_lang,)
            if collected.test_lang:
                langs = (collected.test_lang,)
            aggregate = make_aggregate(
                collected, cell, {lang: cells[lang] for lang in langs}, origin
            )
            lines = [
                orjson.dumps(line)
                for lang in langs
                for line in make_instances(views[lang], cell, lang, origin, texts or {})
            ]
            written.append(_write(folder, cell, aggregate, lines, origin))
    if not written:
        raise InputError("no run is done, so there is nothing to write; `xlt run` finishes them")
    return written


def _collect_cells(tested: Collected, metrics: Sequence[str]) -> dict[str, MetricCells]:
    intervals = CellIntervals(load_scores(tested))
    return {name: collect_metric_cells(tested, name, None, intervals) for name in metrics}


def _write(
    folder: Path, cell: PlannedCell, aggregate: dict[str, Any], lines: list[bytes], origin: Origin
) -> Path:
    """Write the two files of a cell, the aggregate last; their name is that of the cell."""
    identity = f"{origin.experiment}\0{cell.base_model}\0{cell.pattern}"
    name = uuid.UUID(bytes=hashlib.sha256(identity.encode()).digest()[:16], version=4)
    place = f"data/{origin.collection}/{origin.model_id(cell)}/{name}"
    content = b"".join(line + b"\n" for line in lines)
    aggregate["detailed_evaluation_results"] = {
        "format": "jsonl",
        "file_path": f"{place}_samples.jsonl",
        "hash_algorithm": "sha256",
        "checksum": hashlib.sha256(content).hexdigest(),
        "total_rows": len(lines),
    }
    file = folder / f"{place}.json"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        for path, data in (
            (folder / f"{place}_samples.jsonl", content), (file, to_json(aggregate)),
        ):  # fmt: skip
            with replacing(path) as stream:
                stream.write(data)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", str(folder)) from error
    return file
