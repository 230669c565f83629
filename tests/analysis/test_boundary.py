"""Ranking or threshold: simulated cells whose fault is known, and what is refused."""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from boundary_results import predictions, train_rows
from result_folders import TRAINED, make_plan, make_results, save_done, save_failed
from scipy import stats
from simulated_faults import AUROC, FAULTS, Fault, judge_pair, simulate_pair
from simulated_scores import make_cell
from sklearn.metrics import f1_score

from xlt.analysis.boundary.measure import CellBoundary, boundary
from xlt.analysis.boundary.table import loss_text, make_boundary_tables
from xlt.analysis.boundary.train_threshold import TRAIN_ROWS
from xlt.analysis.boundary.verdict import Loss, Verdict, Word, judge, threshold_gain
from xlt.analysis.metrics.measures import MEASURES
from xlt.analysis.metrics.thresholds import decide_at_best_threshold, f1_at
from xlt.analysis.tables.formats import write_tables
from xlt.analysis.trials.collect import Collected, collect
from xlt.analysis.uncertainty.intervals import Interval, t_interval
from xlt.analysis.uncertainty.runs import Runs
from xlt.data.core.errors import InputError
from xlt.trainables.metrics.registry import score

PATTERNS = ("ja0", "ja16", "ja104")


def simulated(folder: Path, **cells: dict[str, float]) -> Collected:
    """Pattern -> arguments of :func:`predictions`; three seeds, real metrics in trial.json."""
    results = make_results(folder, make_plan(patterns=list(cells)))
    for pattern, fault in cells.items():
        for seed in range(3):
            rows = predictions(seed, **fault)
            found = rows["y_true"].to_numpy(), rows["y_score"].to_numpy()
            metrics = score(*found)
            num_target = int(pattern.removeprefix("ja"))
            save_done(
                results, "elyza", pattern, seed, metrics,
                predictions=rows, train_rows=train_rows(num_target),
            )  # fmt: skip
    return collect(results)


def words(judged: list[CellBoundary]) -> list[str]:
    return [cell.verdict.word if cell.verdict else "" for cell in judged]


def test_the_fault_of_a_cell_is_found(tmp_path: Path) -> None:
    collected = simulated(
        tmp_path / "a", ja0={"shift": 3.0}, ja16={"gain": 0.6}, ja32={"gain": 0.0, "shift": 3.0},
        ja64={"gain": 0.7, "shift": -2.0}, ja104={"shift": 0.1},
    )  # fmt: skip
    judged = boundary(collected)
    assert words(judged) == ["threshold is off", "ranks worse", "chance", "both", "reference"]
    assert {cell.reference for cell in judged} == {"ja104"}
    shifted, best = judged[0].verdict, judged[-1].verdict
    assert shifted and shifted.ranking and best and best.ranking is None
    found = {name: judged[0].measures[name].mean or 0.0 for name in ("f1", "f1_best", "auroc")}
    assert found["f1_best"] > found["f1"] + 0.1 and shifted.threshold.value > 0.1
    reference = judged[-1].measures["auroc"].mean or 0.0
    assert shifted.ranking.value == pytest.approx(reference - found["auroc"], abs=1e-12)
    assert judged[0].measures["auroc"].interval == (shifted.auroc.low, shifted.auroc.high)


def test_measures_are_those_of_the_trials(tmp_path: Path) -> None:
    collected = simulated(tmp_path / "a", ja0={"shift": 1.0})
    (cell,) = boundary(collected)
    recorded = collected.table.to_pylist()
    for name in ("f1", "auroc", "average_precision"):
        found = [row[name] for row in recorded]
        assert cell.measures[name].mean == pytest.approx(np.mean(found), abs=1e-12)
        assert cell.measures[name].std == pytest.approx(np.std(found, ddof=1), abs=1e-12)
    parts = {name: cell.measures[name].mean or 0.0 for name in MEASURES if "brier" in name}
    assert parts["brier"] == pytest.approx(
        parts["brier_reliability"]
        - parts["brier_resolution"]
        + parts["brier_uncertainty"]
        + parts["brier_within_bins"]
    )


