"""The measurements of a GPU run from end to end, so that none fails where a GPU is at hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from repository import ROOT


@pytest.mark.chaos
def test_the_measurements_of_a_gpu_run_with_small_dimensions(tmp_path: Path) -> None:
    program = [sys.executable, str(ROOT / "benchmarks" / "gpu_day.py"), "--small"]
    program += ["--minutes", "9", "--out", str(tmp_path / "day.md")]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False)
    written = (tmp_path / "day.md").read_text("utf-8")
    assert done.returncode == 0, done.stderr[-3000:]
    assert written.count("### ") == written.count("exit status 0 after ") == 4
    for row in ("| llama | ours |", "| e5 | trainer |", "| llama | 6 |", "| ours, 39 trials"):
        assert row in written
