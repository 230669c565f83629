"""What a trial predicted on its test rows, checked; of tasks with two classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from analysis.cells import first_line
from data.errors import InputError
from trainables.result import Results

Labels = NDArray[np.int8]
Scores = NDArray[np.float64]
THRESHOLD = 0.5
"""Rows at this probability or above count as positive: ``trainables.metrics.THRESHOLD``, written
again because that module imports scikit-learn; a test holds them together."""
COLUMNS = ("id", "split", "y_true", "y_score")


@dataclass(frozen=True)
class TestRows:
    """A trial's test rows.

    Attributes:
        ids: num_rows ids, sorted.
        y_true: num_rows, 0 or 1.
        y_score: num_rows, probability of class 1.
    """

    ids: tuple[str, ...]
    y_true: Labels
    y_score: Scores


def read_test_rows(location: Results, trial_id: str) -> TestRows:
    """Read and check the predictions of a done trial.

    Raises:
        InputError: The file cannot be read, is without one of :data:`COLUMNS` or without test
            rows, has empty entries or an id twice, labels other than 0 and 1, scores of more than
            two classes or that are no probabilities.
    """
    table = read_columns(location, trial_id, "predictions", COLUMNS)
    table = table.filter(pc.equal(table["split"], "test")).sort_by("id")
    if table.num_rows == 0:
        raise InputError("predictions without test rows")
    if pa.types.is_nested(table.schema.field("y_score").type):
        raise InputError("predictions of more than two classes; this looks at two")
    if any(table[name].null_count for name in COLUMNS):
        raise InputError("predictions with empty entries")
    ids = tuple(table["id"].to_pylist())
    if len(set(ids)) < len(ids):
        raise InputError("predictions with an id twice")
    y_true, y_score = (table[name].to_numpy() for name in ("y_true", "y_score"))
    if not np.isin(y_true, (0, 1)).all():
        raise InputError("predictions with a y_true other than 0 and 1")
    if y_score.dtype.kind != "f" or (bad := int((~((y_score >= 0) & (y_score <= 1))).sum())):
        count = f"{bad} of {len(ids)}" if y_score.dtype.kind == "f" else "all"
        raise InputError(f"predictions with {count} scores that are no probabilities")
    return TestRows(ids, y_true.astype(np.int8), y_score.astype(np.float64))


def read_train_scores(location: Results, trial_id: str, lang: str) -> tuple[Labels, Scores] | None:
    """Labels and scores of a trial's training rows in a language, in sample.

    Returns:
        (num_rows,) 0 or 1 and (num_rows,) probability of class 1 when the row was last trained on;
        None if there are not rows of both classes, each with a score.

    Raises:
        InputError: The file cannot be read.
    """
    table = read_columns(location, trial_id, "train_rows", ())
    columns = ("lang", "label", "y_score")
    if not set(columns) <= set(table.column_names):
        return None
    table = table.select(columns).filter(pc.equal(table["lang"], lang)).drop_null()
    labels, scores = (table[name].to_numpy() for name in columns[1:])
    if set(labels.tolist()) != {0, 1} or scores.dtype.kind != "f":
        return None
    return labels.astype(np.int8), scores.astype(np.float64)


def read_columns(location: Results, trial_id: str, name: str, columns: tuple[str, ...]) -> pa.Table:
    """Columns of one of a trial's Parquet files, ``predictions`` or another; none named: all.

    Raises:
        InputError: It cannot be read, or one of the columns is not there.
    """
    try:
        table = location.read_table(trial_id, f"{name}.parquet")
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{name} cannot be read: {first_line(str(error))}") from error
    if missing := [column for column in columns if column not in table.column_names]:
        raise InputError(f"{name} without {', '.join(missing)}")
    return table.select(list(columns)) if columns else table