def test_the_reference_can_be_chosen_and_must_exist(tmp_path: Path) -> None:
    collected = simulated(tmp_path / "a", ja0={"shift": 3.0}, ja16={}, ja104={})
    chosen = boundary(collected, reference="ja16")
    assert {cell.reference for cell in chosen} == {"ja16"}
    assert words(chosen)[1] == "reference" and words(chosen)[2] != "reference"
    with pytest.raises(InputError, match=r"reference: unknown pattern 'ja32'.*Known: ja0, ja104"):
        boundary(collected, reference="ja32")


def test_a_reference_without_value_leaves_the_other_question(tmp_path: Path) -> None:
    results = make_results(tmp_path / "a", make_plan(patterns=["ja0", "ja104"]))
    for seed in range(3):
        save_done(
            results, "elyza", "ja0", seed, {"f1": 0.5},
            predictions=predictions(seed, shift=3.0), train_rows=train_rows(0),
        )  # fmt: skip
    collected = collect(results)
    judged = boundary(collected, reference="ja104")
    assert words(judged) == ["threshold is off", ""]
    assert judged[0].verdict and judged[0].verdict.ranking is None
    text = write_tables(make_boundary_tables(collected, judged))
    assert "No comparison of ranking for elyza x ja0: elyza/ja104: seed 0 missing" in text


def test_cells_of_which_some_runs_did_not_train_are_not_judged(tmp_path: Path) -> None:
    results = make_results(tmp_path / "a", make_plan(patterns=["ja0", "ja16", "ja104"]))
    for pattern in ("ja0", "ja16", "ja104"):
        for seed in range(3):
            stuck = (
                {"final_loss": 0.693, "train_auroc": 0.5} if (pattern, seed) == ("ja16", 1) else {}
            )
            save_done(
                results, "elyza", pattern, seed, {"f1": 0.5}, predictions=predictions(seed),
                train_rows=train_rows(int(pattern.removeprefix("ja"))),
                convergence=TRAINED | stuck,
            )  # fmt: skip
    collected = collect(results)
    text = write_tables(make_boundary_tables(collected, boundary(collected)))
    assert "No verdict for elyza x ja16: elyza/ja16: seed 1 collapsed, the others did not" in text
    judged = boundary(collected, reference="ja16")
    assert words(judged) == ["undecided", "", "undecided"]
    assert judged[0].without.startswith("elyza/ja16: seed 1 collapsed")


@pytest.mark.parametrize("margin", [0.0, 1.0, -0.1, float("nan")])
def test_a_margin_is_a_loss(tmp_path: Path, margin: float) -> None:
    collected = collect(make_results(tmp_path / "a", make_plan()))
    with pytest.raises(InputError, match=r"margin .* is not a loss between 0 and 1, e.g. 0.03"):
        boundary(collected, margin=margin)


def test_unbalanced_rows_need_a_prior_and_the_table_says_so(tmp_path: Path) -> None:
    collected = simulated(tmp_path / "a", ja0={"positive": 0.25, "shift": 2.0})
    (cell,) = boundary(collected, prior=0.25)
    found = {name: value.mean or 0.0 for name, value in cell.measures.items()}
    assert found["f1_prior"] > found["f1_median"] + 0.1
    assert found["f1_prior"] == pytest.approx(found["f1_best"], abs=0.03)
    assert cell.prior == 0.25
    text = write_tables(make_boundary_tables(collected, [cell], 0.25))
    assert "F1 0.400 at 25.0% positive" in text
    assert "ignore F1@median and set --prior" in text


