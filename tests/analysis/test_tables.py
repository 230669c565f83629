"""Tables: the numbers, what is missing beside them, and every format."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
import statistics
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from result_folders import make_plan, make_results, make_spec, save_done, save_failed

from xlt.analysis.tables import paper
from xlt.analysis.tables.cells import TableCell
from xlt.analysis.tables.formats import FORMATS, write_tables
from xlt.analysis.tables.metric_cells import collect_metric_cells
from xlt.analysis.tables.records import CSV_COLUMNS
from xlt.analysis.tables.report import make_metric_table, render_tables
from xlt.analysis.tables.table import Table
from xlt.analysis.trials.collect import Collected, collect
from xlt.analysis.trials.predictions import Predictions
from xlt.analysis.trials.trial_row import TrialRow
from xlt.data.core.errors import InputError
from xlt.trainables.metrics.registry import reported_metrics
from xlt.trainables.results.result import Results
from xlt.trainables.spec.cell_key import CellKey

METRICS = ("f1", "auroc")
MODELS = ("mini-elyza", "mini-opencalm")
PATTERNS = ("ja0", "ja16")
NO_CELL = "mini-opencalm was not pre-trained on en | and ja0 has no ja rows"
WHY = "did not train at 5e-4"


def in_memory(
    values: dict[tuple[str, str], list[float | None]], warnings: tuple[str, ...] = ()
) -> Collected:
    """Collected trials without folders: each cell's f1 a seed, None: missing."""
    cells = {CellKey(*names): scores for names, scores in values.items()}
    models = list(dict.fromkeys(key.base_model for key in cells))
    patterns = list(dict.fromkeys(key.pattern for key in cells))
    num_seeds = max(map(len, cells.values()))
    plan = make_plan(models, patterns, range(num_seeds))
    rows = [
        TrialRow(
            experiment="test",
            cell=key,
            draw_index=0,
            seed=seed,
            trial_id=f"{key.base_model}-{key.pattern}-{seed}",
            state="missing" if score is None else "done",
            metrics={} if score is None else {"f1": score},
        )
        for key, scores in cells.items()
        for seed, score in enumerate(scores)
    ]
    none = Predictions(Results("memory"), "test", {})
    return Collected("memory", plan, rows, ("f1",), {}, warnings, none)


@pytest.fixture
def mixed(tmp_path: Path) -> Collected:
    """One cell of each kind: partial, complete; impossible, failed with a note."""
    plan = make_plan(
        MODELS,
        PATTERNS,
        skipped={("mini-opencalm", "ja0"): NO_CELL},
        notes={("mini-opencalm", "ja16"): WHY},
        title="miniatures, not the paper's models",
        positive="ESG_50%",
    )
    results = make_results(tmp_path / "results", plan)
    save_done(results, "mini-elyza", "ja0", 0, {"f1": 0.5, "auroc": 0.75})
    save_failed(results, "mini-elyza", "ja0", 1, "loss is nan | step 3\nsecond line")
    save_done(results, "mini-elyza", "ja0", 2, {"f1": 0.7, "auroc": 0.85})
    for seed, f1 in enumerate((0.85, 0.86, 0.861)):
        save_done(results, "mini-elyza", "ja16", seed, {"f1": f1, "auroc": 0.9}, num_threads=seed)
    save_failed(results, "mini-opencalm", "ja16", 1, "out of memory")
    return collect(results)


def table(collected: Collected, metric: str, published: bool = False) -> Table:
    return make_metric_table(collect_metric_cells(collected, metric), published)


def cell_of(shown: tuple[TableCell, ...], model: str, pattern: str) -> TableCell:
    (cell,) = [c for c in shown if c.key == (model, pattern)]
    return cell


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


# --- formats --------------------------------------------------------------------------------


@pytest.mark.parametrize("format", [name for name in FORMATS if name != "csv"])
def test_every_format_for_people_shows_every_number_mark_and_footnote(
    mixed: Collected, format: str
) -> None:
    text = render_tables(mixed, format, published=True)
    plain = re.sub(r"\$\^\{(.*?)\}\$", r"\1", text)  # LaTeX's raised marks
    plain = plain.replace("\\dagger", "†").replace("\\_", "_").replace("\\*", "*")
    plain = plain.replace("\\|", "|").replace("$|$", "|").replace("{[}", "[").replace("{]}", "]")
    for part in (
        "F1 score of the positive class",
        "AUROC, area under the ROC curve",
        "0.600 (0.141) [2/3]†",
        "0.857 (0.006)",
        "failed [0/3]†*",
        "seed 1 failed: loss is nan | step 3",
        NO_CELL,
        f"* mini-opencalm x ja16: {WHY}",
        "published (paper's ELYZA)",
        "Warning: mini-elyza x ja16: num_threads",
    ):
        assert part in plain
    assert "second line" not in plain


def test_text_is_aligned_by_display_width() -> None:
    collected = in_memory({("日本語モデル", "ja16"): [0.5], ("plain", "ja16"): [0.25]})
    lines = write_tables([table(collected, "f1")], "text").splitlines()
    start = lines.index("base model    ja16")
    assert lines[start:-2] == [
        "base model    ja16",
        "-" * 25,
        "日本語モデル  0.500 (n/a)",
        "plain         0.250 (n/a)",
    ]


def test_markdown_rows_have_equal_numbers_of_cells(mixed: Collected) -> None:
    rows = [line for line in render_tables(mixed, "md").splitlines() if line.startswith("|")]
    assert len(rows) == 2 * 4
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {4}


