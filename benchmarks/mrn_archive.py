"""Measure the time and memory of reading a Reuters archive, next to the usual ways.

    python benchmarks/mrn_archive.py generate FOLDER --mb 300
    python benchmarks/mrn_archive.py measure FOLDER

`generate` writes a synthetic archive (synthetic_archive.py).

`measure` reads it in new processes, one after another: ours in one process (also without keeping
rows, for the memory of reading alone) and on all cores, `json.loads` on every line, `json.load` on
every file (which fails on damaged lines: generate with `--damage 0`), and unpacking alone. Prints
Markdown.
"""

from __future__ import annotations

import argparse
import gzip
import json
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from synthetic_archive import POSITIVE, generate

from xlt.data.core.errors import InputError
from xlt.data.sources.mrn.files import find_archive_files
from xlt.data.sources.mrn.read import num_cores, read_parallel
from xlt.data.sources.mrn.source import Options, read


def main() -> None:
    """Generate or measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    generating = commands.add_parser("generate")
    generating.add_argument("folder", type=Path)
    generating.add_argument(
        "--mb", type=int, default=300, help="size of all files as unpacked JSON"
    )
    generating.add_argument("--seed", type=int, default=0)
    generating.add_argument("--damage", type=float, default=0.0005, help="share of damaged lines")
    measuring = commands.add_parser("measure")
    measuring.add_argument("folder")
    measuring.add_argument("--stage", choices=STAGES, help="run one way in this process")
    options = parser.parse_args()
    if options.command == "generate":
        generate(options.folder, options.mb * 1_000_000, options.seed, options.damage)
    elif options.stage:
        print(json.dumps(measure(options.stage, options.folder)))
    else:
        show(options.folder)


def ours(folder: str, num_workers: int) -> str:
    """Read with our reader, and describe the result."""
    values = {"source": "mrn", "path": folder, "positive": POSITIVE}
    read_files = partial(read_parallel, num_workers=num_workers)
    reading = read(Options.parse(values), lambda done, in_all: None, read_files)
    return f"{len(reading.dataset.table)} rows of {reading.num_read}"


def none_kept(folder: str) -> str:
    """Read with our reader in a language without rows, to exclude the memory of kept rows.

    The reader raises an error at the end, because no rows are left.
    """
    values = {"source": "mrn", "path": folder, "positive": POSITIVE, "languages": ["fr"]}
    try:
        read(
            Options.parse(values),
            lambda done, in_all: None,
            partial(read_parallel, num_workers=1),
        )
    except InputError as error:
        return f"refused: {error.problems[0]}"
    return "not refused"


def unpacked(folder: str) -> str:
    """Unpack every byte, without parsing."""
    files = find_archive_files([folder])
    return f"{sum(len(b) for file in files for b in file.blocks(lambda num: None))} bytes"


def each_file(folder: str) -> Iterator[Any]:
    """Open each file as text."""
    for file in find_archive_files([folder]):
        opener = gzip.open if file.path.endswith(".gz") else open
        with opener(file.path, "rt", encoding="utf-8", errors="replace") as stream:
            yield stream


def by_line(folder: str) -> str:
    """Parse every line with json.loads, and keep headlines, languages and codes."""
    rows = []
    for stream in each_file(folder):
        for line in stream:
            try:
                data = json.loads(line.rstrip().rstrip(","))["data"]
                rows.append((data["headline"], data["language"], data["subjects"]))
            except (ValueError, KeyError):
                continue
    return f"{len(rows)} items"


def by_file(folder: str) -> str:
    """Parse every file with json.load, and keep headlines, languages and codes."""
    rows, num_failed = [], 0
    for stream in each_file(folder):
        try:
            items = [item["data"] for item in json.load(stream)["Items"]]
            rows += [(data["headline"], data["language"], data["subjects"]) for data in items]
        except (ValueError, KeyError):
            num_failed += 1
    return f"{len(rows)} items, {num_failed} files failed"


STAGES = {
    "unpacking alone": unpacked,
    "ours, 1 process, no row kept": none_kept,
    "ours, 1 process": lambda folder: ours(folder, 1),
    "ours, all cores": lambda folder: ours(folder, num_cores()),
    "json.loads a line": by_line,
    "json.load a file": by_file,
}


def measure(stage: str, folder: str) -> dict[str, Any]:
    """Return wall and CPU seconds, peak MB of the largest process, and the result of one way."""
    start, cpu = time.perf_counter(), time.process_time()
    result = STAGES[stage](folder)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    own, workers = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    cpu += workers.ru_utime + workers.ru_stime
    peak = max(own.ru_maxrss, workers.ru_maxrss) / 1000
    return {"wall": wall, "cpu": cpu, "peak": peak, "result": result}


def show(folder: str) -> None:
    """Run every way and print the table."""
    print(f"{date.today()}, {platform.machine()}, {num_cores()} cores\n")
    print("| way | s | CPU s | MB of JSON / CPU s | peak MB | found |\n|---|---|---|---|---|---|")
    num_bytes = 0
    for stage in STAGES:
        command = [sys.executable, __file__, "measure", folder, "--stage", stage]
        measured = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        num_bytes = num_bytes or int(measured["result"].split()[0])
        rate = num_bytes / 1e6 / measured["cpu"]
        print(f"| {stage} | {measured['wall']:.1f} | {measured['cpu']:.1f} | {rate:.0f} | ", end="")
        print(f"{measured['peak']:.0f} | {measured['result']} |", flush=True)


if __name__ == "__main__":
    main()
