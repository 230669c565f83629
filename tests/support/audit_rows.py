"""Rows and splits for the tests of the gate, and the built-in ones with quickstart's draws."""

from __future__ import annotations

from functools import cache
from typing import Any

import pyarrow as pa

from xlt.data.audit.used_rows import UsedRows
from xlt.data.dataset.draws import Draw, draw
from xlt.data.dataset.schema import BINARY, HEADLINE_SCHEMA, Dataset
from xlt.data.sources.registry import load_dataset, parse_source
from xlt.sweep.experiment.experiment import load_experiment


def make(*rows: dict[str, Any], classes: tuple[str, ...] = BINARY) -> Dataset:
    """Rows with what they do not say filled in: ids 0, 1, ..., English, labels in turn."""
    values = [
        {"id": str(n), "text": f"text {n}", "lang": "en", "label": n % 2, "source": "test", **row}
        for n, row in enumerate(rows)
    ]
    return Dataset.from_table(pa.Table.from_pylist(values, schema=HEADLINE_SCHEMA), classes=classes)


def cell(train: str, test: str) -> Draw:
    """A draw of rows whose ids are given with spaces between."""
    return Draw((), tuple(train.split()), tuple(test.split()))


@cache
def built_in() -> tuple[Dataset, UsedRows]:
    """The built-in headlines, and what the cells of quickstart draw of them."""
    experiment = load_experiment("quickstart", [])
    dataset = load_dataset(parse_source({"source": "synthetic"}))
    sampling = experiment.sampling
    draws = tuple(
        draw(dataset, experiment.task.source_lang, pattern, sampling)
        for pattern in experiment.patterns
    )
    return dataset, UsedRows(draws, sampling.train_window, sampling.test_window)
