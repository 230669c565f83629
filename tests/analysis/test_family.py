"""Families of comparisons: which pairs, what is left out, and xlt compare from the command line."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from result_folders import make_plan, make_results, save_done
from simulated_scores import predictions, save_simulated, simulate

from xlt.analysis.comparisons.family import compare_cells
from xlt.analysis.comparisons.table import CSV_COLUMNS, make_comparison_table
from xlt.analysis.tables.formats import write_tables
from xlt.analysis.trials.collect import collect
from xlt.analysis.uncertainty.multiplicity import benjamini_hochberg, holm
from xlt.data.core.errors import InputError
from xlt.sweep.cli.main import main
from xlt.trainables.metrics.registry import resampled_metrics

MODELS, PATTERNS = ("elyza", "mbert", "bert"), ("ja0", "ja16", "ja104")
GAIN = {"ja0": 0.0, "ja16": 0.1, "ja104": 1.5}


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> str:
    """7 cells of 2 seeds: one cannot exist, one has a failed seed, one has other test rows."""
    plan = make_plan(
        MODELS,
        PATTERNS,
        seeds=[0, 1],
        skipped={("bert", "ja0"): "no ja rows"},
        positive="ESG",
        data_warnings=("two rows are alike",),
    )
    results = make_results(tmp_path_factory.mktemp("family") / "r", plan)
    rng = np.random.default_rng(4)
    rows = rng.standard_normal(120)
    for model in MODELS:
        for pattern in PATTERNS:
            if (model, pattern) == ("bert", "ja0"):
                continue
            cell = simulate(rng, 2, 120, 1.0 + GAIN[pattern], 0.02, rows)
            other = (model, pattern) == ("mbert", "ja104")
            ids = [f"other-{n}" for n in cell.ids] if other else cell.ids
            failed = (1,) if (model, pattern) == ("elyza", "ja16") else ()
            save_simulated(results, model, pattern, cell, ids, failed)
    return results.uri


def names(location: str, **options: Any) -> list[str]:
    family = compare_cells(collect(location), num_resamples=200, **options)
    return [f"{c.first}:{c.second}" for c in family.comparisons]


def test_pairs_share_a_model_or_a_pattern_and_the_test_rows(location: str) -> None:
    assert names(location) == [
        "elyza/ja0:elyza/ja16",
        "elyza/ja0:elyza/ja104",
        "elyza/ja16:elyza/ja104",
        "mbert/ja0:mbert/ja16",
        "bert/ja16:bert/ja104",
    ]
    assert names(location, by="model") == [
        "elyza/ja0:mbert/ja0",
        "elyza/ja16:mbert/ja16",
        "elyza/ja16:bert/ja16",
        "mbert/ja16:bert/ja16",
        "elyza/ja104:bert/ja104",
    ]


def test_pairs_that_were_asked_for_are_compared_in_their_order(location: str) -> None:
    asked = ["elyza/ja104:mbert/ja0", "bert/ja16:elyza/ja16"]
    assert names(location, pairs=asked) == asked


@pytest.mark.parametrize(
    ("name", "correct", "share"),
    [
        ("holm", holm, lambda rejected: 1 / 3),
        ("bh", benjamini_hochberg, lambda rejected: max(rejected, 1) / 3),
        ("none", list, lambda rejected: 1),
    ],
)
def test_the_family_is_corrected_together(
    location: str, name: str, correct: Any, share: Callable[[int], float]
) -> None:
    """elyza/ja16 has one seed, so two of the five comparisons have no p over seeds."""
    found = compare_cells(collect(location), num_resamples=200, correction=name)
    tested = [c for c in found.comparisons if c.p_value is not None]
    assert (found.num_tested, len(tested)) == (3, 3)
    assert [c.corrected_p_value for c in tested] == correct([c.p_value for c in tested])
    these_runs = [c.these_runs_p_value for c in found.comparisons]
    assert [c.these_runs_corrected_p_value for c in found.comparisons] == correct(these_runs)
    settled = sum(c.is_settled for c in tested)
    assert settled > 0
    for comparison in found.comparisons:
        assert comparison.alpha == pytest.approx(0.05 * share(settled))
        assert (comparison.verdict == "not tested") == (comparison.p_value is None)
    for comparison in tested:
        ends = comparison.family_interval
        excluded = ends.low >= 0 or ends.high <= 0
        assert excluded == comparison.is_settled == ("higher" in comparison.verdict)


def test_too_few_resamples_for_the_family_are_refused(location: str) -> None:
    collected = collect(location)
    with pytest.raises(InputError, match=r"198 resamples are too few.*5 comparisons; give 199 or"):
        compare_cells(collected, num_resamples=198)
    compare_cells(collected, num_resamples=199)
    compare_cells(collected, num_resamples=100, correction="none")


def test_means_are_those_of_the_report(location: str) -> None:
    collected = collect(location)
    rows = collected.table.to_pylist()
    for metric in resampled_metrics(2):
        (found,) = compare_cells(
            collected, metric, pairs=["mbert/ja0:mbert/ja16"], num_resamples=200
        ).comparisons
        for mean, pattern in zip(found.means, ("ja0", "ja16"), strict=True):
            values = [
                r[metric] for r in rows if (r["base_model"], r["pattern"]) == ("mbert", pattern)
            ]
            assert mean == pytest.approx(np.mean(values), abs=1e-12)


def test_footnotes_say_what_is_missing(location: str) -> None:
    family = compare_cells(
        collect(location), pairs=["elyza/ja0:elyza/ja16", "mbert/ja0:mbert/ja104"],
        num_resamples=200,
    )  # fmt: skip
    shown = write_tables([make_comparison_table(family)])
    assert "† elyza/ja16: seed 1 failed" in shown
    assert "Left out: mbert/ja0:mbert/ja104: not tested on the same rows (0 in both)" in shown
    assert "Warning: two rows are alike." in shown
    assert "Not tested: elyza/ja0:elyza/ja16: one seed gives no error; each cell needs" in shown
    assert "with one seed its variance is unknown" in shown
    assert "Left out: bert/ja0: no ja rows" in write_tables(
        [make_comparison_table(compare_cells(collect(location), num_resamples=200))]
    )


def test_wrong_names_are_refused_with_the_known_ones(location: str) -> None:
    collected = collect(location)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"metric": "macro_f1"}, r"unknown metric of two classes 'macro_f1'"),
        ({"by": "models"}, r"unknown family 'models'. Did you mean 'model'\? Known: model, pat"),
        ({"method": "tt"}, r"unknown interval 'tt'.*Known: t"),
        ({"correction": "holms"}, r"unknown correction 'holms'. Did you mean 'holm'\? Known: bh"),
        ({"margin": 0.0}, r"margin 0: give a difference between 0 and 1, e\.g\. 0\.02"),
        ({"margin": float("nan")}, r"margin nan: give a difference between 0 and 1"),
        ({"pairs": ["elyza/ja0:elyza/ja1"]}, r"unknown cell 'elyza/ja1'. Did you mean"),
        ({"pairs": ["elyza/ja0"]}, r"pair 'elyza/ja0' is not two different cells"),
        ({"pairs": ["elyza/ja0:elyza/ja0"]}, r"not two different cells"),
        ({"pairs": ["bert/ja0:bert/ja16"]}, r"no two cells can be compared\n.*no ja rows"),
    ]  # fmt: skip
    for options, message in cases:
        with pytest.raises(InputError, match=message):
            compare_cells(collected, num_resamples=200, **options)


def test_names_with_colons_and_slashes_are_found(tmp_path: Path) -> None:
    models = ("hub:org/a", "b")
    results = make_results(tmp_path / "r", make_plan(models, ["ja16"], seeds=[0]))
    cell = simulate(np.random.default_rng(0), 1, 40, 1.0, 0.0)
    table = predictions(cell.ids, cell.y_true.tolist(), cell.scores[0])
    for model in models:
        save_done(results, model, "ja16", 0, {"f1": 0.5}, predictions=table)
    pair = "b/ja16:hub:org/a/ja16"
    assert names(results.uri, pairs=[pair]) == [pair]


# --- command line ---------------------------------------------------------------------------


def test_compare_prints_text_markdown_and_rows(
    location: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["compare", location, "--resamples", "200", "--metric", "f1"]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert text.startswith("F1 score of the positive class (ESG)")
    assert "a family of 5 comparisons, 3 of them tested, corrected together (Holm)." in text
    assert "xlt plan EXPERIMENT --to-find D --earlier RESULTS" in text
    assert main([*arguments, "--format", "md"]) == 0
    shown = capsys.readouterr().out
    assert "| first:second | means |" in shown and "| P(2nd higher) | verdict |" in shown
    assert main([*arguments, "--format", "csv"]) == 0
    out, err = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(out)))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert len(rows) == 5
    for row in rows:
        difference = float(row["mean_second"]) - float(row["mean_first"])
        assert float(row["difference"]) == pytest.approx(difference)
        assert float(row["low"]) < difference < float(row["high"])
    assert rows[0]["n"] == "1" and rows[0]["seeds_needed"] == rows[0]["effect_size"] == ""
    assert "left out: bert/ja0: no ja rows" in err
    assert "warning: two rows are alike" in err


def test_options_of_compare_reach_the_table(
    location: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["compare", location, "--resamples", "200", "--correction", "bh"]
    assert main([*arguments, "--margin", "0.9"]) == 0
    text = capsys.readouterr().out
    assert "corrected together (BH)." in text and "BH p" in text
    assert "Within 0.9: the family interval lies between -0.9 and 0.9." in text
    assert main([*arguments, "--margin", "0.9", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {(row["correction"], row["margin"]) for row in rows} == {("BH", "0.9")}
    for row in rows:
        inside = float(row["family_low"]) > -0.9 and float(row["family_high"]) < 0.9
        assert (row["p_value"] == "") == (row["verdict"] == "not tested")
        assert row["p_value"] == "" or ("within 0.9" in row["verdict"]) == inside


def test_report_shows_intervals_when_asked(
    location: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", location, "--intervals", "--interval-method", "t"]) == 0
    shown = capsys.readouterr().out
    assert "(method t)" in shown
    assert shown.count("] [1/2]†") == 2  # interval, then count, in both tables
    assert main(["report", location]) == 0
    assert "interval" not in capsys.readouterr().out
    assert main(["report", location, "--intervals", "--interval-method", "bca"]) == 2
    assert "unknown interval 'bca'. Known: t." in capsys.readouterr().err


def test_bad_input_of_compare_is_one_sentence(
    location: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, message in (
        (["--metric", "rouge"], "unknown metric of two classes 'rouge'"),
        (["--format", "html"], "unknown format 'html'"),
        (["--resamples", "5"], "5 resamples are too few"),
        (["--resamples", "150"], "150 resamples are too few to correct the p-values of 5"),
        (["--correction", "fdr"], "unknown correction 'fdr'. Known: bh, holm, none."),
        (["--margin", "2"], "margin 2: give a difference between 0 and 1"),
    ):
        assert main(["compare", location, *arguments]) == 2
        err = capsys.readouterr().err
        assert err.startswith("xlt: ") and message in err
        assert err.count("\n") == 1
