"""Measure `xlt status`, `xlt report`, its page and `xlt compare` on many result folders.

    python benchmarks/report.py [--trials 39 300 10000] [--folder FOLDER]

It creates an experiment for each number of trials: 39 are 13 cells as in quickstart, 300 are 10
base models x 3 patterns, more are 20 base models x 10 patterns, with as many seeds as give the
number. Each trial has 512 predictions, 640 steps of training and the scored training rows of its
pattern. Then each command runs in a process of its own: first with an empty cache of verified
folders (cold), then again (warm). The page cache of the system is warm in both cases, because the
folders were just written. Peak memory is that of the process. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from xlt.data.dataset.patterns import parse_pattern_name
from xlt.trainables.metrics.registry import METRICS
from xlt.trainables.results.plan import Plan, PlannedCell, PlannedTrial
from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import TrialResult
from xlt.trainables.spec.trial_spec import TrialSpec

NUM_ITEMS, NUM_STEPS = 512, 640
PATTERNS = tuple(f"ja{rows}" for rows in (0, 4, 8, 16, 32, 64, 104, 128, 256, 512))
FINGERPRINT = "ab" * 32
SIGNATURE = {
    "versions": {name: version(name) for name in ("torch", "transformers", "numpy", "pyarrow")},
    "data_fingerprint": FINGERPRINT,
    "device": "cpu",
    "precision": "fp32",
    "num_threads": 1,
}
COMMANDS = {
    "xlt status": ["status"],
    "xlt report": ["report"],
    "xlt report --intervals": ["report", "--intervals"],
    "xlt report --format html": ["report", "--format", "html", "--out"],
    "xlt compare --by model": ["compare", "--by", "model"],
}
MEASURED = """
import sys
from xlt.sweep.cli.main import main
status = main()
peak = next(line for line in open("/proc/self/status") if "VmHWM" in line)
print(peak.split()[1], file=sys.stderr)
sys.exit(status)
"""
"""Runs the command line, and prints the peak memory in kB. That of os.wait4 counts this process."""
MAX_COMPARED = 300
"""Number of trials above which cells are not compared, as on the page."""


def main() -> None:
    """Create the folders, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, nargs="+", default=[39, 300, 10_000])
    parser.add_argument("--folder", help="folder that is created if needed, and kept")
    options = parser.parse_args()
    scratch = Path(options.folder or tempfile.mkdtemp())
    try:
        for num_trials in options.trials:
            results = scratch / f"results-{num_trials}"
            if not results.exists():
                make_results(results, num_trials)
            measure(results, num_trials, scratch)
    finally:
        if not options.folder:
            shutil.rmtree(scratch)


def measure(results: Path, num_trials: int, scratch: Path) -> None:
    """Measure every command cold and warm."""
    print(f"\n{date.today()}, {platform.machine()}, {os.cpu_count()} cores, {num_trials} trials\n")
    print("| command | cold s | CPU s | peak MB | warm s | CPU s | peak MB |")
    print("|---|---|---|---|---|---|---|")
    page = scratch / "page.html"
    for name, command in COMMANDS.items():
        if command[0] == "compare" and num_trials > MAX_COMPARED:
            continue
        cache = scratch / "cache"
        shutil.rmtree(cache, ignore_errors=True)
        arguments = [command[0], str(results), *command[1:]]
        if "--out" in arguments:
            arguments.append(str(page))
        cold, warm = (" | ".join(f"{n:.1f}" for n in run(arguments, cache)) for _ in range(2))
        print(f"| `{name}` | {cold} | {warm} |", flush=True)
    cached = sum(file.stat().st_size for file in cache.rglob("*") if file.is_file())
    print(f"\npage {page.stat().st_size / 1e6:.1f} MB, cache {cached / 1e6:.0f} MB")