def test_a_table_shows_every_cell_and_few_labelled_rows_on_request(tmp_path: Path) -> None:
    collected = simulated(tmp_path / "a", ja0={"shift": 3.0}, ja104={})
    judged = boundary(collected, num_labelled=[16])
    main, thresholds, shifts, few = make_boundary_tables(collected, judged)
    assert main.heading[2:] == ("F1@0.5", "AUROC", "AUROC lost", "threshold gains", "verdict")
    assert thresholds.heading[2:] == ("F1@0.5", "F1@median", "F1@best", "AP", "ECE", "Brier")
    assert few.heading[2:] == ("F1@0.5", "temperature, 16", "platt, 16", "threshold, 16")
    assert [len(table.lines) for table in (main, thresholds, shifts, few)] == [2] * 4
    assert main.lines[1][4] == "-" and main.footnotes[0] == "Reference of elyza: ja104."
    records = list(csv.DictReader(io.StringIO(write_tables([main, thresholds, few], "csv"))))
    assert [r["verdict"] for r in records] == ["threshold is off", "reference"]
    assert records[0]["threshold_gain_above_0"] == "True" and records[1]["auroc_lost"] == ""
    assert float(records[0]["f1_platt_16_mean"]) > float(records[0]["f1_temperature_16_mean"]) + 0.1
    assert len(make_boundary_tables(collected, boundary(collected))) == 3
    assert "| elyza | ja0 | " in write_tables([main], "md")


def test_missing_and_failed_seeds_stay_visible(tmp_path: Path) -> None:
    results = make_results(
        tmp_path / "a", make_plan(patterns=PATTERNS, skipped={("elyza", "ja104"): "no"})
    )
    save_done(
        results, "elyza", "ja0", 0, {"f1": 0.5},
        predictions=predictions(0), train_rows=train_rows(0),
    )  # fmt: skip
    save_failed(results, "elyza", "ja16", 0, "out of memory")
    collected = collect(results)
    judged = boundary(collected)
    assert [cell.measures["f1"].state for cell in judged] == ["partial", "failed", "impossible"]
    assert words(judged) == ["reference", "", ""]
    text = write_tables(make_boundary_tables(collected, judged))
    assert "[1/3]†" in text
    assert "† elyza x ja16: seed 0 failed: out of memory" in text
    assert "- elyza x ja104: no" in text


def test_without_done_trials_all_cells_are_pending(tmp_path: Path) -> None:
    collected = collect(make_results(tmp_path / "a", make_plan()))
    judged = boundary(collected)
    assert judged[0].verdict is None and judged[0].reference == ""
    assert "pending [0/3]†" in write_tables(make_boundary_tables(collected, judged))


# --- judge ----------------------------------------------------------------------------------


def still(mean: float, half: float = 0.001) -> Runs:
    """Three seeds whose t interval is mean -/+ half, and which no test row moves."""
    std = half * np.sqrt(3) / stats.t.ppf(0.975, 2)
    return Runs(mean + std * np.array([-1.0, 0, 1]), np.zeros((3, 10**4)), ((0, 0), (0, 1), (0, 2)))


@pytest.mark.parametrize(
    ("auroc", "lost", "gain", "word"),
    [
        (still(0.8), still(0.1), still(0.1), "both"),
        (still(0.8), still(0.1), still(0.0), "ranks worse"),
        (still(0.8), still(0.1), still(-0.01, 0.1), "ranks worse"),
        (still(0.8), still(0.0), still(0.1), "threshold is off"),
        (still(0.8), still(0.1, 0.2), still(0.1), "threshold is off"),
        (still(0.8), still(0.0), still(0.0), "neither found"),
        (still(0.8), still(-0.1), still(-0.1), "neither found"),
        (still(0.8), still(0.02), still(0.02), "neither found"),  # above 0 and below the margin
        (still(0.8), still(0.1, 0.2), still(-0.1), "undecided"),
        (still(0.5), still(0.3), still(0.1), "chance"),
        (still(0.6, 0.15), still(0.2), still(0.1), "chance"),
        (still(0.5, 0.3), still(0.1, 0.3), still(0.0), "undecided"),  # maybe no worse
        (still(0.52, 0.03), still(0.0, 0.3), still(0.0), "chance"),
        (still(0.8), None, still(0.1), "threshold is off"),
        (still(0.8), None, still(0.0), "reference"),
        (still(0.5), None, still(0.0), "chance"),
    ],
)
def test_a_word_follows_from_the_intervals(
    auroc: Runs, lost: Runs | None, gain: Runs, word: Word
) -> None:
    found = judge(auroc, lost and [lost], gain, is_reference=lost is None)
    assert found.word == word


