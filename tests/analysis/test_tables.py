"""Tables: the numbers, what is missing beside them, and every format."""

from __future__ import annotations

import dataclasses
import statistics
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from result_folders import make_plan, make_results, save_done
from shown_tables import (
    NO_CELL,
    PATTERNS,
    WHY,
    in_memory,
    make_mixed,
    table,
)

from xlt.analysis.tables import paper
from xlt.analysis.tables.formats import write_tables
from xlt.analysis.tables.metric_cells import collect_metric_cells
from xlt.analysis.tables.report import render_tables
from xlt.analysis.trials.collect import Collected, collect
from xlt.data.core.errors import InputError
from xlt.trainables.metrics.registry import reported_metrics


@pytest.fixture
def mixed(tmp_path: Path) -> Collected:
    return make_mixed(tmp_path)


# --- numbers --------------------------------------------------------------------------------

scores = st.floats(0, 1, allow_subnormal=False)
cells = st.lists(st.none() | scores, min_size=4, max_size=4)


@given(st.tuples(cells, cells, cells, cells))
def test_mean_std_and_n_are_those_of_the_seeds_and_gaps_are_marked(
    drawn: tuple[list[float | None], ...],
) -> None:
    keys = [(model, pattern) for model in ("a", "b") for pattern in PATTERNS]
    collected = in_memory(dict(zip(keys, drawn, strict=True)))
    aggregated = collect_metric_cells(collected, "f1").cells
    shown = table(collected, "f1")
    texts = [text for _, *line in shown.lines for text in line]
    for cell, values, text in zip(aggregated, drawn, texts, strict=True):
        have = [value for value in values if value is not None]
        assert (cell.n, cell.num_planned) == (len(have), 4)
        if not have:
            assert (cell.mean, cell.std, text) == (None, None, "pending [0/4]†")
            continue
        assert cell.mean == pytest.approx(statistics.fmean(have), abs=1e-12)
        assert text.startswith(f"{cell.mean:.3f} (")
        if len(have) == 1:
            assert cell.std is None
            assert "(n/a)" in text
        else:
            assert cell.std == pytest.approx(statistics.stdev(have), abs=1e-12)
        gaps = [str(seed) for seed, value in enumerate(values) if value is None]
        assert (f"[{len(have)}/4]" in text) == ("†" in text) == bool(gaps)
        name = str(cell.key)
        told = any(
            note.startswith("†") and name in note and f" {', '.join(gaps)} missing" in note
            for note in shown.footnotes
        )
        assert told == bool(gaps)


def test_a_published_entry_reads_as_the_paper_prints_it() -> None:
    # statistics.stdev([0.85, 0.857, 0.864]) = 0.007
    shown = table(in_memory({("elyza", "ja104"): [0.85, 0.857, 0.864]}), "f1", published=True)
    assert shown.lines == (
        ("elyza", "0.857 (0.007)"),
        ("  published (paper's ELYZA)", "0.857 (0.007)"),
    )


def test_one_seed_has_no_std() -> None:
    assert table(in_memory({("a", "ja16"): [0.5]}), "f1").lines == (("a", "0.500 (n/a)"),)


def test_cells_of_unequal_size_say_n_each() -> None:
    collected = in_memory({("a", "ja0"): [0.5, 0.5], ("a", "ja16"): [0.25, 0.75, 0.5]})
    shown = table(collected, "f1")
    assert shown.lines == (("a", "0.500 (0.000) n=2", "0.500 (0.250) n=3"),)
    assert "mean (std), n in each cell;" in shown.caption[2]


def test_a_done_trial_without_the_metric_is_a_gap(tmp_path: Path) -> None:
    results = make_results(tmp_path / "results", make_plan(seeds=[0, 1]))
    save_done(results, "elyza", "ja16", 0, {"f1": 0.5})
    save_done(results, "elyza", "ja16", 1, {"f1": 0.5, "recall": 0.25})
    shown = table(collect(results), "recall")
    assert shown.lines == (("elyza", "0.250 (n/a) [1/2]†"),)
    assert shown.footnotes[0] == "† elyza x ja16: seed 0 without recall"


def test_a_metric_that_no_trial_reports_yet_is_a_gap(tmp_path: Path) -> None:
    results = make_results(tmp_path / "results", make_plan(seeds=[0]))
    save_done(results, "elyza", "ja16", 0, {"f1": 0.5})
    shown = table(collect(results), "auroc")
    assert shown.lines == (("elyza", "n/a†"),)
    assert "seed 0 without auroc: it has no value on test rows that lack" in shown.footnotes[0]


