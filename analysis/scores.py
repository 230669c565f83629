"""The predictions of an experiment as arrays: num_seeds x num_items for every cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from analysis.cells import first_line
from analysis.collect import Collected
from data.errors import InputError
from trainables.result import Results

Labels = NDArray[np.int8]
Scores = NDArray[np.float64]
Key = tuple[str, str]
"""(base_model, pattern)."""
COLUMNS = ("id", "y_true", "y_score")


@dataclass(frozen=True)
class CellScores:
    """What the done trials of a cell predicted, on the same items in the same order.

    Attributes:
        base_model: Table row.
        pattern: Table column.
        seeds: Seeds of the rows of ``scores``, in the order of the plan.
        gaps: Planned seeds without predictions, a phrase each, e.g. ``seed 1 missing``.
        ids: num_items ids of test rows, sorted; equal for cells that share test rows.
        y_true: num_items, 0 or 1.
        scores: num_seeds x num_items, probability of class 1.
    """

    base_model: str
    pattern: str
    seeds: tuple[int, ...]
    gaps: tuple[str, ...]
    ids: tuple[str, ...]
    y_true: Labels
    scores: Scores

    @property
    def name(self) -> str:
        """``base_model/pattern``, as commands take it."""
        return f"{self.base_model}/{self.pattern}"


@dataclass(frozen=True)
class ExperimentScores:
    """The cells of an experiment that intervals and comparisons can be made of.

    Attributes:
        cells: (base_model, pattern) -> predictions, in the order of the plan.
        left_out: (base_model, pattern) -> why the cell is not in ``cells``.
    """

    cells: Mapping[Key, CellScores]
    left_out: Mapping[Key, str]


def load_scores(collected: Collected) -> ExperimentScores:
    """Read the predictions of every done trial.

    A cell whose predictions cannot be used is left out with the reason, and the rest goes on: no
    seed is done, more than two classes, a file without the columns, an id twice, scores that are
    not probabilities, or seeds that were tested on different rows.

    Args:
        collected: The trials, see :func:`analysis.collect.collect`.
    """
    location = Results(collected.uri)
    by_id = {row["trial_id"]: row for row in collected.table.to_pylist()}
    cells: dict[Key, CellScores] = {}
    left_out: dict[Key, str] = {}
    for planned in collected.plan.cells:
        key = planned.base_model, planned.pattern
        rows = [by_id[trial.trial_id] for trial in planned.trials]
        if not rows:
            left_out[key] = first_line(planned.skipped) or "no trials planned"
            continue
        gaps = tuple(f"seed {r['seed']} {r['state']}" for r in rows if r["state"] != "done")
        done = [row for row in rows if row["state"] == "done"]
        try:
            if not done:
                raise InputError(", ".join(gaps))
            read = [_read(location, row["trial_id"], row["seed"]) for row in done]
            ids, y_true = _shared(read, [row["seed"] for row in done])
        except InputError as error:
            left_out[key] = str(error)
            continue
        scores = np.stack([scores for _, _, scores in read])
        seeds = tuple(row["seed"] for row in done)
        cells[key] = CellScores(*key, seeds, gaps, ids, y_true, scores)
    return ExperimentScores(cells, left_out)


def _read(location: Results, trial_id: str, seed: int) -> tuple[tuple[str, ...], Labels, Scores]:
    """Sorted ids, y_true and y_score of a trial; InputError if they are of no use."""
    try:
        table = location.read_table(trial_id, "predictions.parquet")
    except (OSError, pa.ArrowInvalid) as error:
        why = first_line(str(error))
        raise InputError(f"seed {seed}: predictions cannot be read: {why}") from error
    if missing := [name for name in COLUMNS if name not in table.column_names]:
        raise InputError(f"seed {seed}: predictions without {', '.join(missing)}")
    if table.num_rows == 0:
        raise InputError(f"seed {seed}: predictions without rows")
    if pa.types.is_nested(table.schema.field("y_score").type):
        raise InputError("more than two classes; intervals and comparisons are of two")
    if any(table.column(name).null_count for name in COLUMNS):
        raise InputError(f"seed {seed}: predictions with empty entries")
    table = table.sort_by("id")
    ids = tuple(table.column("id").to_pylist())
    y_true = table.column("y_true").to_numpy()
    scores = table.column("y_score").to_numpy().astype(np.float64)
    if len(set(ids)) < len(ids):
        raise InputError(f"seed {seed}: predictions with an id twice")
    if not np.isin(y_true, (0, 1)).all():
        raise InputError(f"seed {seed}: y_true with other values than 0 and 1")
    if bad := int((~np.isfinite(scores)).sum()):
        raise InputError(f"seed {seed}: {bad} of {len(ids)} scores are not finite")
    return ids, y_true.astype(np.int8), scores


def _shared(
    read: list[tuple[tuple[str, ...], Labels, Scores]], seeds: list[int]
) -> tuple[tuple[str, ...], Labels]:
    """The ids and labels that all seeds agree on."""
    ids, y_true, _ = read[0]
    for seed, (other, labels, _) in zip(seeds, read, strict=True):
        if ids != other:
            differ = len(set(ids) ^ set(other))
            raise InputError(
                f"seeds {seeds[0]} and {seed} were tested on different rows ({differ} ids in one)"
            )
        if not np.array_equal(y_true, labels):
            raise InputError(f"seeds {seeds[0]} and {seed} have different labels for a test row")
    return ids, y_true
