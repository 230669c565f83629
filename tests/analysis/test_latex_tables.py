"""Every LaTeX table through pdflatex: what parses here and not there would be of no use."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from page_results import make_page_results
from result_folders import make_plan, make_results, save_done, save_failed

from xlt.analysis.page.build import build_content
from xlt.analysis.tables.report import render_tables
from xlt.analysis.trials.collect import collect

PDFLATEX = shutil.which("pdflatex")
pytestmark = [
    pytest.mark.latex,
    pytest.mark.skipif(PDFLATEX is None, reason="no pdflatex on the path"),
]
DOCUMENT = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage{booktabs}
\begin{document}
%s
\end{document}
"""


def compiled(text: str, folder: Path) -> str:
    """The log of a run that made a PDF."""
    folder.mkdir(exist_ok=True)
    (folder / "t.tex").write_text(DOCUMENT % text, "utf-8")
    command = [str(PDFLATEX), "-halt-on-error", "-interaction=nonstopmode", "t.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=120, check=False)
    log = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, log[-2000:]
    assert (folder / "t.pdf").read_bytes()[:5] == b"%PDF-"
    return log


def test_a_report_with_every_kind_of_entry_compiles(tmp_path: Path) -> None:
    hostile = r"m\input{x}%&$#_{}~^[]<>|*\"é"
    plan = make_plan(
        ["elyza", hostile],
        ["ja0", "ja16"],
        title=hostile,
        data_warnings=(hostile,),
        skipped={(hostile, "ja0"): hostile},
        notes={("elyza", "ja16"): hostile},
    )
    results = make_results(tmp_path / "r", plan)
    save_done(results, "elyza", "ja0", 0, {"f1": 0.5, "auroc": 0.75})
    save_done(results, "elyza", "ja16", 1, {"f1": 0.5})
    save_failed(results, hostile, "ja16", 0, hostile)
    text = render_tables(collect(results), "latex", published=True)
    assert "Undefined control sequence" not in compiled(text, tmp_path / "tex")


def test_every_table_of_the_page_compiles(tmp_path: Path) -> None:
    shown = build_content(collect(make_page_results(tmp_path / "r", num_items=40)))
    files = shown["data"]["files"]
    assert {"boundary", "claims", "auroc-by-pattern", "auroc-by-model", "trials"} < set(files)
    log = compiled("\n\n".join(latex for _, latex in files.values()), tmp_path / "tex")
    assert "multiply defined" not in log


def test_what_does_not_compile_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="Missing"):
        compiled("a_b", tmp_path / "tex")