def run(arguments: list[str], cache: Path) -> tuple[float, float, float]:
    """Run a command; return wall and CPU time in seconds and peak memory in MB."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", MEASURED, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "XLT_CACHE": str(cache)},
    )
    assert process.stderr
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {arguments}\n{errors}")
    wall = time.perf_counter() - start
    return wall, usage.ru_utime + usage.ru_stime, int(errors.splitlines()[-1]) / 1024


def make_results(folder: Path, num_trials: int) -> None:
    """Write the result folders of one experiment."""
    rng = np.random.default_rng(0)
    grid = list_cells(num_trials)
    seeds = range(num_trials // len(grid))
    results = Results(str(folder))
    results.prepare()
    history = _history(rng)
    truth = np.repeat([0, 1], NUM_ITEMS // 2).astype(np.int8)
    rows = rng.standard_normal(NUM_ITEMS)
    cells = []
    for number, pattern in grid:
        skill = 0.3 + 0.2 * PATTERNS.index(pattern) + 0.1 * (number % 7)
        train_rows, trials = _train_rows(pattern, rng), []
        for seed in seeds:
            spec = _spec(f"model-{number:02}", pattern, seed)
            noise = rows + 0.5 * rng.standard_normal(NUM_ITEMS)
            score = 1 / (1 + np.exp(-(skill * (2.0 * truth - 1) + noise)))
            results.save(_result(spec, truth, score, history, train_rows))
            trials.append(PlannedTrial(trial_id=spec.trial_id, seed=seed))
        cells.append(
            PlannedCell(
                base_model=f"model-{number:02}",
                pattern=pattern,
                target_lang="ja",
                trials=tuple(trials),
            )
        )
    plan = Plan(experiment="large", data_fingerprint=FINGERPRINT, cells=tuple(cells))
    results.save_experiment(plan, "name: large\n")


def list_cells(num_trials: int) -> list[tuple[int, str]]:
    """List the cells of an experiment: number of the base model, and pattern."""
    patterns = PATTERNS if num_trials > MAX_COMPARED else ("ja0", "ja16", "ja104")
    if num_trials < 300:  # two base models of quickstart lack the pattern without target rows
        return [(k, name) for k in range(5) for name in patterns if k < 3 or name != "ja0"]
    return [(k, name) for k in range(10 if num_trials <= MAX_COMPARED else 20) for name in patterns]


def _result(
    spec: TrialSpec, truth: Any, score: Any, history: pa.Table, train_rows: pa.Table
) -> TrialResult:
    return TrialResult(
        spec=spec,
        metrics={name: METRICS[name].compute(truth, score) for name in ("f1", "auroc", "accuracy")},
        signature=SIGNATURE,
        timings={"fit": round(4 + spec.seed / 50, 4)},
        convergence={},
        predictions=pa.table(
            {
                "id": [f"synthetic-ja-{k:05}" for k in range(NUM_ITEMS)],
                "lang": ["ja"] * NUM_ITEMS,
                "split": ["test"] * NUM_ITEMS,
                "y_true": truth,
                "y_score": score,
            }
        ),
        history=history,
        train_rows=train_rows,
        model={},
    )


def _spec(base_model: str, pattern: str, seed: int, num_items: int = NUM_ITEMS) -> TrialSpec:
    values = {
        "base_model": base_model,
        "base_identity": f"hub:example/{base_model}@main",
        "base_path": f"example/{base_model}",
        "method": "full",
        "source_lang": "en",
        "pattern": parse_pattern_name(pattern).model_dump(),
        "sampling": {"test_rows": num_items},
        "training": {},
        "learning_rate": 5e-5,
        "seed": seed,
        "data_fingerprint": FINGERPRINT,
    }
    return TrialSpec.parse(values)


def _history(rng: np.random.Generator) -> pa.Table:
    steps = np.arange(1, NUM_STEPS + 1)
    loss = 0.7 * np.exp(-steps / 200) + 0.05 * rng.random(NUM_STEPS)
    columns = {"step": steps, "epoch": steps / 64, "learning_rate": loss, "loss": loss}
    return pa.table({**columns, "grad_norm": loss})


def _train_rows(name: str, rng: np.random.Generator) -> pa.Table:
    pattern = parse_pattern_name(name)
    langs = ["en"] * pattern.source_rows + ["ja"] * pattern.target_rows
    labels = np.arange(len(langs), dtype=np.int8) % 2
    logits = 4.0 * (2 * labels - 1) + rng.standard_normal(len(langs))
    return pa.table(
        {
            "id": [f"synthetic-{lang}-{k:05}" for k, lang in enumerate(langs)],
            "lang": langs,
            "label": labels,
            "y_score": 1 / (1 + np.exp(-logits)),
        }
    )


if __name__ == "__main__":
    main()
