"""Compare the speed of `xlt predict` with a plain transformers pipeline on the same model and rows.

    python benchmarks/predict.py RESULTS TRIAL_ID [--rows 4096]

The trial must have kept its model and belong to the shipped `quickstart`. Its headlines are tagged
in random order, as new texts would come. Four ways run on one thread: the whole of
`xlt.sweep.predict.run.predict` from csv to csv, without loading; its model part alone; and
`pipeline("text-classification")` with the same classifier, with one text at a time (its default)
and with 64. Prints rows per second (the best of `--repeats`), the ratio to the first way, and the
largest difference of scores.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from transformers import pipeline

from xlt.data.sources.registry import load_dataset
from xlt.sweep.experiment.experiment import load_experiment
from xlt.sweep.predict.run import predict
from xlt.trainables.inference.tagging import Tagger
from xlt.trainables.results.find_trial import find_trial


def timed(run: Callable[[], np.ndarray], repeats: int) -> tuple[float, np.ndarray]:
    """Return the minimum seconds of several runs, and the scores of the last run."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        scores = run()
        seconds.append(time.perf_counter() - start)
    return min(seconds), scores


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results")
    parser.add_argument("trial_id")
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()

    dataset = load_dataset(load_experiment("quickstart", []).data)
    order = np.random.default_rng(0).permutation(len(dataset.table))[: options.rows]
    texts = dataset.table.take(order)["text"].to_pylist()
    trial = find_trial(options.results, options.trial_id)
    tagger = Tagger.load(trial)
    torch.set_num_threads(1)
    max_length = trial.spec.training.max_length
    plain = pipeline(
        "text-classification", model=tagger.model, tokenizer=tagger.base.tokenizer, device="cpu"
    )

    def by_pipeline(batch_size: int) -> np.ndarray:
        predictions = plain(texts, batch_size=batch_size, top_k=None, truncation=True,
                      max_length=max_length)  # fmt: skip
        scores = [{label["label"]: label["score"] for label in row} for row in predictions]
        return np.array([row[tagger.model.config.id2label[1]] for row in scores])

    with tempfile.TemporaryDirectory() as folder:
        with (Path(folder) / "new.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows([["text"], *([text] for text in texts)])
        number = iter(range(options.repeats))

        def whole() -> np.ndarray:
            out = Path(folder) / f"{next(number)}.csv"
            predict(trial, f"{folder}/new.csv", str(out))  # the base model is already loaded
            with out.open(newline="") as stream:
                return np.array([float(row["score"]) for row in csv.DictReader(stream)])

        ways: dict[str, Callable[[], np.ndarray]] = {
            "xlt predict, csv to csv": whole,
            "Tagger.predict": lambda: tagger.predict(texts),
            "pipeline, batch_size=1": lambda: by_pipeline(1),
            "pipeline, batch_size=64": lambda: by_pipeline(64),
        }
        first: tuple[float, np.ndarray] | None = None
        print(f"{trial.trial_id}, {len(texts)} rows, 1 thread")
        for name, run in ways.items():
            seconds, scores = timed(run, options.repeats)
            first = first or (seconds, scores)
            difference = np.abs(scores - first[1]).max()
            print(
                f"{name:25} {len(texts) / seconds:7.0f} rows/s  ratio {first[0] / seconds:5.2f}  "
                f"scores differ by {difference:.1e}"
            )


if __name__ == "__main__":
    main()
