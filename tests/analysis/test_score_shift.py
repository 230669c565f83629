"""The shift of scores between languages: known translations, shares of classes, intervals."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from result_folders import make_plan, make_results, save_done
from scipy.special import expit
from scipy.stats import norm
from simulated_scores import make_cell

from xlt.analysis.boundary.measure import CLASS_MEDIANS, boundary
from xlt.analysis.boundary.score_shift import SHIFTS, score_shift, source_logits
from xlt.analysis.boundary.table import make_boundary_tables
from xlt.analysis.metrics.measures import RESAMPLED_MEASURES
from xlt.analysis.tables.formats import write_tables
from xlt.analysis.trials.collect import collect
from xlt.analysis.trials.scores import CellScores
from xlt.analysis.uncertainty.intervals import t_interval
from xlt.analysis.uncertainty.runs import MetricRuns, Runs


def shifts(cell: CellScores, sources: list[tuple[NDArray[Any], NDArray[Any]]]) -> dict[str, Runs]:
    low, high = (MetricRuns(name, RESAMPLED_MEASURES).of(cell) for name in CLASS_MEDIANS)
    return score_shift(cell, (low, high), [source_logits(*rows) for rows in sources])


logits = st.lists(st.floats(-6, 6), min_size=2, max_size=15)


@settings(max_examples=30, deadline=None)
@given(logits, logits, st.floats(-3, 3), st.integers(1, 4))
def test_a_translation_is_found_for_any_shares_of_classes(
    negative: list[float], positive: list[float], by: float, times: int
) -> None:
    """Target rows are the source's, moved; positives are many times as frequent."""
    source = np.array(negative + positive)
    y_source = np.repeat([0, 1], [len(negative), len(positive)])
    target = np.array(negative + positive * times) + by
    y_target = np.repeat([0, 1], [len(negative), times * len(positive)])
    found = shifts(make_cell(y_target, expit(target)[None]), [(y_source, expit(source))])
    for name in ("logit_shift", "logit_shift_0", "logit_shift_1"):
        assert found[name].values == pytest.approx([by], abs=1e-9)
    groups = [values[y == label] for label in (0, 1) for values, y in (
        (source, y_source), (target, y_target))]  # fmt: skip
    square = sum(((group - group.mean()) ** 2).sum() for group in groups)
    std = np.sqrt(square / (len(source) + len(target) - 4))
    if std > 1e-6:
        assert found["logit_shift_d"].values == pytest.approx([by / std], rel=1e-6, abs=1e-9)


def test_classes_that_move_apart_are_no_shift() -> None:
    """Overconfidence on rows known by heart: as far up in one class as down in the other."""
    y_true = np.repeat([0, 1], 50)
    target = np.where(y_true, 1.0, -1.0) + np.tile(np.linspace(-1, 1, 50), 2)
    found = shifts(make_cell(y_true, expit(target)[None]), [(y_true, expit(3 * target))])
    assert found["logit_shift"].values == pytest.approx([0.0], abs=1e-9)
    assert found["logit_shift_0"].values == pytest.approx(-found["logit_shift_1"].values)
    assert abs(found["logit_shift_1"].values[0]) > 1.5


def test_runs_without_source_rows_or_spread_have_none() -> None:
    y_true = np.repeat([0, 1], 10)
    cell = make_cell(y_true, np.tile(0.2 + 0.5 * y_true, (2, 1)))
    low, high = (MetricRuns(n, RESAMPLED_MEASURES).of(cell) for n in CLASS_MEDIANS)
    assert score_shift(cell, (low, high), [None, None]) == {}
    rows = source_logits(y_true, 0.1 + 0.5 * y_true)
    found = score_shift(cell, (low, high), [None, rows])
    assert found["logit_shift"].runs == ((0, 1),)
    assert len(found["logit_shift_d"].values) == 0


def test_intervals_hold_the_truth() -> None:
    """3 runs whose shift differs; classes are normal, so that medians are means."""
    rng = np.random.default_rng(2)
    y_true, held = np.repeat([0, 1], 50), 0
    for _ in range(60):
        centre = 2.0 * y_true - 1
        rows = rng.standard_normal(100)
        moved = 0.7 + 0.2 * rng.standard_normal((3, 1))
        target = centre + moved + rows + 0.5 * rng.standard_normal((3, 100))
        quantiles = norm.ppf((np.arange(50) + 0.5) / 50)  # a source whose medians are known
        source = y_true, expit(centre + np.tile(quantiles, 2))
        found = shifts(make_cell(y_true, expit(target)), [source] * 3)["logit_shift"]
        held += t_interval([found]).holds(0.7)
    assert held >= 52  # 60 x 0.95 = 57; below 52 in 1 % of cases


def test_tables_show_the_shift(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y_true = np.tile([0, 1], 60).astype(np.int8)
    results = make_results(tmp_path / "a", make_plan(patterns=["ja0", "ja104"]))
    for pattern, by in (("ja0", -2.0), ("ja104", 0.0)):
        for seed in range(3):
            centre = 3.0 * y_true - 1.5
            target, source = (centre + rng.normal(0, 0.5, 120) for _ in range(2))
            rows = pa.table({"id": [f"{k:03}" for k in range(120)], "lang": ["ja"] * 120,
                             "split": ["test"] * 120, "y_true": y_true,
                             "y_score": expit(target + by)})  # fmt: skip
            train = pa.table({"id": rows["id"], "lang": ["en"] * 120, "label": y_true})
            if pattern == "ja0":
                train = train.append_column("y_score", pa.array(expit(source)))
            save_done(
                results, "elyza", pattern, seed, {"f1": 0.5}, predictions=rows, train_rows=train
            )
    collected = collect(results)
    judged = boundary(collected)
    moved, unknown = (cell.measures["logit_shift"] for cell in judged)
    assert moved.mean == pytest.approx(-2, abs=0.2) and unknown.n == 0
    assert moved.interval and moved.interval[0] < -2 < moved.interval[1] < -1.5
    main, _, table = make_boundary_tables(collected, judged)
    assert table.heading[2:] == (
        "median logit", "shift", "shift, d", "of negatives", "of positives"
    )  # fmt: skip
    assert table.lines[0][3].startswith("-2.0") or table.lines[0][3].startswith("-1.9")
    assert table.lines[1][3:] == ("-",) * 4 and table.lines[1][2] != "-"
    record = next(csv.DictReader(io.StringIO(write_tables([main, table], "csv"))))
    assert float(record["logit_shift_low"]) == moved.interval[0]
    assert {f"{name}_mean" for name in SHIFTS} <= record.keys()