def test_one_seed_settles_nothing() -> None:
    alone = [runs.chosen([0]) for runs in (still(0.8), still(0.2), still(0.2))]
    assert judge(alone[0], [alone[1]], alone[2]).word == "undecided"


def test_a_margin_decides_what_is_small() -> None:
    runs = still(0.8), [still(0.02)], still(0.02)
    assert judge(*runs, margin=0.01).word == "both"


def test_a_threshold_that_gains_in_these_runs_gains_on_average() -> None:
    """The seeds vary too much for the interval, but test rows show that none of them gains 0."""
    rng = np.random.default_rng(0)
    rows = 0.0005 * rng.standard_normal((3, 500))
    gain = Runs(np.array([0.02, 0.05, 0.2]), rows, ((0, 0), (0, 1), (0, 2)))
    assert t_interval([gain]).low < 0
    found = judge(still(0.8), [still(0.0)], gain)
    assert found.word == "threshold is off"
    assert found.threshold.interval == Interval(0.0, t_interval([gain]).high)
    assert loss_text(found.threshold) == f"0.090 [above 0, {found.threshold.interval.high:.3f}]"
    alone = Loss(0.12, Interval(0.031, 0.209), is_shown=True)
    assert loss_text(alone) == "0.120 [0.031, 0.209]"
    almost = Loss(0.12, Interval(0.0003, 0.209), is_shown=True)
    assert loss_text(almost) == "0.120 [above 0, 0.209]"


def test_the_gain_is_that_of_thresholds_chosen_on_other_rows() -> None:
    """By hand with scikit-learn: every fifth row of a class is decided by the others' best cut."""
    reference, cell = simulate_pair(np.random.default_rng(0), FAULTS["shift"], 2, 60)
    y_true, turns = cell.y_true, np.arange(30)
    fold = np.concatenate([turns, turns + 2]) % 5
    for y_score, value in zip(cell.scores, threshold_gain(cell).values, strict=True):
        decided = np.zeros(60, bool)
        for number in range(5):
            own, rest = fold == number, fold != number
            ascending = np.sort(y_score[rest])
            cuts = (ascending[:-1] + ascending[1:]) / 2
            macro = [f1_score(y_true[rest], y_score[rest] >= c, average="macro") for c in cuts]
            decided[own] = y_score[own] >= cuts[int(np.argmax(macro))]
        expected = f1_score(y_true, decided, average="macro") - f1_score(
            y_true, y_score >= 0.5, average="macro"
        )
        assert value == pytest.approx(expected, abs=1e-12)
    assert reference.ids == cell.ids


def test_influences_of_the_gain_are_its_derivative() -> None:
    """One more copy of each row beside ten thousand, with the decisions as they are."""
    y_true, many = np.repeat([0, 1], 20), 10_000
    scores = np.random.default_rng(1).uniform(0.05, 0.45, (1, 40)) + 0.3 * y_true
    cell = make_cell(y_true, scores)
    decisions = decide_at_best_threshold(cell.y_true, scores)[0], scores[0] >= 0.5

    def gain(weights: Any) -> float:
        better, plain = (
            f1_score(y_true, decided, average="macro", sample_weight=weights)
            for decided in decisions
        )
        return float(better - plain)

    weights = np.full((40, 40), float(many)) + np.eye(40)
    moved = np.array([gain(row) - gain(np.full(40, many)) for row in weights]) * many
    for label in (0, 1):
        moved[y_true == label] -= moved[y_true == label].mean()
    assert threshold_gain(cell).influence[0] == pytest.approx(moved, abs=1e-4)
    assert np.abs(moved).max() > 0.001


