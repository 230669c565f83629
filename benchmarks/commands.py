"""Measure how long short commands take, from the shell to their last line.

    python benchmarks/commands.py results [--repeats 9]

``results`` is the folder of a finished run of quickstart. The commands alternate, because machines
are shared, and so does a Python that only imports the packages which read results: no command that
reads them can be faster. Prints Markdown with the least value of each.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time

IMPORTS = "import numpy, pyarrow.fs, pyarrow.parquet; from pydantic import BaseModel"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", help="folder of a finished run of quickstart")
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compare(options.results, f"{folder}/page.html", options.repeats)


def compare(results: str, page: str, repeats: int) -> None:
    """Run the commands in turn, and print the least value of each."""
    xlt = [sys.executable, "-m", "xlt"]
    commands = {
        "imports alone": [sys.executable, "-c", IMPORTS],
        "`xlt --help`": [*xlt, "--help"],
        "`xlt plan quickstart`": [*xlt, "plan", "quickstart"],
        "`xlt status results`": [*xlt, "status", results],
        "`xlt report results`": [*xlt, "report", results],
        "`xlt compare results --by model`": [*xlt, "compare", results, "--by", "model"],
        "`xlt report results --format html`": [
            *xlt, "report", results, "--format", "html", "--out", page,
        ],
    }  # fmt: skip
    for command in commands.values():  # Python compiles its modules, xlt fills its cache
        measure(command)
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, command in commands.items():
            measured[name].append(measure(command))
    print("| command | wall s | CPU s |\n|---|---|---|")
    for name, runs in measured.items():
        wall, cpu = (min(values) for values in zip(*runs, strict=True))
        print(f"| {name} | {wall:.2f} | {cpu:.2f} |")


def measure(command: list[str]) -> tuple[float, float]:
    """Run once; return wall seconds and CPU seconds."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
