"""Measure the cost and the loss of searching learning rates: whole grid, ASHA, random search, TPE.

Every method searches the thirteen cells of quickstart. Then the rates of the whole grid, and the
rates that another method chose, are trained with the experiment's own seeds and scored on test
rows. A user should not do that; here it shows the value of each choice.

    python -m benchmarks.search --out FOLDER [--rates 12] [--seeds 3] [--set KEY=VALUE]
        [--methods METHOD ...]

Prints the trial-epochs relative to the whole grid, which must be among the methods, and the regret.
The regret is the score of the rate that the whole grid chose minus the score of the method's rate,
on dev rows and on test rows (mean over the experiment's seeds). FOLDER keeps the trials, so that an
interrupted run resumes.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from rich.console import Console

from xlt.analysis.search.choose import Choice, TriedConfig
from xlt.sweep.backends.artifact_policy import ArtifactPolicy
from xlt.sweep.backends.registry import find_backend, pretrain_missing
from xlt.sweep.driver.progress import Progress
from xlt.sweep.experiment.experiment import Experiment, load_experiment
from xlt.sweep.planning.grid import expand
from xlt.sweep.planning.ledger import read_ledger
from xlt.sweep.planning.prepare import prepare
from xlt.sweep.search.run import search_rates
from xlt.trainables.results.result import Results
from xlt.trainables.spec.cell_key import CellKey
from xlt.trainables.spec.trial_spec import TrialSpec

WHOLE = "whole grid"
METHODS = {
    WHOLE: ["search.early_stopping=none"],
    "grid, ASHA": [],
    "random, ASHA": ["search.searcher=random"],
    "TPE of 7, ASHA": ["search.searcher=tpe", "search.num_configs=7"],
    "TPE, ASHA": ["search.searcher=tpe"],
    "grid, one error": ["search.one_standard_error=true"],
}


def main() -> None:
    """Search, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--rates", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], dest="settings")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    options = parser.parse_args()
    shared = [
        "draws=[0]",
        *options.settings,
        f"search.num_configs={options.rates}",
        f"search.seeds={[1000 + n for n in range(options.seeds)]}",
    ]
    console = Console(stderr=True)
    choices: dict[str, dict[CellKey, Choice]] = {}
    for method in options.methods:
        name = "".join(c if c.isalnum() else "-" for c in method)
        experiment = load_experiment("quickstart", [*shared, *METHODS[method], f"name={name}"])
        outcome = search_rates(experiment, str(options.out), console=console)
        choices[method] = {CellKey(c.cell.base_model, c.cell.pattern): c for c in outcome.choices}
    scores = test_scores(load_experiment("quickstart", shared), choices, options.out, console)
    show(choices, scores)


def test_scores(
    experiment: Experiment,
    by_method: dict[str, dict[CellKey, Choice]],
    out: Path,
    console: Console,
) -> dict[CellKey, dict[float, float]]:
    """Return cell -> rate -> test AUROC, mean over the experiment's seeds; nan if a seed diverged.

    Only the whole grid's rates are tested completely; of other methods only the chosen rate is.
    """
    grid = expand(prepare(experiment))
    specs: dict[tuple[CellKey, float], list[TrialSpec]] = defaultdict(list)
    for cell in grid.cells:
        key = cell.key
        if key not in by_method[WHOLE]:  # the cell cannot exist
            continue
        rates = {tried.config.learning_rate for tried in by_method[WHOLE][key].tried}
        rates |= {rate_of(choices[key]) for choices in by_method.values()}
        for rate in sorted(rates):
            specs[key, rate] = [spec.tuned(rate, {}, {}) for spec in cell.specs]
    results = Results(str(out))
    every = [spec for group in specs.values() for spec in group]
    ledger = read_ledger(results, [spec.trial_id for spec in every])
    left = [spec for spec in every if spec.trial_id not in {*ledger.done, *ledger.failed}]
    if left:
        runner = find_backend("ray")(None, left)
        with Progress(every, ledger.done, console) as progress:
            pretrain_missing(grid, left, runner, progress)
            runner.run(left, grid.dataset, results, ArtifactPolicy(), progress, 1, {})
        runner.close()
    scores: dict[CellKey, dict[float, float]] = defaultdict(dict)
    for (key, rate), group in specs.items():
        records = [results.state(spec.trial_id) for spec in group]
        values = [r.record["metrics"]["auroc"] for r in records if r.state == "done" and r.record]
        scores[key][rate] = float(np.mean(values)) if len(values) == len(group) else np.nan
    return scores


def show(
    by_method: dict[str, dict[CellKey, Choice]], scores: dict[CellKey, dict[float, float]]
) -> None:
    """Print the methods, then every cell under every method, as Markdown."""
    reference = by_method[WHOLE]
    columns = ("method", "trial-epochs", "fewer", "dev regret", "test regret", "gains as 0",
               "worst", "to best")  # fmt: skip
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for method, choices in by_method.items():
        regrets = [regret(reference[key], choices[key], scores[key]) for key in reference]
        dev, test = np.array(regrets).T
        to_best = [np.nanmax([*s.values()]) - s[rate_of(choices[k])] for k, s in scores.items()]
        fewer = epochs_of(reference.values()) / epochs_of(choices.values())
        print(
            f"| {method} | {epochs_of(choices.values()):,} | {fewer:.1f} x | {dev.mean():.4f} "
            f"| {test.mean():.4f} | {test.clip(0).mean():.4f} | {test.max():.3f} "
            f"| {np.mean(to_best):.3f} |"
        )
    print(f"\n| epochs, rate, dev regret, test regret | {' | '.join(by_method)} |")
    print(f"{'|---' * (1 + len(by_method))}|")
    for key in reference:
        texts = []
        for choices in by_method.values():
            dev, test = regret(reference[key], choices[key], scores[key])
            num_epochs, rate = epochs_of([choices[key]]), rate_of(choices[key])
            texts.append(f"{num_epochs}, {rate:g}, {dev:.3f}, {test:.3f}")
        print(f"| {' '.join(key)} | {' | '.join(texts)} |")


def best_of(choice: Choice) -> TriedConfig:
    """Return the chosen config; a cell without a choice cannot be compared."""
    if choice.best is None:
        raise SystemExit(f"{choice.cell.name}: {choice.why}")
    return choice.best


def rate_of(choice: Choice) -> float:
    """Return the chosen rate."""
    return best_of(choice).config.learning_rate


def epochs_of(choices: Iterable[Choice]) -> int:
    """Count the trial-epochs of all tried configs."""
    return sum(tried.epochs for choice in choices for tried in choice.tried)


def regret(reference: Choice, choice: Choice, tested: dict[float, float]) -> tuple[float, float]:
    """Return the loss of a choice against the reference, on dev and on test rows."""
    dev = best_of(reference).score - best_of(choice).score
    return dev, tested[rate_of(reference)] - tested[rate_of(choice)]


if __name__ == "__main__":
    main()
