"""How right the verdict "did not train" is: false alarms and misses over learning rates.

    python benchmarks/stuck.py [--seeds 2] [--rates 13] [--set KEY=VALUE]

Trains the thirteen cells of quickstart at learning rates from 1e-6 to 1, judges each trial by
``analysis.training_state`` (its history and the scores that training rows had while they were
trained on), and compares with what the finished classifier does on its own training rows, dropout
off: it trained if it ranks them better than chance beyond doubt (AUROC >= .65, one-sided
Mann-Whitney p < .001; few rows cannot show more than p < .01), it is stuck if it does not (AUROC <=
.6 or p > .05); what lies between is left out. A loss that stopped being finite counts as found.
"""

from __future__ import annotations

import argparse
from collections import Counter
from typing import Any

import numpy as np
import torch
from rich.console import Console
from scipy.stats import mannwhitneyu

from analysis.training_state import training_state
from data.draws import draw
from data.schema import Dataset
from data.seeds import derive_seed
from sweep.backends import find_backend, pretrain_missing
from sweep.experiment import load_experiment
from sweep.grid import expand
from sweep.progress import Progress
from trainables.convergence import convergence
from trainables.loading import init_head, load_base
from trainables.loop import DivergedError, fit_classifier, predict
from trainables.methods import METHODS
from trainables.spec import TrialSpec
from trainables.tokenize import encode

FEW = 32
"""Rows below which p < .001 is out of reach for a good ranking of balanced classes."""


def main() -> None:
    """Train, judge, count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--rates", type=int, default=13)
    parser.add_argument("--set", action="append", default=[], dest="settings")
    options = parser.parse_args()
    seeds = f"seeds={list(range(options.seeds))}"
    grid = expand(load_experiment("quickstart", [*options.settings, seeds]))
    runner = find_backend("inline")(None)
    with Progress(grid.specs, (), Console(stderr=True)) as progress:
        pretrain_missing(grid, grid.specs, runner, progress)
    counts: dict[str, Counter[tuple[str, str]]] = {}
    for rate in np.geomspace(1e-6, 1.0, options.rates):
        for spec in grid.specs:
            tuned = spec.tuned(float(f"{rate:.3g}"), {}, {})
            found, truth, told = judge(tuned, grid.dataset)
            counts.setdefault(spec.base_model, Counter())[found, truth] += 1
            if (found == "trained") != (truth == "trained") and truth != "between":
                name = f"{spec.base_model} {spec.pattern.name} seed {spec.seed}"
                print(f"WRONG {name} at {rate:.3g}: says {found}, is {truth}: {told}", flush=True)
    show(counts)


def judge(spec: TrialSpec, dataset: Dataset) -> tuple[str, str, str]:
    """(verdict, truth, numbers) of one trial."""
    torch.set_num_threads(spec.resources.cpus)
    drawn = draw(dataset, spec.source_lang, spec.pattern, spec.sampling, spec.draw_index)
    rows = dataset.rows(list(drawn.train))
    labels = rows["label"].to_numpy()
    base = load_base(spec, torch.device("cpu"), torch.float32, len(dataset.classes))
    token_ids = encode(base, rows, spec.data_fingerprint, spec.training.max_length)
    torch.manual_seed(derive_seed(spec.seed, "adapters"))
    init_head(base.model, base.head_modules, derive_seed(spec.seed, "head"))
    model = METHODS[spec.method](base, spec)
    torch.manual_seed(derive_seed(spec.seed, "dropout"))
    try:
        history, y_score = fit_classifier(model, token_ids, labels.tolist(), spec, lambda *_: None)
        final = predict(model, token_ids, spec)
    except DivergedError as error:
        return "diverged", "stuck", str(error)
    numbers = convergence(history, labels, y_score)
    return training_state(numbers)[0], truth_of(labels, final), str(numbers)


def truth_of(labels: np.ndarray[Any, Any], y_score: np.ndarray[Any, Any]) -> str:
    """trained, stuck or between, by the finished classifier's scores of its training rows."""
    positive, negative = y_score[labels == 1], y_score[labels == 0]
    test = mannwhitneyu(positive, negative, alternative="greater")
    auroc = test.statistic / (len(positive) * len(negative))
    if auroc >= 0.65 and test.pvalue < (0.01 if len(labels) <= FEW else 0.001):
        return "trained"
    return "stuck" if auroc <= 0.6 or test.pvalue > 0.05 else "between"


def show(counts: dict[str, Counter[tuple[str, str]]]) -> None:
    """A line a base model, and all."""
    total: Counter[tuple[str, str]] = Counter()
    for one in counts.values():
        total += one
    print(
        f"{'base model':16} {'trained':>8} {'false alarms':>13} {'stuck':>6} {'missed':>8} between"
    )
    for name, one in {**counts, "all": total}.items():
        by_truth = Counter({t: sum(n for (_, u), n in one.items() if u == t) for _, t in one})
        alarms = sum(n for (f, t), n in one.items() if t == "trained" and f != "trained")
        missed = one["trained", "stuck"]
        print(
            f"{name:16} {by_truth['trained']:8} {_share(alarms, by_truth['trained']):>13} "
            f"{by_truth['stuck']:6} {_share(missed, by_truth['stuck']):>8} {by_truth['between']:7}"
        )


def _share(part: int, whole: int) -> str:
    return f"{part} ({part / whole:.1%})" if whole else "-"


if __name__ == "__main__":
    main()
