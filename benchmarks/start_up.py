"""Measure what the fork server saves: the same short run with it and with whole worker processes.

    python benchmarks/start_up.py [--repeats 3]

Each run has nine trials of one epoch, so most of its time is start-up. The two ways alternate,
because machines are shared; the miniature is cached first. CPU seconds are those of all processes,
and memory is the largest sum of their shares (PSS), both sampled four times a second. Prints
Markdown with the least value of each way.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress

import psutil

from xlt.trainables.results.result import Results

RUN = (
    "run", "quickstart", "--set", "models=[mini-mbert]", "--set", "training.num_train_epochs=1",
    "--backend", "ray",
)  # fmt: skip
WAYS = {"forks": {}, "whole processes": {"XLT_FORK_SERVER": "off"}}
"""Way -> environment variables."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    measure({})
    measured: dict[str, list[tuple[float, ...]]] = {way: [] for way in WAYS}
    for _ in range(options.repeats):
        for way, variables in WAYS.items():
            measured[way].append(measure(variables))
    print("| workers | first trial s | wall s | CPU s | memory MB |\n|---|---|---|---|---|")
    for way, runs in measured.items():
        least = [min(values) for values in zip(*runs, strict=True)]
        print(f"| {way} | {' | '.join(f'{value:.1f}' for value in least)} |")


def measure(variables: dict[str, str]) -> tuple[float, float, float, float]:
    """Run once; return seconds to the first trial, all seconds, CPU seconds and MB."""
    start, first, most = time.perf_counter(), 0.0, 0
    cpu: dict[tuple[int, float], float] = {}
    with tempfile.TemporaryDirectory() as results:
        command = [sys.executable, "-m", "xlt", *RUN, f"--results={results}/r"]
        process = psutil.Popen(command, env=os.environ | variables, stdout=subprocess.DEVNULL)
        while process.poll() is None:
            memory = 0
            with suppress(psutil.Error):  # a process that ended meanwhile
                for member in [process, *process.children(recursive=True)]:
                    times = member.cpu_times()
                    cpu[member.pid, member.create_time()] = times.user + times.system
                    memory += member.memory_full_info().pss
            most = max(most, memory)
            if not first and Results(f"{results}/r").trial_ids():
                first = time.perf_counter() - start
            time.sleep(0.25)
    if process.returncode:
        raise SystemExit(f"failed: {command}")
    return first, time.perf_counter() - start, sum(cpu.values()), most / 1e6


if __name__ == "__main__":
    main()
