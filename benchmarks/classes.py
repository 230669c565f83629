"""Measure reports and tests of more than two classes: 39 trials, 7 classes, 1,000 test rows.

    python benchmarks/classes.py [--classes 7] [--items 1000]

It creates the result folders of 13 cells with 3 seeds each, whose predictions are simulated, and
runs each command in a process of its own, with an empty cache. Prints Markdown.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from report import FINGERPRINT, NUM_ITEMS, _history, _result, _spec, _train_rows, run
from scipy import special

sys.path.insert(0, str(Path(__file__).parent.parent / "tests/support"))
from simulated_scores import predictions

from xlt.trainables.metrics.registry import score
from xlt.trainables.results.plan import Plan, PlannedCell, PlannedTrial
from xlt.trainables.results.result import Results

CELLS = [(f"model-{k}", f"ja{n}") for k in range(4) for n in (0, 16, 104)] + [("model-4", "ja104")]
COMMANDS = (
    ["report"], ["report", "--intervals"], ["report", "--confusion"],
    ["compare"], ["compare", "--metric", "macro_f1"], ["boundary"],
    ["curves", "--than", "model-0", "--metric", "macro_f1"], ["curves", "--than", "model-0"],
    ["report", "--format", "html", "--out"],
)  # fmt: skip


def main() -> None:
    """Create the folders, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classes", type=int, default=7)
    parser.add_argument("--items", type=int, default=1000)
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp())
    try:
        make_results(scratch / "results", options.classes, options.items)
        print(f"{options.classes} classes, {options.items} rows, {platform.machine()}\n")
        print("| command | s | CPU s |\n|---|---|---|")
        for command in COMMANDS:
            arguments = [command[0], str(scratch / "results"), *command[1:]]
            arguments += [str(scratch / "page.html")] * (command[-1] == "--out")
            cost = " | ".join(f"{n:.1f}" for n in run(arguments, scratch / "cache")[:2])
            print(f"| `xlt {' '.join(command)}` | {cost} |", flush=True)
    finally:
        shutil.rmtree(scratch)


def make_results(folder: Path, num_classes: int, num_items: int) -> None:
    """Write the result folders of one experiment."""
    rng, results = np.random.default_rng(0), Results(str(folder))
    results.prepare()
    y_true = (np.arange(num_items) % num_classes).astype(np.int8)
    rows, cells = rng.standard_normal((num_items, num_classes)), []
    ids = [f"row-{k:05}" for k in range(num_items)]
    for number, (model, pattern) in enumerate(CELLS):
        trials = []
        for seed in range(3):
            spec = _spec(model, pattern, seed, num_items)
            noise = rows + 0.6 * rng.standard_normal(rows.shape)
            logits = (0.5 + 0.1 * number) * np.eye(num_classes)[y_true] + noise
            y_score = special.softmax(logits, axis=1)
            train_rows = _train_rows(pattern, rng)
            labels = np.arange(len(train_rows), dtype=np.int8) % num_classes
            train_rows = train_rows.set_column(2, "label", [labels])
            two = np.repeat([0, 1], NUM_ITEMS // 2)
            result = _result(spec, two, np.full(NUM_ITEMS, 0.5), _history(rng), train_rows)
            table = predictions(ids, y_true.tolist(), list(y_score))
            results.save(replace(result, predictions=table, metrics=score(y_true, y_score)))
            trials.append(PlannedTrial(trial_id=spec.trial_id, seed=seed))
        cells.append(
            PlannedCell(base_model=model, pattern=pattern, target_lang="ja", trials=tuple(trials))
        )
    classes = tuple(f"class-{k}" for k in range(num_classes))
    values = {"experiment": "classes", "classes": classes, "data_fingerprint": FINGERPRINT}
    results.save_experiment(Plan(cells=tuple(cells), **values), "name: classes\n")


if __name__ == "__main__":
    main()
