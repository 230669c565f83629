"""How fast is `xlt predict` beside a plain transformers pipeline, on the same model and rows?

    python benchmarks/predict.py RESULTS TRIAL_ID [--rows 4096]

The trial must have kept its model and be one of the shipped `quickstart`, whose headlines are
tagged, in an order drawn at random, as new texts come. Four ways on one thread: the whole of
`xlt.sweep.predict.run.predict`, csv in and csv out, loading left out; its model side alone; and
`pipeline("text-classification")` with the same classifier, one text at a time (its default) and 64.
Rows a second, the best of `--repeats`, the ratio to the first, and how far scores differ.
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
    """The least seconds of some runs, and what the last one gave."""
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
        outputs = plain(texts, batch_size=batch_size, top_k=None, truncation=True,
                      max_length=max_length)  # fmt: skip
        return np.array(
            [{entry["label"]: entry["score"] for entry in row}["LABEL_1"] for row in outputs]
        )

    with tempfile.TemporaryDirectory() as folder:
        with (Path(folder) / "new.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows([["text"], *([text] for text in texts)])
        number = iter(range(options.repeats))

        def whole() -> np.ndarray:
            out = Path(folder) / f"{next(number)}.csv"
            predict(trial, f"{folder}/new.csv", str(out))  # the base model is loaded by now
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
