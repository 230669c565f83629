"""The check of plain words, which `make lint` runs, finds every kind of problem."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from repository import ROOT

CHECK = [sys.executable, str(ROOT / ".ci/plain_words.py")]


def check(folder: Path, *places: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CHECK, *places], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        ("a.py", '"""Of a cell the best."""\n', "a.py:1: starts with 'Of'"),
        ("a.py", 'def f():\n    """Read.\n\n    Args:\n        path: Whose it is.\n    """\n',
         "a.py:5: starts with 'Whose'"),
        ("a.py", 'N = 1\n"""What it is."""\n', "a.py:2: starts with 'What'"),
        ("a.py", 'raise ValueError("mend the file")\n', "a.py:1: says 'mend'; use: fix"),
        ("a.py", "# read anew\n", "a.py:1: says 'anew'"),
        ("a.py", "found = 1\n", "a.py:1: names something 'found'"),
        ("a.py", "for one in ():\n    pass\n", "a.py:1: names something 'one'"),
        ("a.md", "# Title\n\nAs above.\n", "a.md:3: starts with 'As'"),
        ("a.md", "- Its files\n", "a.md:1: starts with"),
    ],
)  # fmt: skip
def test_each_kind_of_problem_is_found(file: str, text: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / file).write_text(text, "utf-8")
    done = check(tmp_path, file)
    assert done.returncode == 1
    assert problem in done.stdout


def test_plain_sentences_pass(tmp_path: Path) -> None:
    text = (
        '"""Keep the best.\n\n    The files: of every cell, what is kept.\n    """\nfounder = 1\n'
    )
    (tmp_path / "a.py").write_text(text, "utf-8")
    assert check(tmp_path, "a.py").returncode == 0