def test_rows_of_one_story_count_once() -> None:
    """Every row twice, in one story: the variance is that of the single rows."""
    _, cell = simulate_pair(np.random.default_rng(0), FAULTS["shift"], 2, 200)
    order = np.repeat(np.arange(200), 2)
    twice = make_cell(cell.y_true[order], cell.scores[:, order])
    as_rows = (threshold_gain(twice).influence ** 2).sum(axis=1)
    as_stories = (threshold_gain(replace(twice, stories=order)).influence ** 2).sum(axis=1)
    assert as_stories == pytest.approx(2 * as_rows, rel=0.1)  # copies may be in different folds


# --- simulation -----------------------------------------------------------------------------

FOUND: dict[str, Word] = {
    "shift": "threshold is off",
    "shift, the paper's seeds": "threshold is off",
    "ranking": "ranks worse",
    "ranking, AUROC 0.7": "ranks worse",
    "both": "both",
    "both, all called positive": "both",
    "chance": "chance",
}
"""Verdict on each fault of :data:`FAULTS`."""


def simulate(fault: Fault, num_seeds: int, num_experiments: int, num_items: int) -> list[Verdict]:
    rng = np.random.default_rng(3)
    pairs = (simulate_pair(rng, fault, num_seeds, num_items) for _ in range(num_experiments))
    return [judge_pair(*pair) for pair in pairs]


def faults_named(verdicts: list[Verdict]) -> Counter[str]:
    """How often each fault was named; "both" names two."""
    counts = Counter[str]()
    for verdict in verdicts:
        counts["ranking"] += verdict.word in ("ranks worse", "both", "chance")
        counts["threshold"] += verdict.word in ("threshold is off", "both")
    return counts


@pytest.mark.parametrize("name", ["nothing lost", *FOUND])
def test_simulated_faults_are_found(name: str) -> None:
    """20 experiments: a verdict with a power of 0.95 is found 15 times or more in 99.9 %."""
    fault = FAULTS[name]
    verdicts = simulate(fault, 5, 20, 256)
    counts = Counter(verdict.word for verdict in verdicts)
    if name in FOUND:
        assert counts[FOUND[name]] >= 15, counts
    else:
        assert sum(faults_named(verdicts).values()) <= 3, counts
    if fault.shift == 0:  # 0.5 is right
        assert sum(verdict.threshold.is_shown for verdict in verdicts) <= 2


@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.parametrize("num_seeds", [3, 5, 10])
def test_size_and_power_of_verdicts_at_length(num_seeds: int) -> None:
    """150 experiments: a size of 0.05 is seen as 0.10 or less in 99 %."""
    for name, fault in FAULTS.items():
        verdicts = simulate(fault, num_seeds, 150, 512)
        counts = Counter(verdict.word for verdict in verdicts)
        print(num_seeds, name, {word: n / 150 for word, n in counts.most_common()})
        named = faults_named(verdicts)
        if name in FOUND:
            assert counts[FOUND[name]] >= 0.8 * 150, (name, counts)
        if fault.auroc == AUROC:
            assert named["ranking"] <= 0.10 * 150, (name, counts)
        if fault.shift == 0 and name != "cuts that differ":  # there each seed has something to gain
            assert named["threshold"] <= 0.10 * 150, (name, counts)