def test_markdown_escapes_what_names_may_contain() -> None:
    text = write_tables([table(in_memory({("a|b_<i>*", "ja16"): [0.5]}), "f1")], "md")
    assert r"| a\|b\_&lt;i&gt;\* | 0.500 (n/a) |" in text


def test_latex_is_well_formed(mixed: Collected) -> None:
    text = render_tables(mixed, "latex", published=True)
    assert text.isascii()
    stack: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if kind == "begin":
            stack.append(name)
        else:
            assert stack.pop() == name
    assert not stack
    bare = re.sub(r"\\[\\&%$#_{}]", "", text)  # without line breaks and escaped characters
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    assert not set('%#~"') & set(bare)
    assert not re.search(r"_|\^(?!\{)", bare)
    rows = re.findall(r"^(.*) \\\\$", text, flags=re.MULTILINE)
    assert len(rows) == 2 * 5
    assert all(len(re.findall(r"(?<!\\)&", row)) == len(PATTERNS) for row in rows)
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 2


def test_latex_numbers_tables_itself(mixed: Collected) -> None:
    assert r"\caption{F1 score of the positive class (ESG\_50\%)" in render_tables(mixed, "latex")
    assert r"\label{tab:auroc}" in render_tables(mixed, "latex")


def test_latex_escapes_what_names_may_contain() -> None:
    name = r"[x]&%$#_{}~^\<>"
    text = write_tables([table(in_memory({(name, "ja16"): [0.5]}), "f1")], "latex")
    assert (
        r"{[}x{]}\&\%\$\#\_\{\}\textasciitilde{}\textasciicircum{}\textbackslash{}$<$$>$ & " in text
    )


def test_latex_labels_hold_no_special_characters() -> None:
    shown = Table("tokens-hub:org/a b_c", ("Tokens.",), ("rank",), (("1",),))
    assert r"\label{tab:tokens-hub-org-a-b_c}" in write_tables([shown], "latex")


def test_csv_is_tidy_and_unrounded(mixed: Collected) -> None:
    rows = list(csv.DictReader(io.StringIO(render_tables(mixed, "csv", published=True))))
    assert len(rows) == len(METRICS) * len(MODELS) * len(PATTERNS)
    assert tuple(rows[0]) == CSV_COLUMNS
    partial, complete, impossible, failed = rows[:4]
    assert float(partial["mean"]) == pytest.approx(0.6, abs=1e-15)
    assert float(complete["std"]) == pytest.approx(statistics.stdev((0.85, 0.86, 0.861)), abs=1e-15)
    assert [partial[k] for k in ("n", "num_planned", "state")] == ["2", "3", "partial"]
    assert partial["note"] == "seed 1 failed: loss is nan | step 3"
    assert [complete[k] for k in ("published_mean", "published_std")] == ["0.777", "0.082"]
    assert [impossible[k] for k in ("mean", "std", "n", "num_planned")] == ["", "", "0", "0"]
    assert impossible["note"] == NO_CELL
    assert failed["state"] == "failed"
    assert failed["note"].endswith(f"; {WHY}")
    unasked = csv.DictReader(io.StringIO(render_tables(mixed, "csv")))
    assert {row["published_mean"] for row in unasked} == {""}


def test_control_characters_of_an_error_do_not_reach_the_terminal(tmp_path: Path) -> None:
    results = make_results(tmp_path / "results", make_plan(seeds=[0]))
    save_failed(results, "elyza", "ja16", 0, "\x1b[31mred\x07\nmore")
    assert table(collect(results), "f1").footnotes == ("† elyza x ja16: seed 0 failed:  [31mred ",)


def test_a_half_written_folder_is_told_in_the_table(tmp_path: Path) -> None:
    results = make_results(tmp_path / "results", make_plan(seeds=[0]))
    folder = Path(results.path("trials", make_spec("elyza", "ja16", 0).trial_id))
    folder.mkdir(parents=True)
    (folder / "history.parquet").touch()
    shown = table(collect(results), "f1")
    assert shown.lines == (("elyza", "corrupt [0/1]†"),)
    assert "seed 0 corrupt: half-written" in shown.footnotes[0]


def test_more_classes_and_several_languages_get_tables_of_their_own(tmp_path: Path) -> None:
    plan = make_plan(patterns=["ja0", "de0"], seeds=[0, 1], classes=("a", "b", "c"))
    assert plan.target_langs == ["ja", "de"]
    results = make_results(tmp_path / "results", plan)
    for pattern, value in (("ja0", 0.25), ("de0", 0.75)):
        for seed in (0, 1):
            save_done(results, "elyza", pattern, seed, {"macro_f1": value, "auroc_ovr": value})
    shown = render_tables(collect(results))
    tables = shown.split("\n\n\n")
    assert len(tables) == 4
    assert tables[0].startswith("Macro F1, the mean of the F1 scores of the classes a, b, c;")
    for text, lang, other, value in zip(
        tables, ("ja", "ja", "de", "de"), ("de", "de", "ja", "ja"), (0.25, 0.25, 0.75, 0.75),
        strict=True,
    ):  # fmt: skip
        assert f"Target language {lang}." in text
        assert f"{lang}0" in text and f"{other}0" not in text
        assert f"{value:.3f} (0.000)" in text
    latex = render_tables(collect(results), "latex")
    assert latex.count(r"\label{tab:macro_f1-de}") == 1
    assert len(render_tables(collect(results), "csv").splitlines()) == 1 + 4
