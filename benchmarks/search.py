"""What choosing learning rates costs and loses: every config to the end, ASHA, and TPE.

Every method searches the thirteen cells of quickstart. Then every rate that any of them could take
is trained with the experiment's own seeds and tested, which no user should do, to know what a
choice was worth.

    python -m benchmarks.search --out FOLDER [--rates 12] [--seeds 3] [--set KEY=VALUE]
        [--methods METHOD ...]

Prints trial-epochs spent beside those of the whole grid, which must be among the methods, and the
regret: by how much the test AUROC of the chosen rate (mean over the seeds of the experiment) is
below that of the rate which the whole grid chooses, and below the best on the test rows. FOLDER
keeps the trials, so that a run that was cut off goes on.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from rich.console import Console

from analysis.search_results import Choice
from sweep.backends import find_backend, pretrain_missing
from sweep.experiment import Experiment, load_experiment
from sweep.grid import expand
from sweep.ledger import read_ledger
from sweep.progress import Progress
from sweep.search.run import search
from trainables.result import Results
from trainables.spec import TrialSpec

METHODS = {
    "whole grid": ["search.early_stopping=none"],
    "grid, ASHA": ["search.early_stopping=asha"],
    "TPE, ASHA": ["search.searcher=tpe", "search.early_stopping=asha"],
    "TPE of 7, ASHA": [
        "search.searcher=tpe",
        "search.early_stopping=asha",
        "search.num_configs=7",
    ],
    "one standard error": ["search.early_stopping=asha", "search.one_standard_error=true"],
}
Cell = tuple[str, str]


def main() -> None:
    """Run, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--rates", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], dest="settings")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    options = parser.parse_args()
    shared = [
        *options.settings,
        f"search.num_configs={options.rates}",
        f"search.seeds={[1000 + n for n in range(options.seeds)]}",
    ]
    console = Console(stderr=True)
    found: dict[str, dict[Cell, Choice]] = {}
    epochs: dict[str, int] = {}
    for method in options.methods:
        name = "".join(c if c.isalnum() else "-" for c in method)
        experiment = load_experiment("quickstart", [*shared, *METHODS[method], f"name={name}"])
        outcome = search(experiment, str(options.out), console=console)
        found[method] = {(c.cell.base_model, c.cell.pattern): c for c in outcome.choices}
        epochs[method] = sum(one.epochs for c in outcome.choices for one in c.tried)
    scores = test_scores(load_experiment("quickstart", shared), found, options.out, console)
    show(found, epochs, scores)


def test_scores(
    experiment: Experiment, found: dict[str, dict[Cell, Choice]], out: Path, console: Console
) -> dict[Cell, dict[float, float]]:
    """Cell -> rate -> test AUROC, mean over the experiment's seeds; nan if a seed diverged."""
    grid = expand(experiment)
    specs: dict[tuple[Cell, float], list[TrialSpec]] = defaultdict(list)
    for cell in grid.cells:
        key = (cell.model.name, cell.pattern.name)
        rates = {
            one.config.learning_rate for f in found.values() if key in f for one in f[key].tried
        }
        for rate in sorted(rates):
            specs[key, rate] = [spec.tuned(rate, {}, {}) for spec in cell.specs]
    results = Results(str(out))
    every = [spec for group in specs.values() for spec in group]
    ledger = read_ledger(results, [spec.trial_id for spec in every])
    left = [spec for spec in every if spec.trial_id not in {*ledger.done, *ledger.failed}]
    if left:
        runner = find_backend("tune")(None)
        with Progress(every, ledger.done, console) as progress:
            pretrain_missing(grid, left, runner, progress)
            runner.run(left, grid.dataset, results, "none", progress)
        runner.close()
    scores: dict[Cell, dict[float, float]] = defaultdict(dict)
    for (key, rate), group in specs.items():
        records = [results.state(spec.trial_id) for spec in group]
        values = [r.record["metrics"]["auroc"] for r in records if r.state == "done" and r.record]
        scores[key][rate] = float(np.mean(values)) if len(values) == len(group) else np.nan
    return scores


def show(
    found: dict[str, dict[Cell, Choice]],
    epochs: dict[str, int],
    scores: dict[Cell, dict[float, float]],
) -> None:
    """The table, and the cells behind it as JSON lines."""
    reference = found["whole grid"]
    print(f"{'method':20} {'epochs':>7} {'fewer':>6} {'regret':>7} {'worst':>6} {'to best':>8}")
    for method, choices in found.items():
        regrets, to_best = [], []
        for key, choice in choices.items():
            if choice.best is None or reference[key].best is None:
                continue
            ours = scores[key][choice.best.config.learning_rate]
            theirs = scores[key][reference[key].best.config.learning_rate]
            regrets.append(theirs - ours)
            to_best.append(np.nanmax(list(scores[key].values())) - ours)
        fewer = epochs["whole grid"] / epochs[method]
        print(
            f"{method:20} {epochs[method]:7} {fewer:5.1f}x {np.mean(regrets):7.4f} "
            f"{np.max(regrets):6.3f} {np.mean(to_best):8.4f}"
        )
    for key in reference:
        chosen = {m: c[key].best.config.learning_rate for m, c in found.items() if c[key].best}
        tested = {f"{rate:g}": round(score, 3) for rate, score in scores[key].items()}
        print(json.dumps({"cell": " x ".join(key), "chosen": chosen, "test auroc": tested}))


if __name__ == "__main__":
    main()
