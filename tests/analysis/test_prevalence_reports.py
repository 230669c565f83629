"""Reports at a prevalence: scikit-learn's values, intervals that cover the truth, clear errors."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from result_folders import make_plan, make_results, save_done
from scipy import stats
from simulated_scores import make_cell, predictions, save_simulated
from sklearn import metrics as sk

from xlt.analysis.comparisons.family import compare_cells
from xlt.analysis.curves.learning_curves import make_learning_curves
from xlt.analysis.page import render_page
from xlt.analysis.tables.report import render_tables
from xlt.analysis.trials.collect import collect
from xlt.analysis.trials.scores import ExperimentScores, load_scores
from xlt.analysis.uncertainty import few_alarms
from xlt.analysis.uncertainty.intervals import CellIntervals
from xlt.analysis.uncertainty.permutations import permutation_p_value
from xlt.data.core.errors import InputError
from xlt.sweep.cli.exit_status import BAD_INPUT, OK
from xlt.sweep.cli.main import main
from xlt.trainables.metrics.prevalence import values_from_rates
from xlt.trainables.results.result import Results

pytestmark = pytest.mark.slow

PREVALENCE = 0.02
NUM_OF_CLASS = 60


def make_weighed_results(folder: Path, shift: float = -1.5, **fields: object) -> Results:
    """Two patterns of a model, three seeds each, on 120 balanced test rows.

    Negatives lie around the shift; about 4 of 60 raise an alarm at -1.5, 18 at -0.5.
    """
    results = make_results(folder, make_plan(["elyza"], ["ja0", "ja16"], **fields))
    rng = np.random.default_rng(0)
    y_true = np.repeat([0, 1], NUM_OF_CLASS)
    ids = [f"{number:03d}" for number in range(len(y_true))]
    for pattern, distance in (("ja0", 1.0), ("ja16", 2.5)):
        logits = rng.standard_normal((3, len(y_true))) + distance * y_true + shift
        cell = make_cell(y_true, stats.norm.cdf(logits), "elyza", pattern)
        save_simulated(results, "elyza", pattern, cell, ids)
    return results


def test_every_trial_has_the_values_of_scikit_learn(tmp_path: Path) -> None:
    results = make_weighed_results(tmp_path / "r")
    at, as_drawn = collect(results, prevalence=PREVALENCE), collect(results)
    assert (at.prevalence, as_drawn.prevalence) == (PREVALENCE, None)
    for row, before in zip(at.rows, as_drawn.rows, strict=True):
        test = at.predictions.of(row.trial_id)
        decided = test.y_score >= 0.5
        weights = np.where(test.y_true == 1, PREVALENCE, 1 - PREVALENCE)
        for name, function in (
            ("f1", sk.f1_score), ("precision", sk.precision_score), ("accuracy", sk.accuracy_score),
        ):  # fmt: skip
            expected = function(test.y_true, decided, sample_weight=weights)
            assert row.metrics[name] == pytest.approx(expected, abs=1e-12)
        expected = sk.average_precision_score(test.y_true, test.y_score, sample_weight=weights)
        assert row.metrics["average_precision"] == pytest.approx(expected, abs=1e-12)
        for name in ("auroc", "recall"):
            assert row.metrics[name] == pytest.approx(before.metrics[name], abs=1e-12)
        assert row.metrics["f1"] < before.metrics["f1"]


def test_the_share_of_the_rows_gives_the_tables_as_drawn(tmp_path: Path) -> None:
    collected = collect(make_weighed_results(tmp_path / "r"))
    halves = collect(collected.uri, prevalence=0.5)
    plain, weighed = (
        list(csv.DictReader(io.StringIO(render_tables(
            found, "csv", intervals=CellIntervals(load_scores(found), "t", found.prevalence)
        ))))
        for found in (collected, halves)
    )  # fmt: skip
    for row, same in zip(plain, weighed[: len(plain)], strict=True):
        assert float(same["mean"]) == pytest.approx(float(row["mean"]), abs=1e-12)
        assert float(same["std"]) == pytest.approx(float(row["std"]), abs=1e-12)


def test_the_table_of_alarms_counts_them(tmp_path: Path) -> None:
    results = make_weighed_results(tmp_path / "r")
    collected = collect(results, prevalence=PREVALENCE)
    text = render_tables(collected)
    assert "At a prevalence of 2 %: test rows are weighted" in text
    rows = list(csv.DictReader(io.StringIO(render_tables(collected, "csv"))))
    found = {(row["pattern"], row["metric"]): row for row in rows}
    cells = load_scores(collected).cells
    for key, cell in cells.items():
        decided = cell.scores >= 0.5
        rates = [decided[:, cell.y_true == label].mean(axis=1) for label in (0, 1)]
        by_run = [
            values_from_rates(PREVALENCE, hit, false) for false, hit in zip(*rates, strict=True)
        ]
        for name in ("precision", "recall", "alarms", "false_alarms", "f1"):
            mean = np.mean([values[name] for values in by_run])
            row = found[key.pattern, name]
            assert float(row["mean"]) == pytest.approx(mean, abs=1e-12)
            if name != "f1":
                assert float(row["low"]) <= mean <= float(row["high"])
        seen = decided[:, cell.y_true == 0].sum(axis=1).mean()
        assert f"{seen:.1f} of {NUM_OF_CLASS}" in text
    assert "Fewer than 10 false alarms: elyza x ja0" in text
    assert "a false-alarm rate of 0 has a 95 % upper bound of 4.87 %" in text


def test_few_false_alarms_settle_no_difference_at_a_prevalence(tmp_path: Path) -> None:
    collected = collect(make_weighed_results(tmp_path / "r"), prevalence=PREVALENCE)
    with pytest.raises(
        InputError, match=r"elyza/ja0 has \d\.\d false alarms on 60 test rows, mean"
    ):
        compare_cells(collected, "f1", num_resamples=1000)
    for metric in ("auroc", "recall"):  # do not depend on false alarms
        assert len(compare_cells(collected, metric, num_resamples=1000).comparisons) == 1
    as_drawn = compare_cells(collect(collected.uri), "f1", num_resamples=1000)
    assert len(as_drawn.comparisons) == 1


def test_the_note_below_table_3(tmp_path: Path) -> None:
    text = render_tables(collect(make_weighed_results(tmp_path / "r")))
    note = "60 of 120 test rows are positive by design, and the score depends on this share"
    assert text.count(note) == 1  # AUROC does not depend on it
    results = make_weighed_results(tmp_path / "task", prevalence=PREVALENCE)
    collected = collect(results, prevalence="task")
    assert collected.prevalence == PREVALENCE
    means = [
        np.mean([row.metrics["f1"] for row in collected.rows if row.cell.pattern == pattern])
        for pattern in ("ja0", "ja16")
    ]
    expected = f"these cells would be: elyza {means[0]:.3f} / {means[1]:.3f} (--prevalence task)."
    assert f"At the task's prevalence of 2 % {expected}" in render_tables(collect(results))
    assert "by design" not in render_tables(collected)


def test_a_trial_whose_rows_lack_a_class_says_so(tmp_path: Path) -> None:
    results = make_results(tmp_path / "r", make_plan(seeds=[0, 1]))
    one_class = predictions(["a", "b"], [1, 1], [0.7, 0.2])
    save_done(results, "elyza", "ja16", 0, {"f1": 0.5}, predictions=one_class)
    save_done(results, "elyza", "ja16", 1, {"f1": 0.5})
    text = render_tables(collect(results, prevalence=PREVALENCE))
    assert "without f1: no test row of class 0; a prevalence needs both classes" in text


def share_covered(rate: float, num_tests: int) -> dict[str, float]:
    """Share of tests of a run with a known false-alarm rate whose interval holds the truth."""
    rng = np.random.default_rng(1)
    truth = values_from_rates(PREVALENCE, 0.8, rate)
    y_true = np.repeat([0, 1], 256)
    held = dict.fromkeys(("precision", "f1", "false_alarms"), 0)
    for _ in range(num_tests):
        decided = rng.random(512) < np.where(y_true == 1, 0.8, rate)
        cell = make_cell(y_true, decided[None] * 1.0)
        intervals = CellIntervals(ExperimentScores({cell.key: cell}, {}), "t", PREVALENCE)
        for name in held:
            low, high = intervals.of(name)[0][cell.key]
            held[name] += low <= truth[name] <= high
    return {name: number / num_tests for name, number in held.items()}


@pytest.mark.parametrize("rate", [0.004, 0.03, 0.1])
def test_intervals_from_balanced_rows_cover_the_truth_at_the_prevalence(rate: float) -> None:
    assert min(share_covered(rate, 150).values()) >= 0.89


@pytest.mark.chaos
@pytest.mark.parametrize("rate", [0.002, 0.008, 0.02, 0.04])
def test_coverage_at_a_prevalence_at_length(rate: float, monkeypatch: pytest.MonkeyPatch) -> None:
    covered = share_covered(rate, 500)
    monkeypatch.setattr(few_alarms, "FEW", 0)
    alone = share_covered(rate, 500)["precision"]
    print(f"\n{rate:.1%}: {covered}, precision without the bound {alone:.3f}")
    assert min(covered.values()) >= 0.92
    assert alone < 0.9 or rate > 0.01


def test_without_a_false_alarm_the_jackknife_alone_would_be_sure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    y_true = np.repeat([0, 1], 256)
    cell = make_cell(y_true, (y_true * (np.arange(512) % 5 > 0))[None] * 1.0)
    scores = ExperimentScores({cell.key: cell}, {})
    low, high = CellIntervals(scores, "t", PREVALENCE).of("precision")[0][cell.key]
    assert high == 1.0 and 0.4 < low < 0.6  # 1.4 % false alarms are possible
    monkeypatch.setattr(few_alarms, "FEW", 0)
    assert CellIntervals(scores, "t", PREVALENCE).of("precision")[0][cell.key] == (1.0, 1.0)


def test_precision_of_a_stream_is_that_of_weighted_balanced_rows(tmp_path: Path) -> None:
    # The command on balanced rows, against a stream with 2 % positives of the same population.
    rng = np.random.default_rng(3)

    def scores_of(labels: np.ndarray) -> np.ndarray:
        return stats.norm.cdf(rng.standard_normal(len(labels)) + 2.5 * labels - 1.5)

    stream = (rng.random(400_000) < PREVALENCE).astype(int)
    alarms = scores_of(stream) >= 0.5
    results = make_results(tmp_path / "r", make_plan(seeds=[0]))
    balanced = np.repeat([0, 1], 4000)
    cell = make_cell(balanced, scores_of(balanced)[None], "elyza", "ja16")
    save_simulated(results, "elyza", "ja16", cell, [f"{n:05d}" for n in range(8000)])
    (row,) = collect(results, prevalence=PREVALENCE).rows
    assert row.metrics["precision"] == pytest.approx(stream[alarms].mean(), abs=0.02)
    assert 1000 * row.metrics["alarms"] == pytest.approx(1000 * alarms.mean(), abs=5)


def test_the_command_prints_tables_at_a_prevalence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = make_weighed_results(tmp_path / "r").uri
    assert main(["report", uri, "--prevalence", "0.02", "--threshold", "precision=0.2"]) == OK
    text = capsys.readouterr().out
    assert "Alarms for positive at the threshold of precision=0.2, prevalence 2 %." in text
    assert "base model  pattern  threshold  precision" in text


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--prevalence", "2"], "prevalence 2 is not a share between 0 and 1, e.g. 0.02"),
        (["--prevalence", "few"], "--prevalence: 'few' is neither a share such as 0.02 nor task"),
        (["--prevalence", "task"], "the plan of this experiment has no task.prevalence"),
        (["--threshold", "alarms=20"], "depend on the prevalence; give --prevalence"),
        (["--prevalence", "0.1", "--threshold", "mean"], "'mean' is no rule; give precision=0.5"),
        (["--prevalence", "0.1", "--published"], "the paper's values are of test rows drawn 1:1"),
    ],
)
def test_bad_options_are_one_sentence(
    tmp_path: Path, options: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = make_weighed_results(tmp_path / "r").uri
    assert main(["report", uri, *options]) == BAD_INPUT
    error = capsys.readouterr().err
    assert told in error and "Traceback" not in error


def test_more_classes_have_no_prevalence(tmp_path: Path) -> None:
    results = make_results(tmp_path / "r", make_plan(classes=("a", "b", "c")))
    with pytest.raises(InputError, match="the share of one class of two; this experiment has 3"):
        collect(results, prevalence=PREVALENCE)


def test_cells_are_compared_at_the_prevalence(tmp_path: Path) -> None:
    collected = collect(make_weighed_results(tmp_path / "r", -0.5), prevalence=PREVALENCE)
    (found,) = compare_cells(collected, "f1", num_resamples=400).comparisons
    means = [np.mean([row.metrics["f1"] for row in own]) for own in collected.by_cell.values()]
    assert found.means == pytest.approx(means)
    drawn = collect(collected.uri)
    (as_drawn,) = compare_cells(drawn, "f1", num_resamples=400).comparisons
    assert abs(as_drawn.difference) > abs(found.difference)
    (at_half,) = compare_cells(
        collect(drawn.uri, prevalence=0.5), "f1", num_resamples=400
    ).comparisons
    assert at_half.difference == pytest.approx(as_drawn.difference)
    assert at_half.interval.low == pytest.approx(as_drawn.interval.low)
    assert at_half.these_runs_p_value == as_drawn.these_runs_p_value


def test_permutations_keep_the_prevalence() -> None:
    # All 2 ** 4 exchanges of the rows that differ, weighed by hand with scikit-learn.
    y_true = np.array([1, 1, 0, 0, 0, 1], np.int8)
    first = np.array([[0.9, 0.1, 0.9, 0.2, 0.9, 0.8]])
    second = np.array([[0.2, 0.9, 0.9, 0.7, 0.1, 0.8]])
    weights = np.where(y_true == 1, PREVALENCE / 3, (1 - PREVALENCE) / 3)
    differ = np.flatnonzero((first[0] >= 0.5) != (second[0] >= 0.5))

    def difference(exchanged: np.ndarray) -> float:
        a, b = np.where(exchanged, second, first)[0], np.where(exchanged, first, second)[0]
        scores = [sk.f1_score(y_true, x >= 0.5, sample_weight=weights) for x in (a, b)]
        return round(scores[1] - scores[0], 12)

    values = []
    for number in range(2 ** len(differ)):
        exchanged = np.zeros(6, bool)
        exchanged[differ] = [number >> k & 1 for k in range(len(differ))]
        values.append(difference(exchanged))
    observed = difference(np.zeros(6, bool))
    tails = [np.mean(np.array(values) >= observed), np.mean(np.array(values) <= observed)]
    p_value = permutation_p_value("f1", y_true, first, second, 100, 0, prevalence=PREVALENCE)
    assert p_value == pytest.approx(min(1.0, 2 * min(tails)))


def test_curves_are_at_the_prevalence(tmp_path: Path) -> None:
    collected = collect(make_weighed_results(tmp_path / "r"), prevalence=PREVALENCE)
    curves = make_learning_curves(collected, "f1", num_resamples=100)
    means = [np.mean([row.metrics["f1"] for row in own]) for own in collected.by_cell.values()]
    assert curves.curves[0].means == pytest.approx(means)
    for point in curves.curves[0].points:
        low, high = point.cell.interval
        assert low <= point.cell.mean <= high


def test_the_page_shows_alarms_and_no_claims(tmp_path: Path) -> None:
    results = make_weighed_results(tmp_path / "r")
    page = render_page(collect(results, prevalence=PREVALENCE))
    assert "Alarms at a prevalence of 2 %" in page
    assert "Not shown: claims are about test rows as drawn" in page
    assert ">paper " not in page  # the published values are of rows drawn 1:1
    assert "Alarms at a prevalence" not in render_page(collect(results))


@pytest.mark.parametrize("command", [["compare", "--metric", "f1"], ["curves", "--metric", "f1"]])
def test_commands_say_the_prevalence(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = make_weighed_results(tmp_path / "r", -0.5).uri
    name, *options = command
    assert main([name, uri, *options, "--prevalence", "0.02", "--resamples", "500"]) == OK
    assert "At a prevalence of 2 %: test rows are weighted" in capsys.readouterr().out
