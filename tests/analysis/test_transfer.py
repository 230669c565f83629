"""Transfer gaps and costs of target rows: hand-made cases, scipy's tests, coverage, tables."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lang_results import (
    list_stories,
    make_in_langs,
    make_lang_plan,
    make_lang_results,
    save_langs,
    simulate_langs,
)
from result_folders import make_results, save_failed
from scipy import stats
from simulated_scores import true_auroc, upper_bound
from sklearn.metrics import roc_auc_score

from xlt.analysis.comparisons.compare import compare
from xlt.analysis.languages.gaps import Measured, correct, find_costs, find_gaps, measure_sum
from xlt.analysis.languages.scores import collect_lang_scores
from xlt.analysis.languages.tables import make_transfer_tables
from xlt.analysis.tables.formats import write_tables
from xlt.analysis.trials import test_lang
from xlt.analysis.trials.collect import collect
from xlt.analysis.trials.scores import load_scores
from xlt.analysis.uncertainty.runs import MetricRuns
from xlt.data.core.errors import InputError
from xlt.sweep.cli.exit_status import BAD_INPUT, OK
from xlt.sweep.cli.main import main


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_lang_results(tmp_path_factory.mktemp("transfer") / "r")


def gap(in_langs: dict[str, Any], source: str = "en", other: str = "de") -> Measured:
    return measure_sum([(1.0, in_langs[source]), (-1.0, in_langs[other])], "t")


# --- the algebra ----------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [False, True])
def test_the_interval_of_one_seed_is_that_of_a_paired_or_unpaired_t_test(shared: bool) -> None:
    rng, num = np.random.default_rng(6), 80
    story = rng.random(num) < 0.7
    right = {lang: np.where(rng.random(num) < 0.8, story, ~story) for lang in ("en", "de")}
    ones = np.ones(num, np.int8)
    rows = {
        lang: ([f"{lang}-{n:05d}" for n in range(num)], ones, np.where(own, 0.9, 0.1)[None])
        for lang, own in right.items()
    }
    same_story = list_stories(("en", "de"), num) if shared else ()
    found = gap(make_in_langs(rows, "accuracy", same_story))
    en, de = (right[lang].astype(float) for lang in ("en", "de"))
    expected = (stats.ttest_rel if shared else stats.ttest_ind)(en, de)
    assert found.difference == pytest.approx(en.mean() - de.mean())
    assert found.why.startswith("one seed gives no error") and found.interval
    error = found.difference / expected.statistic
    if shared:  # clusters of two rows, Liang & Zeger's factor
        error *= np.sqrt((2 * num - 1) / (2 * num - 2))
    items = num if shared else 2 * num
    half = stats.t.ppf(0.975, items - 2) * error
    assert found.interval.high - found.difference == pytest.approx(half, rel=1e-6)


def test_seeds_are_paired() -> None:
    # Seeds differ much and alike in both languages, so their difference is well known.
    rng = np.random.default_rng(1)
    rows = simulate_langs(rng, {"en": 1.5, "de": 1.5}, 5, 2000, seed_std=1.0)
    in_langs = make_in_langs(rows)
    found = gap(in_langs)
    values = [own.metric_runs.by_row(own.usable).values for own in in_langs.values()]
    unpaired = stats.ttest_ind(*values).confidence_interval()
    assert found.interval
    assert found.interval.high - found.interval.low < 0.4 * (unpaired.high - unpaired.low)


def test_p_values_are_corrected_together() -> None:
    given = [Measured(p_value=p) for p in (0.01, None, 0.04, 0.03)]
    found = [own.corrected_p_value for own in correct(given)]
    # R: p.adjust(c(0.01, 0.04, 0.03), "holm")
    assert found == pytest.approx([0.03, None, 0.06, 0.06])


def test_gaps_of_results_are_differences_of_sklearns_scores(uri: str) -> None:
    collected = collect(uri)
    scores = collect_lang_scores(collected, "auroc")
    gaps, left_out = find_gaps(scores)
    assert not left_out
    assert len(gaps) == 3 * 2 * 4 and all(own.lang != "en" for own in gaps)
    own = next(g for g in gaps if g.cell.key == ("b", "ja16") and g.lang == "fr")
    by_lang = {
        lang: load_scores(test_lang.tested_in(collected, lang)).cells["b", "ja16"]
        for lang in ("en", "fr")
    }
    expected = [
        np.mean([roc_auc_score(cell.y_true, score) for score in cell.scores])
        for cell in by_lang.values()
    ]
    assert own.tested.difference == pytest.approx(expected[0] - expected[1], abs=1e-12)
    assert own.tested.interval and own.tested.interval.holds(own.tested.difference or 0)
    known = [g.tested.corrected_p_value or 0 for g in gaps]
    assert all(p >= (g.tested.p_value or 0) for p, g in zip(known, gaps, strict=True))


def test_the_cost_is_the_comparison_in_the_source_language(uri: str) -> None:
    collected = collect(uri)
    costs, left_out = find_costs(collect_lang_scores(collected, "auroc"))
    assert not left_out
    assert [(c.cell.key, c.zero_shot.key) for c in costs] == [
        ((model, "ja16"), (model, "ja0")) for model in "abc"
    ]
    cells = load_scores(test_lang.tested_in(collected, "en")).cells
    expected = compare(cells["b", "ja0"], cells["b", "ja16"], MetricRuns("auroc"), 100)
    found = costs[1].tested
    assert found.difference == pytest.approx(expected.difference)
    assert found.interval == expected.interval and found.p_value == expected.p_value


# --- coverage and size ----------------------------------------------------------------------


def simulate_gaps(
    num: int, gain: float, num_items: int, shared: bool, stds: tuple[float, float] = (0.3, 0.2)
) -> tuple[float, float]:
    """Share of intervals that hold the true gap, and share of p of at most 0.05."""
    rng = np.random.default_rng(2)
    total = float(np.hypot(*stds))
    truth = true_auroc(1.5 + gain, total) - true_auroc(1.5, total)
    same_story = list_stories(("en", "de"), num_items) if shared else ()
    held = settled = 0
    for _ in range(num):
        rows = simulate_langs(
            rng, {"en": 1.5 + gain, "de": 1.5}, 3, num_items, stds[0], shared, stds[1]
        )
        found = gap(make_in_langs(rows, same_story=same_story))
        assert found.interval and found.p_value is not None
        held += found.interval.holds(truth)
        settled += found.p_value <= 0.05
    return held / num, settled / num


@pytest.mark.parametrize("shared", [False, True])
def test_equal_languages_seldom_have_a_gap(shared: bool) -> None:
    held, settled = simulate_gaps(150, 0.0, 80, shared)
    assert settled <= upper_bound(0.05, 150)
    assert 1 - held <= upper_bound(0.05, 150)
    if shared:  # without the stories, intervals would be wider than the gap varies
        assert settled > 0


@pytest.mark.chaos
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("stds", [(0.3, 0.0), (0.3, 0.2), (0.1, 0.5)])
@pytest.mark.parametrize("gain", [0.0, 0.8])
def test_coverage_of_gaps_at_length(gain: float, stds: tuple[float, float], shared: bool) -> None:
    held, settled = simulate_gaps(500, gain, 256, shared, stds)
    print(gain, stds, shared, held, settled)
    assert 0.92 <= held <= 1
    assert gain or settled <= upper_bound(0.05, 500)


def test_gaps_of_three_classes(tmp_path: Path) -> None:
    plan = make_lang_plan(langs=("en", "de"), classes=("a", "b", "c"))
    results = make_results(tmp_path / "r", plan)
    rng, y_true = np.random.default_rng(5), np.arange(60) % 3
    rows = {}
    for lang, strength in (("en", 3.0), ("de", 0.0)):
        logits = rng.standard_normal((3, 60, 3)) + strength * np.eye(3)[y_true]
        shares = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
        rows[lang] = [f"{lang}-{n}" for n in range(60)], y_true, shares
    save_langs(results, "a", "ja0", rows)
    scores = collect_lang_scores(collect(results.uri))
    (own,), _ = find_gaps(scores)
    assert scores.metric == "auroc_ovr" and own.tested.interval
    assert own.tested.interval.low > 0.2 and (own.tested.p_value or 1) < 0.01


def test_several_source_languages_count_as_their_mean(
    uri: str,
) -> None:
    collected = collect(uri)
    records = {
        trial_id: {**record, "spec": {**record["spec"], "source_lang": ["en", "fr"]}}
        for trial_id, record in collected.records.items()
    }
    scores = collect_lang_scores(replace(collected, records=records), "auroc")
    cell = next(own for own in scores.cells if own.key == ("b", "ja16"))
    mean = {lang: own.cell.mean or 0.0 for lang, own in cell.by_lang.items()}
    gaps = {own.lang: own.tested for own in find_gaps(scores)[0] if own.cell.key == cell.key}
    assert set(gaps) == {"ja", "de", "zh"}
    assert gaps["de"].difference == pytest.approx((mean["en"] + mean["fr"]) / 2 - mean["de"])
    assert gaps["de"].interval and gaps["de"].p_value is not None
    cost = next(own.tested for own in find_costs(scores)[0] if own.cell.key == cell.key)
    zero = next(own for own in scores.cells if own.key == ("b", "ja0"))
    expected = sum((mean[lang] - (zero.by_lang[lang].cell.mean or 0)) / 2 for lang in ("en", "fr"))
    assert cost.difference == pytest.approx(expected) and cost.interval
    assert "en+fr" in write_tables(make_transfer_tables(scores))
    assert cell.trained_langs == {"en", "fr", "ja"}


# --- cells without a gap --------------------------------------------------------------------


def test_a_cell_without_a_gap_has_the_reason(tmp_path: Path) -> None:
    plan = make_lang_plan(("a", "b"), ("ja0", "ja16"), ("ja", "de"))
    results = make_results(tmp_path / "r", plan)
    rng = np.random.default_rng(3)
    rows = simulate_langs(rng, {"ja": 1.5, "de": 1.5})
    save_langs(results, "a", "ja0", rows)
    save_failed(results, "b", "ja16", 0, "out of memory")
    scores = collect_lang_scores(collect(results.uri), "auroc")
    gaps, left_out = find_gaps(scores)
    assert not gaps
    assert left_out[0] == (
        "a/ja0",
        "it was not tested in en, its source language; name en in sampling.test_langs, which "
        "trains again, because its test rows are taken from training",
    )
    assert left_out[3] == ("b/ja16", "no trial is done")


def test_a_single_test_language_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = make_lang_plan(("a",), ("ja0",), ("ja",))
    results = make_results(tmp_path / "r", plan)
    save_langs(results, "a", "ja0", simulate_langs(np.random.default_rng(3), {"ja": 1.5}))
    with pytest.raises(InputError, match=r"not tested in several languages; name them in sampling"):
        collect_lang_scores(collect(results.uri), "auroc")
    assert main(["transfer", results.uri]) == BAD_INPUT
    assert "sampling.test_langs" in capsys.readouterr().err


def test_collapsed_runs_give_no_interval_and_no_test(tmp_path: Path) -> None:
    results = make_results(tmp_path / "r", make_lang_plan(langs=("en", "de", "fr")))
    rows = simulate_langs(np.random.default_rng(4), {"en": 1.5, "de": 1.5, "fr": 1.5})
    ids, y_true, scores = rows["de"]
    rows["de"] = ids, y_true, np.concatenate([scores[:2], np.full((1, len(ids)), 0.2)])
    save_langs(results, "a", "ja0", rows)
    scores_of = collect_lang_scores(collect(results.uri), "f1")
    gaps = {own.lang: own.tested for own in find_gaps(scores_of)[0]}
    assert "seed 2 collapsed" in gaps["de"].why and gaps["de"].interval is None
    assert gaps["de"].difference is not None and gaps["de"].p_value is None
    assert gaps["fr"].why == "" and gaps["fr"].corrected_p_value == gaps["fr"].p_value


# --- tables and the command -----------------------------------------------------------------


def test_the_command_prints_all_statements(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["transfer", uri]) == OK
    text = capsys.readouterr().out
    assert "a           ja0      en (source)    0.8" in text
    assert "ja0 is also de0: one training." in text
    assert "source minus it         Holm p" in text and "zero-shot" in text
    assert "languages like these" in text and "Friedman p" in text
    for format in ("md", "latex"):
        assert main(["transfer", uri, "--format", format, "--metric", "f1"]) == OK
        assert "en (source)" in capsys.readouterr().out
    assert main(["transfer", uri, "--format", "csv", "--only", "model=a,pattern=de0"]) == OK
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["statement"] for row in rows} == {"score", "mean"}
    by_lang = {row["test_lang"]: row for row in rows if row["statement"] == "score"}
    assert list(by_lang) == ["en", "ja", "de", "fr", "zh"] and by_lang["en"]["difference"] == ""
    expected = float(by_lang["en"]["mean"]) - float(by_lang["de"]["mean"])
    assert float(by_lang["de"]["difference"]) == pytest.approx(expected)


def test_reports_name_the_command_for_several_test_languages(
    uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = make_results(tmp_path / "r", make_lang_plan(langs=("ja",)))
    rows = simulate_langs(np.random.default_rng(0), {"ja": 1.5})
    save_langs(results, "a", "ja0", rows)
    for place, is_named in ((uri, True), (results.uri, False)):
        assert main(["report", place]) == OK
        assert ("`xlt transfer`" in capsys.readouterr().out) is is_named


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--metric", "rouge"], "unknown metric 'rouge'"),
        (["--interval-method", "bca"], "unknown interval 'bca'"),
        (["--format", "html"], "unknown format 'html'"),
        (["--only", "model=z"], "'z'"),
    ],
)
def test_bad_input_is_one_sentence(
    uri: str, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["transfer", uri, *options]) == BAD_INPUT
    assert message in capsys.readouterr().err


def test_scores_at_a_prevalence(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    weighed, drawn = (test_lang.tested_in(collect(uri, prevalence=p), "de") for p in (0.02, None))
    recall, precision = ([[row.metrics[name] for row in view.rows] for view in (weighed, drawn)]
                         for name in ("recall", "precision"))  # fmt: skip
    assert recall[0] == pytest.approx(recall[1])
    for own, as_drawn, sensitivity in zip(*precision, recall[0], strict=True):
        false = sensitivity * (1 - as_drawn) / as_drawn  # of balanced rows
        expected = 0.02 * sensitivity / (0.02 * sensitivity + 0.98 * false)
        assert own == pytest.approx(expected)
    assert main(["transfer", uri, "--metric", "precision", "--prevalence", "0.02"]) == OK
    text = capsys.readouterr().out
    assert "At a prevalence of 2 %" in text and "fewer than 10 settle no precision" in text