@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("num_seeds", "fault", "most"),
    [
        (3, Fault(auroc=AUROC - 0.045), 5.0),
        (5, Fault(auroc=AUROC - 0.025), 4.0),
        (10, Fault(auroc=AUROC - 0.015), 3.5),
        (3, Fault(shift=0.5), 3.0),
        (5, Fault(shift=0.45), 3.5),
        (10, Fault(shift=0.4), 3.0),
    ],
)
def test_power_in_standard_errors_at_length(num_seeds: int, fault: Fault, most: float) -> None:
    """A loss of ``most`` standard errors of its estimate is shown with probability 0.8."""
    losses = [
        verdict.threshold if fault.shift else verdict.ranking
        for verdict in simulate(fault, num_seeds, 150, 512)
    ]
    values = np.array([loss.value for loss in losses if loss])
    shown = np.mean([loss.is_shown for loss in losses if loss])
    half = np.mean([loss.interval.high - loss.value for loss in losses if loss])
    errors = values.mean() / values.std()
    print(num_seeds, fault, values.mean(), f"{errors:.2f}", f"{half / values.std():.2f}", shown)
    assert shown >= 0.8 and errors <= most


def test_the_threshold_of_target_training_rows(tmp_path: Path) -> None:
    """Scores of training rows that call for a cut at 0.2 move F1 to what it is at 0.2."""
    results = make_results(tmp_path / "a", make_plan(patterns=["ja0", "ja16"], seeds=[0, 1]))
    trained = train_rows(16)
    score = [0.5] * 32 + [0.1, 0.3] * 8
    label = [0, 1] * 24
    table = trained.append_column("label", pa.array(label, pa.int8()))
    table = table.append_column("y_score", pa.array(score))
    for pattern, rows in (("ja0", train_rows(0)), ("ja16", table)):
        for seed in (0, 1):
            save_done(
                results, "elyza", pattern, seed, {"f1": 0.5},
                predictions=predictions(seed, shift=2.0), train_rows=rows,
            )  # fmt: skip
    collected = collect(results)
    none, some = boundary(collected)
    assert none.measures[TRAIN_ROWS].n == 0
    expected = [
        f1_at(rows["y_true"].to_numpy(), rows["y_score"].to_numpy(), 0.2)
        for rows in (predictions(seed, shift=2.0) for seed in (0, 1))
    ]
    assert some.measures[TRAIN_ROWS].mean == pytest.approx(np.mean(expected))
    _, table, _ = make_boundary_tables(collected, [none, some])
    assert table.heading[4] == "F1@train rows"
    assert [line[4] for line in table.lines] == [
        "-",
        f"{np.mean(expected):.3f} ({np.std(expected, ddof=1):.3f})",
    ]


# --- refusals -------------------------------------------------------------------------------


def test_more_than_two_classes_are_refused(tmp_path: Path) -> None:
    results = make_results(tmp_path / "a", make_plan(classes=("a", "b", "c")))
    with pytest.raises(InputError, match="experiment test: has 3 classes; thresholds"):
        boundary(collect(results))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"y_score": None}, r"no trial can be judged\n.*predictions without y_score"),
        ({"y_true": [0] * 512}, "without test rows of both classes"),
        ({"y_score": [1.5] * 512}, "512 of 512 scores that are no probabilities"),
        ({"y_score": [float("nan")] * 512}, "512 of 512 scores that are no probabilities"),
        ({"y_score": [[0.5, 0.5]] * 512}, "of more than two classes"),
        ({"split": ["train"] * 512}, "predictions without test rows"),
    ],
)
def test_files_that_no_trial_writes_are_refused(
    tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    rows = predictions(0)
    for name, column in change.items():
        at = rows.schema.get_field_index(name)
        rows = rows.remove_column(at)
        if column is not None:
            rows = rows.append_column(name, pa.array(column))
    results = make_results(tmp_path / "a", make_plan(seeds=[0]))
    save_done(results, "elyza", "ja16", 0, {"f1": 0.5}, predictions=rows, train_rows=train_rows(16))
    with pytest.raises(InputError, match=told):
        boundary(collect(results))
