"""Formats of tables: every number and mark, names that need care, csv."""

from __future__ import annotations

import csv
import io
import re
import statistics
from pathlib import Path

import pytest
from result_folders import make_plan, make_results, make_spec, save_done, save_failed
from shown_tables import (
    METRICS,
    MODELS,
    NO_CELL,
    PATTERNS,
    WHY,
    in_memory,
    make_mixed,
    table,
)

from xlt.analysis.tables.formats import FORMATS, write_tables
from xlt.analysis.tables.records import CSV_COLUMNS
from xlt.analysis.tables.report import render_tables
from xlt.analysis.tables.table import Table
from xlt.analysis.trials.collect import Collected, collect


@pytest.fixture
def mixed(tmp_path: Path) -> Collected:
    return make_mixed(tmp_path)


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
