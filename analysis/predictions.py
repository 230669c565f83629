"""What trials predicted on their test rows, and how many target rows they were trained on."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from analysis.collect import Collected
from data.errors import InputError
from trainables.result import Results


@dataclass(frozen=True)
class Predictions:
    """A trial's test rows of a task with two classes.

    Attributes:
        y_true: (num_rows,) 0 or 1, both present.
        y_score: (num_rows,) probability of class 1.
        num_target_rows: Rows in a language of the test rows that the trial was trained on.
    """

    y_true: NDArray[np.int8]
    y_score: NDArray[np.float64]
    num_target_rows: int


def read_predictions(collected: Collected) -> dict[str, Predictions]:
    """Trial id -> test rows, of all done trials.

    Raises:
        InputError: More than two classes, or files that are not as a trial writes them.
    """
    num_classes = len(collected.plan.classes)
    if num_classes != 2:
        raise InputError(
            f"has {num_classes} classes; thresholds and calibration are read of two classes",
            f"experiment {collected.plan.experiment}",
        )
    location = Results(collected.uri)
    rows = collected.table.select(["trial_id", "state"]).to_pylist()
    ids = [row["trial_id"] for row in rows if row["state"] == "done"]
    try:
        with ThreadPoolExecutor(16) as pool:  # object stores are far
            found = list(pool.map(lambda trial_id: _read(location, trial_id), ids))
    except OSError as error:
        raise InputError(f"cannot be read: {error}", f"results {location.uri}") from error
    if problems := list(_problems(ids, found)):
        raise InputError(problems, f"results {location.uri}")
    return {trial_id: p for trial_id, p in zip(ids, found, strict=True) if not isinstance(p, str)}


def _problems(ids: list[str], found: list[Predictions | str]) -> Iterator[str]:
    for trial_id, one in zip(ids, found, strict=True):
        if isinstance(one, str):
            yield f"trials/{trial_id}/{one}; remove the folder and `xlt run` again"


def _read(location: Results, trial_id: str) -> Predictions | str:
    """The trial's rows, or what is wrong with which file."""
    tables: dict[str, Any] = {}
    for name, columns in {
        "predictions.parquet": ("lang", "split", "y_true", "y_score"),
        "train_rows.parquet": ("lang",),
    }.items():
        try:
            table = location.read_table(trial_id, name)
        except pa.ArrowInvalid as error:
            return f"{name} is no parquet file: {error}"
        if missing := [column for column in columns if column not in table.column_names]:
            return f"{name} has no column {', '.join(missing)}"
        tables[name] = {column: table[column].to_numpy() for column in columns}
    test, train = tables["predictions.parquet"], tables["train_rows.parquet"]
    chosen = test["split"] == "test"
    y_true, y_score, langs = (test[c][chosen] for c in ("y_true", "y_score", "lang"))
    if set(np.unique(y_true)) != {0, 1}:
        return "predictions.parquet does not hold test rows of both classes"
    if y_score.dtype.kind != "f" or not np.all((y_score >= 0) & (y_score <= 1)):
        return "predictions.parquet holds scores that are no probabilities"
    return Predictions(
        y_true=y_true.astype(np.int8),
        y_score=y_score.astype(np.float64),
        num_target_rows=int(np.isin(train["lang"], np.unique(langs.astype(str))).sum()),
    )
