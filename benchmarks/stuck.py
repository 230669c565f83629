"""Measure the accuracy of the verdict "did not train": false alarms and misses.

    python -m benchmarks.stuck --out FILE [--seeds 0 1] [--rates 13] [--set KEY=VALUE]

The thirteen cells of quickstart are trained at learning rates from 1e-6 to 1. Each trial is judged
by ``training_state`` (from its history and the scores of training rows during training). The
verdict is compared with the truth, which the scores of the finished classifier on its own training
rows define, without dropout:

- the trial trained if it ranks them better than chance (AUROC >= .65, one-sided Mann-Whitney test)
  and its mean log score is above that of the labels' frequencies (one-sided paired t-test over
  rows), both at p < .001 (or p < .01 for few rows, which cannot reach less);
- it is stuck if it ranks them no better (AUROC <= .6 or p > .05), or predicts them no better than
  the labels' frequencies do (mean log score no higher), or the loss became nan or infinite;
- all other trials are left out.

A good ranking alone does not prove training. A head that was never trained is a function of the
text, too, and classes differ in their texts. So the verdict by ranking alone is also printed, for
the trials and for classifiers before training. FILE keeps a line per trial, so that an interrupted
run resumes, and a changed verdict is judged without training again.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from scipy.stats import mannwhitneyu, ttest_1samp

from xlt.analysis.trials.training_state import training_state
from xlt.data.core.seeds import derive_seed
from xlt.data.dataset.draws import draw
from xlt.data.dataset.schema import Dataset
from xlt.sweep.backends.registry import find_backend, pretrain_missing
from xlt.sweep.driver.progress import Progress
from xlt.sweep.experiment.experiment import load_experiment
from xlt.sweep.planning.grid import expand
from xlt.sweep.planning.prepare import prepare
from xlt.trainables.loading.base import load_base
from xlt.trainables.loading.head import init_head
from xlt.trainables.loading.tokenize import encode
from xlt.trainables.methods.registry import METHODS
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.classification import fit_classifier
from xlt.trainables.training.convergence import measure_convergence
from xlt.trainables.training.loop import DivergedError, predict

FEW = 32
"""Number of rows up to which a good ranking of balanced classes cannot reach p < .001."""
SMALLEST = 1e-12
"""Smallest probability; smaller ones are raised to it, to keep every log score finite."""
Record = dict[str, Any]


def main() -> None:
    """Train the trials that the file lacks, judge all, and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--rates", type=int, default=13)
    parser.add_argument("--set", action="append", default=[], dest="settings")
    options = parser.parse_args()
    seeds = f"seeds={options.seeds}"
    grid = expand(prepare(load_experiment("quickstart", ["draws=[0]", *options.settings, seeds])))
    specs = [
        spec.tuned(float(f"{rate:.3g}"), {}, {})
        for rate in np.geomspace(1e-6, 1.0, options.rates)
        for spec in grid.specs
    ]
    known = {record["trial_id"]: record for record in read(options.out)}
    left = [spec for spec in specs if spec.trial_id not in known]
    if left:
        runner = find_backend("inline")(None, left)
        with Progress(grid.specs, (), Console(stderr=True)) as progress:
            pretrain_missing(grid, left, runner, progress)
    with options.out.open("a") as file:
        for spec in left:
            known[spec.trial_id] = measure(spec, grid.dataset)
            file.write(json.dumps(known[spec.trial_id]) + "\n")
            file.flush()
    show([known[spec.trial_id] for spec in specs])


def read(file: Path) -> Iterator[Record]:
    """Read the records of an earlier run, without a last line that was cut off."""
    for line in file.read_text().splitlines() if file.exists() else ():
        if line.endswith("}"):
            yield json.loads(line)


def measure(spec: TrialSpec, dataset: Dataset) -> Record:
    """Train a trial, and return the numbers from which verdict and truth are judged."""
    torch.set_num_threads(spec.resources.cpus)
    drawn = draw(dataset, spec.source_lang, spec.pattern, spec.sampling, spec.draw_index)
    rows = dataset.rows(list(drawn.train))
    labels = rows["label"].to_numpy()
    base = load_base(spec, torch.device("cpu"), torch.float32, len(dataset.classes))
    token_ids = encode(base, rows, spec.training.max_length)
    torch.manual_seed(derive_seed(spec.seed, "adapters"))
    init_head(base.model, base.head_modules, derive_seed(spec.seed, "head"))
    model = METHODS[spec.method](base, spec)
    record: Record = {
        "trial_id": spec.trial_id,
        "base_model": spec.base_model,
        "name": f"{spec.base_model} {spec.pattern.name} seed {spec.seed} at {spec.learning_rate}",
        "untrained": evidence(labels, predict(model, token_ids, spec)),
    }
    torch.manual_seed(derive_seed(spec.seed, "dropout"))
    try:
        fitted = fit_classifier(model, token_ids, labels.tolist(), spec, lambda *_: None)
        final = predict(model, token_ids, spec)
    except DivergedError:
        return record
    numbers = measure_convergence(fitted.history, labels, fitted.train_score)
    return record | {"convergence": numbers, "finished": evidence(labels, final)}


