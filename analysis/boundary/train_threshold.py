"""The threshold chosen on the target training rows of a cell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from xlt.analysis.metrics.thresholds import best_threshold, f1_at, list_cuts
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.scored_rows import TestRows, read_test_rows
from xlt.trainables.metrics.arrays import Labels, Scores
from xlt.trainables.results.result import Results
from xlt.trainables.results.search_plan import SearchedCell
from xlt.trainables.spec.cell_key import CellKey

TRAIN_ROWS = "f1_train_rows"
"""Name of the measure: F1 at the threshold with the largest macro F1 on the target training rows.

The training rows are scored out of fold if a search held them out (:func:`out_of_fold`). Otherwise
they are scored in sample, in the last training step on each row, and the threshold is fitted to
rows that the model has learnt. A trial without scored target rows of both classes has no value."""
NOT_COMPARED = frozenset({"seed", "dev", "data_fingerprint", "base_path", "resources"})
"""Fields of the spec that may differ between a trial of a search and a trial of the cell. A search
has other seeds and data without test rows; paths and resources cannot change a result."""


@dataclass(frozen=True)
class FoldScores:
    """Target training rows of a cell, each scored by a trial that did not train on it.

    Attributes:
        y_true: num_seeds * num_target_rows labels, 0 or 1.
        y_score: num_seeds * num_target_rows probabilities of class 1.
        num_folds: Number of folds, which is the number of trials for each seed.
        seeds: Seeds of the search; each seed splits the rows into other folds.
        learning_rate: Learning rate of these trials and of the cell.
    """

    y_true: Labels
    y_score: Scores
    num_folds: int
    seeds: tuple[int, ...]
    learning_rate: float

    @property
    def threshold(self) -> float:
        """The threshold with the largest macro F1 on the scores of all seeds together."""
        return float(best_threshold(list_cuts(self.y_true, self.y_score)))


def out_of_fold(collected: Collected) -> dict[CellKey, FoldScores]:
    """Read the held-out scores of cells whose settings the experiment's search tried on every fold.

    The trials of a search that hold out folds of target rows (:class:`TargetFold`) are a repeated
    cross-validation. A fold has few rows, so scores of all folds are pooled before a threshold is
    chosen, like cross-validated probabilities (Platt 1999, section 2.1). The models have other
    seeds and fewer target rows than those of the cell.

    Args:
        collected: The experiment, whose last search is read from the same location.

    Returns:
        Scores of each cell whose done trials all have the settings of one config of the search, if
        at least one seed of that config has all folds.

    Raises:
        InputError: The plan of the search is damaged, or the location cannot be read.
    """
    location = Results(collected.uri)
    search = location.read_search(collected.plan.experiment)
    if search is None or search.data_fingerprint != collected.plan.data_fingerprint:
        return {}
    by_cell: dict[CellKey, FoldScores] = {}
    for searched in search.cells:
        key = searched.key
        done = [row.trial_id for row in collected.by_cell.get(key, ()) if row.is_done]
        specs = [_settings(collected.records[trial_id]) for trial_id in done]
        if specs and specs.count(specs[0]) == len(specs):
            scores = _held_out(location, searched, specs[0])
            if scores is not None:
                by_cell[key] = scores
    return by_cell


def f1_at_train_threshold(
    collected: Collected,
    predictions: Mapping[str, TestRows],
    trained: Mapping[str, Mapping[str, tuple[Labels, Scores]]],
    folds: Mapping[CellKey, FoldScores],
) -> dict[str, float]:
    """Compute the measure :data:`TRAIN_ROWS`.

    Args:
        collected: The experiment.
        predictions: Trial id -> test rows of both classes.
        trained: Trial id -> language -> scored training rows.
        folds: Held-out scores of cells, see :func:`out_of_fold`.

    Returns:
        Trial id -> F1 of each trial that has such a threshold.
    """
    langs = {cell.key: cell.target_lang for cell in collected.plan.cells}
    thresholds = {key: scores.threshold for key, scores in folds.items()}
    measured: dict[str, float] = {}
    for row in collected.rows:
        if row.trial_id not in predictions or not row.num_target_rows:
            continue
        threshold = thresholds.get(row.cell)
        in_sample = trained[row.trial_id].get(langs[row.cell])
        if threshold is None and in_sample is not None:
            threshold = float(best_threshold(list_cuts(*in_sample)))
        if threshold is not None:
            test = predictions[row.trial_id]
            measured[row.trial_id] = float(f1_at(test.y_true, test.y_score, threshold))
    return measured


def _settings(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record["spec"].items() if name not in NOT_COMPARED}


def _held_out(
    location: Results, searched: SearchedCell, settings: Mapping[str, Any]
) -> FoldScores | None:
    """Held-out scores of the config with these settings; None if no seed has all folds."""
    rate = settings["learning_rate"]
    ids = [i for c in searched.configs if c.learning_rate == rate for i in c.trial_ids]
    cuts: dict[tuple[int, int, int], dict[int, TestRows]] = defaultdict(dict)
    for trial_id, state in location.states(dict.fromkeys(ids)).items():
        if state.state != "done" or state.record is None or _settings(state.record) != settings:
            continue
        dev, seed = state.record["spec"]["dev"], state.record["spec"]["seed"]
        if dev["kind"] == "target":
            cut = seed, dev["repeat"], dev["num_folds"]
            cuts[cut][dev["fold"]] = read_test_rows(location, trial_id, split="dev")
    whole = {cut: list(folds.values()) for cut, folds in cuts.items() if len(folds) == cut[2]}
    if not whole:
        return None
    rows = [row for folds in whole.values() for row in folds]
    return FoldScores(
        np.concatenate([row.y_true for row in rows]),
        np.concatenate([row.y_score for row in rows]),
        max(num_folds for _, _, num_folds in whole),
        tuple(dict.fromkeys(seed for seed, _, _ in whole)),
        rate,
    )
