"""Thresholds of target training rows: held-out scores of a search where they belong to the cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from result_folders import FINGERPRINT, SIGNATURE, TRAINED, VERSIONS, make_plan, make_results
from result_folders import make_spec as make_final_spec
from scipy.special import expit
from sklearn.metrics import f1_score

from xlt.analysis.boundary.measure import boundary
from xlt.analysis.boundary.table import make_boundary_tables
from xlt.analysis.boundary.train_threshold import TRAIN_ROWS, out_of_fold
from xlt.analysis.tables.formats import write_tables
from xlt.analysis.trials.collect import Collected, collect
from xlt.data.dataset.dev import TargetFold
from xlt.trainables.results.result import Results
from xlt.trainables.results.search_plan import Replicate, SearchedCell, SearchedConfig, SearchPlan
from xlt.trainables.results.trial_result import TrialResult
from xlt.trainables.spec.trial_spec import TrialSpec

NUM_FOLDS = 4
SEEDS = (1000, 1001)


def rows(num: int, split: str, seed: int, shift: float) -> pa.Table:
    """Balanced rows in the target language whose scores lie ``shift`` logits too high."""
    rng = np.random.default_rng(seed)
    y_true = (np.arange(num) % 2).astype(np.int8)
    return pa.table(
        {
            "id": [f"{split}-{k}" for k in range(num)],
            "lang": ["ja"] * num,
            "split": [split] * num,
            "y_true": y_true,
            "y_score": expit(rng.normal(3.0 * y_true - 1.5 + shift, 1.0)),
        }
    )


def save(results: Results, spec: TrialSpec, predictions: pa.Table) -> None:
    """Training rows are told apart perfectly by any threshold: in sample there is no shift."""
    label = np.array([0, 1] * 8, np.int8)
    train_rows = pa.table(
        {"id": [str(k) for k in range(16)], "lang": ["ja"] * 16, "label": label,
         "y_score": 0.02 + 0.96 * label}
    )  # fmt: skip
    results.save(
        TrialResult(
            spec=spec,
            metrics={"f1": 0.5},
            signature={**SIGNATURE, "versions": VERSIONS},
            timings={},
            convergence=TRAINED,
            predictions=predictions,
            history=pa.table({"step": [1]}),
            train_rows=train_rows,
            model={},
        )
    )


def dev_spec(seed: int, fold: int, **changes: Any) -> TrialSpec:
    dev = TargetFold(num_folds=NUM_FOLDS, fold=fold, repeat=SEEDS.index(seed))
    update = {"seed": seed, "dev": dev, "data_fingerprint": "without test", **changes}
    return make_final_spec("elyza", "ja16", 0).model_copy(update=update)


def searched(
    folder: Path, *, skip: int = -1, fingerprint: str = FINGERPRINT, **changes: Any
) -> Collected:
    """Three seeds of elyza x ja16, and a search of its own rate; scores lie two logits too high.

    Args:
        folder: New.
        skip: A fold that seed 1000 has not; of the second seed, too, if it is a multiple of ten.
        fingerprint: Of the data that were searched on.
        changes: Of the specs of the search's trials.
    """
    results = make_results(folder, make_plan())
    for seed in range(3):
        save(results, make_final_spec("elyza", "ja16", seed), rows(400, "test", seed, 2.0))
    specs = [dev_spec(seed, fold, **changes) for fold in range(NUM_FOLDS) for seed in SEEDS]
    for spec in specs:
        assert isinstance(spec.dev, TargetFold)
        missing = spec.seed == SEEDS[0] and spec.dev.fold == skip
        if not missing and not (skip == 0 and spec.dev.fold == 0):
            save(results, spec, rows(4, "dev", 10 * spec.seed + spec.dev.fold, 2.0))
    rate = specs[0].learning_rate
    config = SearchedConfig(learning_rate=rate, trial_ids=tuple(s.trial_id for s in specs))
    cell = SearchedCell(
        base_model="elyza", pattern="ja16", base_identity="i", own_rate=rate, low=rate, high=rate,
        replicates=tuple(Replicate(seed=s.seed, dev="target", name=str(s.dev)) for s in specs),
        configs=(config,),
    )  # fmt: skip
    results.save_search(
        SearchPlan(
            experiment="test", search_id="s", settings={}, data_fingerprint=fingerprint,
            metric="auroc", cells=(cell,),
        )
    )  # fmt: skip
    return collect(results)


def test_held_out_scores_make_the_threshold(tmp_path: Path) -> None:
    collected = searched(tmp_path / "a")
    (found,) = out_of_fold(collected).values()
    assert (len(found.y_true), found.num_folds, found.seeds) == (32, NUM_FOLDS, SEEDS)

    def macro(cut: float) -> float:
        return float(f1_score(found.y_true, found.y_score >= cut, average="macro"))

    assert macro(found.threshold) == pytest.approx(max(map(macro, found.y_score)), abs=1e-12)

    (cell,) = boundary(collected)
    test = [rows(400, "test", seed, 2.0) for seed in range(3)]
    expected = [
        f1_score(t["y_true"].to_numpy(), t["y_score"].to_numpy() >= found.threshold) for t in test
    ]
    assert cell.measures[TRAIN_ROWS].mean == pytest.approx(np.mean(expected), abs=1e-12)
    # Held out the rows show that the boundary is off; in sample they do not.
    in_sample = [f1_score(t["y_true"].to_numpy(), t["y_score"].to_numpy() >= 0.5) for t in test]
    assert np.mean(expected) > np.mean(in_sample) + 0.05
    text = write_tables(make_boundary_tables(collected, [cell]))
    assert (
        "F1@train rows of elyza x ja16: out of fold, by 4 folds and seeds 1000, 1001 of the "
        "search at learning rate 5e-05." in text
    )
    assert "out of fold" in write_tables(make_boundary_tables(collected, [cell]), "csv")


def test_a_seed_without_all_folds_is_left_out(tmp_path: Path) -> None:
    (found,) = out_of_fold(searched(tmp_path / "a", skip=2)).values()
    assert (len(found.y_true), found.seeds) == (16, (1001,))


@pytest.mark.parametrize(
    "fault",
    [
        {"skip": 0},
        {"fingerprint": "cd" * 32},
        {"learning_rate": 1e-4},
        {"training": make_final_spec("a", "ja16", 0).training.model_copy(
            update={"num_train_epochs": 3})},
        {"draw_index": 1},
        {"base_identity": "other weights"},
    ],
    ids=["no whole seed", "data", "rate", "epochs", "draw", "weights"],
)  # fmt: skip
def test_trials_of_other_settings_are_not_taken(tmp_path: Path, fault: dict[str, Any]) -> None:
    collected = searched(tmp_path / "a", **fault)
    assert out_of_fold(collected) == {}
    (cell,) = boundary(collected)
    text = write_tables(make_boundary_tables(collected, [cell]))
    assert "F1@train rows of elyza x ja16: in sample." in text


def test_without_a_search_they_are_in_sample(tmp_path: Path) -> None:
    results = make_results(tmp_path / "a", make_plan(seeds=[0]))
    save(results, make_final_spec("elyza", "ja16", 0), rows(400, "test", 0, 2.0))
    assert out_of_fold(collect(results)) == {}
