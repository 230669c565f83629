"""Measure everything that needs a GPU with one command, and write what was measured so far.

    python benchmarks/gpu_day.py --minutes 8                # one GPU of 80 GB or more
    python benchmarks/gpu_day.py --minutes 8 --small        # small dimensions, also on a CPU

The parts run in the order of their worth, each in a process of its own. A part that reaches the end
of its time is stopped, and its output stays, so that a stop loses nothing. --out is Markdown for
docs/benchmarks.md, written line by line. Times that a part leaves go to the parts after it.

This needs torch, transformers, peft, accelerate, numpy, pyarrow, scikit-learn and pytest, and the
packages in :data:`CARRIED`; Ray is not needed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
CARRIED = (
    "annotated-types", "jinja2", "orjson", "platformdirs", "pydantic", "pydantic-core", "pyyaml",
    "rich", "threadpoolctl", "typing-inspection",
)  # fmt: skip
"""Packages to install from wheels where a machine has torch and its companions alone."""


@dataclass(frozen=True)
class Part:
    """A measurement.

    Attributes:
        title: Heading in the output.
        share: Share of all minutes after which the part is stopped.
        command: Arguments of Python.
        small: Further arguments with ``--small``.
    """

    title: str
    share: float
    command: tuple[str, ...]
    small: tuple[str, ...] = ()


PARTS = (
    Part(
        "Tests on a GPU",
        0.2,
        ("-m", "pytest", "-q", "-m", "gpu", "tests/trainables/test_gpu.py"),
    ),
    Part(
        "Trials of each family beside the HF Trainer",
        0.35,
        (
            "benchmarks/gpu.py", "--families", "llama", "bert", "gpt_neox", "e5",
            "--explain", "64",
        ),
        ("--small", "--epochs", "1", "--explain", "2"),
    ),
    Part(
        "Packs of 2, 3 and 6 trials",
        0.2,
        ("benchmarks/packing.py", "--families", "llama", "--rows", "320", "--repeats", "1"),
        ("--size", "small", "--rows", "64"),
    ),
    Part(
        "Three trials of the paper's grid beside a process each",
        0.25,
        (
            "benchmarks/paper_grid.py", "--seeds", "0",
            "--only", "model=elyza,model=mbert,model=opencalm,pattern=ja104",
        ),
        ("--small", "--epochs", "1"),
    ),
)  # fmt: skip


def main() -> None:
    """Run the parts, and write their output."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=8.0, help="for all parts together")
    parser.add_argument("--small", action="store_true", help="small dimensions")
    parser.add_argument("--out", type=Path, default=Path("gpu_day.md"))
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    with options.out.open("w", encoding="utf-8") as file:
        size = "small" if options.small else "true"
        say(file, f"{date.today()}, {options.minutes:g} minutes, {size} dimensions")
        left, failed = 1.0, False
        for part in PARTS:
            seconds = (end - time.monotonic()) * part.share / left
            left -= part.share
            say(file, f"\n### {part.title}\n")
            words = [*part.command, *(part.small if options.small else ())]
            say(file, f"`python {' '.join(words)}`, {seconds:.0f} s at most\n")
            status, spent = run(words, seconds, file)
            ended = "stopped at the end of its time" if status is None else f"exit status {status}"
            say(file, f"\n{ended} after {spent:.0f} s")
            failed |= bool(status)
    sys.exit(failed)


def run(words: list[str], seconds: float, file: IO[str]) -> tuple[int | None, float]:
    """Run a part, and copy its output line by line.

    Returns:
        Its exit status, or None if it was stopped at the end of its time; and its seconds.
    """
    start = time.monotonic()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE,
        stderr=sys.stderr, start_new_session=True,
    )  # fmt: skip
    reader = threading.Thread(target=copy, args=(process.stdout, file), daemon=True)
    reader.start()
    try:
        status: int | None = process.wait(max(seconds, 1))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)  # a part may have processes of its own
        process.wait()
        status = None
    reader.join(5)
    return status, time.monotonic() - start


def copy(lines: IO[str] | None, file: IO[str]) -> None:
    """Copy lines as they come."""
    for line in lines or ():
        say(file, line.rstrip("\n"))


def say(file: IO[str], line: str) -> None:
    """Write a line to the file and the terminal, so that nothing is lost if the machine stops."""
    print(line, flush=True)
    file.write(f"{line}\n")
    file.flush()


if __name__ == "__main__":
    main()
