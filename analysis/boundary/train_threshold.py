"""The threshold of the few target training rows: by held-out scores, where a search left these."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from xlt.analysis.metrics.thresholds import best_threshold, every_cut, f1_at
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.predictions import TestRows, read_test_rows
from xlt.trainables.metrics.arrays import Labels, Scores
from xlt.trainables.results.result import Results
from xlt.trainables.results.search_plan import SearchedCell
from xlt.trainables.spec.cell_key import CellKey

TRAIN_ROWS = "f1_train_rows"
"""F1 at the threshold with the largest F1 on the target training rows. Out of fold where a search
held them out (:func:`out_of_fold`); else in sample, by the score that each had when the trial last
trained on it, so that the threshold is fitted to rows that the model knows. Only where there are
target rows of both classes with a score."""
NOT_COMPARED = frozenset({"seed", "dev", "data_fingerprint", "base_path", "resources"})
"""Fields in which the spec of a search's trial differs from that of the cell it stands for: other
seeds, and data without test rows; and what cannot change a result."""


@dataclass(frozen=True)
class FoldScores:
    """Target training rows of a cell, each scored by a trial that did not train on it.

    Attributes:
        y_true: num_seeds x num_target_rows labels in one dimension, 0 or 1.
        y_score: As long; probability of class 1.
        num_folds: Trials a seed.
        seeds: Of the search, whose trials cut the rows into folds, each anew.
        learning_rate: Of these trials and of the cell's.
    """

    y_true: Labels
    y_score: Scores
    num_folds: int
    seeds: tuple[int, ...]
    learning_rate: float

    @property
    def threshold(self) -> float:
        """The one with the largest F1 on all seeds together."""
        return float(best_threshold(every_cut(self.y_true, self.y_score)))


def out_of_fold(collected: Collected) -> dict[CellKey, FoldScores]:
    """Held-out scores of the cells whose very settings a search tried on every fold.

    The trials of a search that hold out a fold of a cell's target rows (:class:`TargetFold`)
    are a repeated cross-validation of it. Folds are of few rows, so that their scores
    are pooled before a threshold is chosen, as cross-validated probabilities are (Platt 1999,
    section 2.1). Their models are of other seeds and of fewer target rows than the cell's.

    Args:
        collected: The trials; the last search of their experiment is read beside them.

    Returns:
        Cells of which all done trials have the settings of one config of the search, and at least
        one seed of that config has all of its folds.

    Raises:
        InputError: The search's plan is damaged, or the location cannot be read.
    """
    location = Results(collected.uri)
    search = location.read_search(collected.plan.experiment)
    if search is None or search.data_fingerprint != collected.plan.data_fingerprint:
        return {}
    found: dict[CellKey, FoldScores] = {}
    for searched in search.cells:
        key = searched.key
        done = [row.trial_id for row in collected.by_cell.get(key, ()) if row.is_done]
        specs = [_settings(collected.records[trial_id]) for trial_id in done]
        if specs and specs.count(specs[0]) == len(specs):
            scores = _held_out(location, searched, specs[0])
            if scores is not None:
                found[key] = scores
    return found


def f1_at_train_threshold(
    collected: Collected,
    predictions: Mapping[str, TestRows],
    trained: Mapping[str, Mapping[str, tuple[Labels, Scores]]],
    folds: Mapping[CellKey, FoldScores],
) -> dict[str, float]:
    """Measure :data:`TRAIN_ROWS`.

    Args:
        collected: The trials.
        predictions: Trial id -> test rows of both classes.
        trained: Trial id -> language -> scored training rows.
        folds: See :func:`out_of_fold`.

    Returns:
        Trial id -> F1, of the trials that have such a threshold.
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
            threshold = float(best_threshold(every_cut(*in_sample)))
        if threshold is not None:
            test = predictions[row.trial_id]
            measured[row.trial_id] = float(f1_at(test.y_true, test.y_score, threshold))
    return measured


def _settings(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record["spec"].items() if name not in NOT_COMPARED}


def _held_out(
    location: Results, searched: SearchedCell, settings: Mapping[str, Any]
) -> FoldScores | None:
    """The held-out scores of the config with these settings; None without a seed's whole folds."""
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
