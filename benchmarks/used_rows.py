"""Measure full fine-tuning of a base model with all embedding rows, and with those that occur.

    python benchmarks/used_rows.py FOLDER TEXTS.parquet

FOLDER holds a base model, and TEXTS a table with the columns text and label (0 or 1). Both ways are
trained in one process on one thread, with the same rows.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "tests/support"))

from dry_run_specs import make_spec

from xlt.trainables.loading.base import Base, load_base
from xlt.trainables.loading.tokenize import tokenize
from xlt.trainables.methods.full import build
from xlt.trainables.methods.used_rows import restore_all_rows, train_used_rows
from xlt.trainables.training.classification import fit_classifier
from xlt.trainables.training.loop import predict

NUM_ROUNDS = 3
NUM_STEPS = 8


def read_peak_bytes() -> int:
    """Return the highest resident memory since :func:`reset_peak` (Linux)."""
    status = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def reset_peak() -> None:
    """Free what can be freed, and restart the count of the peak (Linux, man 5 proc)."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")


def train(
    base: Base, spec: Any, texts: list[list[int]], labels: list[int], is_plain: bool
) -> tuple[float, float, int, Any]:
    """Return CPU seconds of a step and of restoring all rows, the peak in bytes, and scores."""
    reset_peak()
    torch.manual_seed(0)
    model = build(base, spec)
    if not is_plain:
        train_used_rows(model, base.model, texts)
    start = time.process_time()
    fitted = fit_classifier(model, texts, labels, spec, lambda *_: None)
    trained = time.process_time()
    rates = fitted.history["learning_rate"].to_pylist()
    restore_all_rows(model, rates, spec.training.weight_decay, fitted.kept_steps)
    restored = time.process_time()
    scores = predict(model, texts[:64], spec)
    return (trained - start) / len(rates), restored - trained, read_peak_bytes(), scores


def main() -> None:
    """Train both ways in turn, and print a line for each run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("texts", type=Path)
    arguments = parser.parse_args()
    spec = make_spec("full")
    path = str(arguments.folder.absolute())
    spec = spec.model_copy(update={"base_path": path, "base_identity": f"folder:{path}"})
    torch.set_num_threads(1)
    base = load_base(spec, torch.device("cpu"), torch.float32)
    table = pq.read_table(arguments.texts).slice(0, NUM_STEPS * spec.training.batch_size)
    texts, _ = tokenize(base, table["text"].to_pylist(), None, spec.training.max_length)
    labels = table["label"].to_pylist()
    used = {token for text in texts for token in text}
    mean = sum(map(len, texts)) / len(texts)
    print(f"{len(used):,} of {base.vocabulary:,} rows, {mean:.0f} tokens a text")
    reset_peak()
    print(f"before: {read_peak_bytes() / 2**30:.2f} GiB")
    scores = []
    for _ in range(NUM_ROUNDS):
        for is_plain in (False, True):
            step, restoring, peak, score = train(base, spec, texts, labels, is_plain)
            scores.append(score)
            name = "all rows " if is_plain else "used rows"
            print(
                f"{name} {step:.2f} CPU s a step, {restoring:.2f} to restore, "
                f"peak {peak / 2**30:.2f} GiB"
            )
    assert all((score == scores[0]).all() for score in scores)


if __name__ == "__main__":
    main()