def evidence(labels: NDArray[Any], y_score: NDArray[np.float64]) -> dict[str, float]:
    """Describe the scores of a classifier on its training rows, without dropout.

    Returns:
        ``num_rows``; ``auroc`` and ``p_auroc``; ``gain``, the mean log score above that of the
        labels' frequencies (nats), and ``p_gain``; ``std`` of the scores.
    """
    positive, negative = y_score[labels == 1], y_score[labels == 0]
    test = mannwhitneyu(positive, negative, alternative="greater")
    share = labels.mean()
    p_label = np.clip(np.where(labels == 1, y_score, 1 - y_score), SMALLEST, 1)
    gains = np.log(p_label) - np.log(np.where(labels == 1, share, 1 - share))
    return {
        "num_rows": len(labels),
        "auroc": float(test.statistic / (len(positive) * len(negative))),
        "p_auroc": float(test.pvalue),
        "gain": float(gains.mean()),
        "p_gain": float(ttest_1samp(gains, 0, alternative="greater").pvalue),
        "std": float(y_score.std()),
    }


def truth_of(scores: dict[str, float] | None) -> str:
    """Return trained, stuck or between, as defined above; None means a loss that diverged."""
    if scores is None or ranking_of(scores) == "stuck" or scores["gain"] <= 0:
        return "stuck"
    is_sure = scores["p_gain"] < level(scores)
    return "trained" if is_sure and ranking_of(scores) == "trained" else "between"


def ranking_of(scores: dict[str, float]) -> str:
    """Return trained, stuck or between, by the ranking alone."""
    if scores["auroc"] >= 0.65 and scores["p_auroc"] < level(scores):
        return "trained"
    return "stuck" if scores["auroc"] <= 0.6 or scores["p_auroc"] > 0.05 else "between"


def level(scores: dict[str, float]) -> float:
    """Return the significance level."""
    return 0.01 if scores["num_rows"] <= FEW else 0.001


def show(records: Sequence[Record]) -> None:
    """Print the wrong verdicts, then a line per base model and a total, as Markdown."""
    counts: dict[str, Counter[tuple[str, str]]] = {}
    total: Counter[tuple[str, str]] = Counter()
    for record in records:
        numbers, truth = record.get("convergence"), truth_of(record.get("finished"))
        verdict = training_state(numbers)[0] if numbers else "diverged"
        counts.setdefault(record["base_model"], Counter())[verdict, truth] += 1
        total[verdict, truth] += 1
        if (verdict == "trained") != (truth == "trained") and truth != "between":
            print(f"WRONG {record['name']}: says {verdict}, is {truth}: {json.dumps(record)}")
    print("| base model | trained | called stuck or diverged | stuck | called trained | between |")
    print("|---" * 6 + "|")
    for name, verdicts in {**counts, "all": total}.items():
        by_truth: Counter[str] = Counter()
        for (_, truth), number in verdicts.items():
            by_truth[truth] += number
        alarms = by_truth["trained"] - verdicts["trained", "trained"]
        print(
            f"| {name} | {by_truth['trained']} | {_share(alarms, by_truth['trained'])} "
            f"| {by_truth['stuck']} | {_share(verdicts['trained', 'stuck'], by_truth['stuck'])} "
            f"| {by_truth['between']} |"
        )
    ranked = [r for r in records if "finished" in r and ranking_of(r["finished"]) == "trained"]
    alarms = sum(training_state(record["convergence"])[0] != "trained" for record in ranked)
    print(
        f"Trained by the ranking alone: {len(ranked)}, called stuck {_share(alarms, len(ranked))}."
    )
    untrained = {record["name"].split(" at ")[0]: record["untrained"] for record in records}
    aurocs = [scores["auroc"] for scores in untrained.values()]
    by_ranking, by_both = (
        sum(judge(scores) == "trained" for scores in untrained.values())
        for judge in (ranking_of, truth_of)
    )
    print(
        f"{len(untrained)} untrained classifiers: AUROC {min(aurocs):.2f} to {max(aurocs):.2f}; "
        f"trained by the ranking alone: {by_ranking}, with the log score: {by_both}"
    )


def _share(part: int, whole: int) -> str:
    return f"{part} ({part / whole:.1%})" if whole else "-"


if __name__ == "__main__":
    main()