def test_nothing_run_yet_is_pending_in_one_footnote(tmp_path: Path) -> None:
    results = make_results(tmp_path / "results", make_plan(["elyza"], PATTERNS))
    shown = table(collect(results), "auroc")
    assert shown.lines == (("elyza", "pending [0/3]†", "pending [0/3]†"),)
    assert shown.footnotes == ("† elyza x ja0, elyza x ja16: seeds 0, 1, 2 missing",)


def test_a_cell_that_the_plan_lacks_says_so() -> None:
    collected = in_memory({("a", "ja0"): [0.5], ("b", "ja16"): [0.5]})
    both = (*make_plan(["a"], ["ja0"]).cells, *make_plan(["b"], ["ja16"]).cells)
    plan = collected.plan.model_copy(update={"cells": both})
    shown = table(dataclasses.replace(collected, plan=plan), "f1")
    assert shown.lines == (("a", "0.500 (n/a)", "-"), ("b", "-", "0.500 (n/a)"))
    assert shown.footnotes[0] == "- a x ja16, b x ja0: not in the plan"


# --- what a mixed table says ----------------------------------------------------------------


def test_every_kind_of_cell_is_told(mixed: Collected) -> None:
    shown = table(mixed, "f1")
    assert shown.lines == (
        ("mini-elyza", "0.600 (0.141) [2/3]†", "0.857 (0.006)"),
        ("mini-opencalm", "-", "failed [0/3]†*"),
    )
    assert [cell.state for cell in collect_metric_cells(mixed, "f1").cells] == [
        "partial",
        "complete",
        "impossible",
        "failed",
    ]
    assert shown.footnotes[:-2] == (
        "† mini-elyza x ja0: seed 1 failed: loss is nan | step 3",
        f"- mini-opencalm x ja0: {NO_CELL}",
        "† mini-opencalm x ja16: seeds 0, 2 missing",
        "† mini-opencalm x ja16: seed 1 failed: out of memory",
        f"* mini-opencalm x ja16: {WHY}",
    )
    assert shown.footnotes[-1].startswith("Warning: mini-elyza x ja16: num_threads is 0 in")


def test_the_caption_says_what_the_numbers_depend_on(mixed: Collected) -> None:
    assert table(mixed, "f1").sentences == (
        "Table 3. F1 score of the positive class (ESG_50%); rows at probability >= 0.5 count as "
        "positive.",
        "Experiment test: miniatures, not the paper's models.",
        "Cells: mean (std), n = 3; over the seeds 0, 1, 2 on one draw of training rows, of each "
        "trial's score on its test rows; std with ddof=1.",
        "Made with data abababababab, torch 2.11.0, transformers 5.17.0, peft 0.21.0, "
        "tokenizers 0.23.0, precision fp32.",
    )
    assert table(mixed, "auroc").sentences[0].startswith("Table 4. AUROC, area under the ROC")


def test_published_rows_stand_below_ours_and_are_not_taken_for_miniatures(mixed: Collected) -> None:
    shown = table(mixed, "auroc", published=True)
    assert shown.lines[1] == (
        "  published (paper's ELYZA)",
        "0.915 (0.007)",
        "0.920 (0.004)",
    )
    assert shown.lines[3] == ("  published (paper's OpenCALM)", "-", "0.726 (0.048)")
    assert any(note.startswith("Published: Table 4") for note in shown.footnotes)
    assert any("not the paper's models" in note for note in shown.footnotes)
    assert not any("published" in label for label, *_ in table(mixed, "auroc").lines)


def test_other_models_and_patterns_have_no_published_numbers() -> None:
    collected = in_memory({("elyza", "ja32"): [0.5], ("gpt", "ja32"): [0.5]})
    assert table(collected, "f1", published=True).lines == (
        ("elyza", "0.500 (n/a)"),
        ("  published (paper's ELYZA)", ""),
        ("gpt", "0.500 (n/a)"),
    )


def test_reports_show_the_metrics_of_the_papers_tables() -> None:
    assert reported_metrics(2) == list(paper.TABLES)
    assert reported_metrics(3) == ["macro_f1", "auroc_ovr"]


def test_unknown_names_are_refused_with_the_known_ones(mixed: Collected) -> None:
    with pytest.raises(InputError, match=r"unknown metric 'aurok'\. Did you mean 'auroc'\? Known"):
        table(mixed, "aurok")
    with pytest.raises(InputError, match=r"unknown format 'html'\..*Known: csv, latex, md, text"):
        render_tables(mixed, "html")
    with pytest.raises(InputError, match="unknown format"):
        write_tables([table(mixed, "f1")], "html")
