"""Floor, baselines, ceiling and tuning budget below tables; scikit-learn gives the values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from result_folders import make_plan, make_results, save_done
from simulated_scores import predictions
from sklearn import metrics as sk

from xlt.analysis.tables.bounds import write_bounds
from xlt.analysis.tables.metric_cells import MetricCells, collect_metric_cells
from xlt.analysis.tables.report import render_tables
from xlt.analysis.trials.collect import Collected, collect
from xlt.analysis.trials.weigh import weigh
from xlt.trainables.results.plan import PlannedCell

Y_TRUE = np.array([1] * 12 + [0] * 28)
IDS = tuple(f"r{number:02d}" for number in range(40))
WRONG = IDS[:2] + IDS[20:21]


def saved(folder: Path, y_true: np.ndarray = Y_TRUE, **fields: object) -> Collected:
    """Two base models: F1 0.4 and 0.8, AUROC 0.5 and 0.9."""
    results = make_results(folder, make_plan(("elyza", "mbert"), seeds=(0,), **fields))
    table = predictions(IDS, y_true.tolist(), np.linspace(0, 1, 40).tolist())
    names = "f1", "auroc", "accuracy", "average_precision"
    for model, values in (("elyza", (0.4, 0.5, 0.8, 0.7)), ("mbert", (0.8, 0.9, 0.8, 0.7))):
        metrics = dict(zip(names, values, strict=True))
        save_done(results, model, "ja16", 0, metrics, predictions=table)
    return collect(results)


def bounds(collected: Collected, metric: str) -> list[str]:
    cells: MetricCells = collect_metric_cells(collected, metric)
    return write_bounds(cells)


def test_the_floor_is_the_best_constant_answer(tmp_path: Path) -> None:
    collected = saved(tmp_path / "r")
    f1 = sk.f1_score(Y_TRUE, np.ones(40))
    assert bounds(collected, "f1") == [
        f"Floor: calling every row positive has f1 {f1:.3f}; mean no higher: elyza x ja16."
    ]
    auroc = sk.roc_auc_score(Y_TRUE, np.ones(40))
    assert bounds(collected, "auroc") == [
        f"Floor: the same score for every row has auroc {auroc:.3f}; mean no higher: elyza x ja16."
    ]
    (accuracy,) = bounds(collected, "accuracy")
    assert f"calling every row negative has accuracy {28 / 40:.3f}" in accuracy
    (average_precision,) = bounds(collected, "average_precision")
    expected = sk.average_precision_score(Y_TRUE, np.ones(40))
    assert f"average_precision {expected:.3f}" in average_precision
    assert bounds(weigh(collected, 0.02), "f1")[0].startswith(
        f"Floor: calling every row positive has f1 {2 * 0.02 / 1.02:.3f}"
    )


def test_the_ceiling_is_the_score_of_the_right_answers(tmp_path: Path) -> None:
    collected = saved(tmp_path / "r", wrong_labels=(*WRONG, "another row"))
    right = np.where(np.isin(IDS, WRONG), 1 - Y_TRUE, Y_TRUE)
    for metric, score in (("f1", sk.f1_score), ("auroc", sk.roc_auc_score)):
        assert bounds(collected, metric)[-1] == (
            "Ceiling: 3 of 40 test labels are known to be wrong; the right answers have "
            f"{metric} {score(Y_TRUE, right):.3f}."
        )
    assert "Ceiling: 3 of 40" in render_tables(collected)


@pytest.mark.parametrize(
    ("baseline", "told"),
    [("elyza", "Baseline elyza: every other cell of its patterns has a higher mean, untested."),
     ("mbert", "Baseline mbert; mean no higher: elyza x ja16.")],
)  # fmt: skip
def test_cells_are_compared_with_baselines(baseline: str, told: str, tmp_path: Path) -> None:
    collected = saved(tmp_path / "r")
    rows = [
        replace(row, method="ngram") if row.cell.base_model == baseline else row
        for row in collected.rows
    ]
    assert bounds(replace(collected, rows=rows), "f1")[1:] == [told]


def test_nothing_is_said_without_usable_rows(tmp_path: Path) -> None:
    assert bounds(saved(tmp_path / "one class", np.ones(40, int)), "auroc") == []
    results = make_results(tmp_path / "none", make_plan(seeds=(0,)))
    save_done(results, "elyza", "ja16", 0, {"f1": 0.5})  # no predictions
    assert bounds(collect(results), "f1") == []


def test_tables_name_the_tuning_budget(tmp_path: Path) -> None:
    text = render_tables(saved(tmp_path / "r"), metrics=["f1"])
    assert "Learning rates as given; this experiment searched none of them." in text
    plan = make_plan(("elyza", "mbert"), seeds=(0,))
    cells: list[PlannedCell] = [
        cell.model_copy(update={"chosen": "rate 1 of 11" * (cell.base_model == "elyza")})
        for cell in plan.cells
    ]
    results = make_results(tmp_path / "s", plan.model_copy(update={"cells": tuple(cells)}))
    save_done(results, "elyza", "ja16", 0, {"f1": 0.5})
    text = render_tables(collect(results), metrics=["f1"])
    assert "elyza x ja16: rate 1 of 11." in text
    assert "Learning rates of the other cells as given" in text
