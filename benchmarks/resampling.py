"""Compare resampling of all trials of a grid at once with scikit-learn in a loop.

    python benchmarks/resampling.py [--trials 39] [--items 512] [--resamples 10000] [--loop 300]

It computes F1 and AUROC of every trial on every resample, on one core. The usual way draws rows and
calls scikit-learn for each trial and resample. It is timed for `--loop` resamples of one trial, and
the rest is extrapolated, as the output says. Both ways use the same resamples in that part, and the
largest difference of their values is printed. Prints Markdown.
"""

from __future__ import annotations

import argparse
import platform
import time

import numpy as np
from sklearn import metrics as sk
from threadpoolctl import threadpool_limits

from xlt.analysis.uncertainty.resampling import item_weights
from xlt.trainables.metrics.arrays import THRESHOLD, Scores
from xlt.trainables.metrics.registry import resampled_metrics


def main() -> None:
    """Measure ours on all resamples, and the usual way on a part of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=39)
    parser.add_argument("--items", type=int, default=512)
    parser.add_argument("--resamples", type=int, default=10_000)
    parser.add_argument("--loop", type=int, default=300)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    y_true = np.repeat([0, 1], options.items // 2).astype(np.int8)
    scores = 1 / (1 + np.exp(-rng.standard_normal((options.trials, len(y_true))) - y_true + 0.5))
    with threadpool_limits(1):
        start = time.process_time()
        weights = item_weights(y_true, options.resamples, 0)
        drawn = time.process_time() - start
        seconds, values = {}, {}
        for metric in ("f1", "auroc"):
            start = time.process_time()
            values[metric] = resampled_metrics(2)[metric].weighted(y_true, scores, weights)
            seconds[metric] = time.process_time() - start
        num = min(options.loop, options.resamples)
        rows = [np.repeat(np.arange(len(y_true)), c.astype(int)) for c in weights.T[:num]]
        usual, loop_values = run_loop(y_true, scores[0], rows)
    factor = options.trials * options.resamples / num
    print(
        f"{options.trials} trials x {len(y_true)} rows x {options.resamples} resamples, one core, "
        f"{platform.machine()}, numpy {np.__version__}\n\n"
        "| metric | ours, CPU s "
        f"| scikit-learn in a loop, CPU s (from {num} resamples of one trial) | ratio "
        "| largest difference |\n|---|---|---|---|---|"
    )
    for metric, elapsed in seconds.items():
        loop, largest = (
            usual[metric] * factor,
            np.abs(loop_values[metric] - values[metric][0, :num]).max(),
        )
        print(f"| {metric} | {elapsed:.2f} | {loop:.0f} | {loop / elapsed:.0f} | {largest:.1e} |")
    ours, loops = sum(seconds.values()) + drawn, sum(usual.values()) * factor
    print(f"| both, with drawing | {ours:.2f} | {loops:.0f} | {loops / ours:.0f} | |")


def run_loop(
    y_true: np.ndarray, score: Scores, rows: list[np.ndarray]
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Return the seconds and values of scikit-learn on rows that were drawn before."""
    calls = {
        "f1": lambda y, s: sk.f1_score(y, s >= THRESHOLD, zero_division=0.0),
        "auroc": sk.roc_auc_score,
    }
    seconds, values = {}, {}
    for metric, call in calls.items():
        start = time.process_time()
        values[metric] = np.array([call(y_true[drawn], score[drawn]) for drawn in rows])
        seconds[metric] = time.process_time() - start
    return seconds, values


if __name__ == "__main__":
    main()
