"""Measure how busy a cluster's GPUs are while trials wait for them.

    python benchmarks/utilisation.py [--nodes 8] [--gpus 8] [--seeds 30] [--second 0.1]

A Ray cluster of several nodes runs on this machine (ray.cluster_utils) with logical GPUs. The grid
is that of the paper with more seeds: 7B decoders on a whole GPU and encoders on a quarter of one,
side by side. Trials sleep for the time that they might take on a GPU, scaled by --second. It
depends on the pattern, has a small random part, and includes loading if the process had another
base before. Only the computation of the trials is left out; the order, the queue and Tune are those
of `xlt run`.

- busy: GPU time of trials over GPU time of the cluster, from the moment when half of the GPUs work
  (a hundred processes start slowly on few cores) until no trial waits;
- end: time from then until the last trial ends, over the longest trial; 1 is the optimum;
- whole: GPU time of trials over GPU time of the cluster, from the first start to the last end.

All are measured for two orders: ours, and the grid's own, model by model as the experiment lists
them. Prints Markdown.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import sys
import tempfile
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests/support"))

import ray
from ray.cluster_utils import Cluster
from result_folders import make_spec
from rich.console import Console
from tiny_data import make_dataset

from xlt.sweep.backends.artifact_policy import ArtifactPolicy
from xlt.sweep.driver.progress import Progress
from xlt.sweep.on_ray.tune import backend as tune_backend
from xlt.sweep.planning.launch_order import sort_for_launch
from xlt.trainables.results.result import Results
from xlt.trainables.spec.resources import Resources
from xlt.trainables.spec.trial_spec import TrialSpec

MODELS = {
    "mbert": (0.25, 30.0, 0.4, 3.0),
    "bert-ja": (0.25, 30.0, 0.4, 3.0),
    "opencalm": (1.0, 50.0, 14.0, 15.0),
    "elyza": (1.0, 60.0, 14.0, 15.0),
    "llama2": (1.0, 60.0, 14.0, 15.0),
}
"""Name -> (GPUs, seconds of the longest trial, GB of weights, seconds to load).

These are guesses of the size that the operations of such trials suggest.
"""
PATTERNS = {"ja0": 0.8, "ja16": 0.85, "ja104": 1.0}


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument(
        "--second", type=float, default=0.1, help="seconds that a simulated second lasts"
    )
    options = parser.parse_args()
    specs = [
        make_spec(model, pattern, seed).model_copy(
            update={"base_identity": model, "resources": Resources(gpus=MODELS[model][0])}
        )
        for model in MODELS
        for pattern in PATTERNS
        for seed in range(options.seeds)
    ]
    print(
        f"{date.today()}, {options.nodes} nodes x {options.gpus} GPUs, {len(specs)} trials, "
        f"{options.second:g} s a second, {os.cpu_count()} cores, ray {version('ray')}\n"
    )
    print("| order | busy | end | whole | wall s | loads |\n|---|---|---|---|---|---|")
    orders = {
        "ours": sort_for_launch(specs, lambda spec: MODELS[spec.base_model][2]),
        "as listed": specs,
    }
    for name, order in orders.items():
        print(f"| {name} | {simulate(order, options)} |", flush=True)


def simulate(specs: list[TrialSpec], options: argparse.Namespace) -> str:
    """Run one order on a new cluster, and return the cells of its table row."""
    cluster = Cluster()
    for _ in range(options.nodes):
        cluster.add_node(
            num_cpus=4 * options.gpus, num_gpus=options.gpus, object_store_memory=80_000_000
        )
    ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
    with tempfile.TemporaryDirectory() as scratch:
        tune_backend._trainable = sleeper(scratch, options.second)
        with Progress(specs, [], Console(file=io.StringIO())) as progress:
            backend = tune_backend.TuneBackend(None, specs)
            backend.run(specs, make_dataset(), Results(scratch), ArtifactPolicy(), progress, 1, {})
        files = Path(scratch).glob("*.jsonl")
        spans = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    ray.shutdown()
    cluster.shutdown()
    assert len(spans) == len(specs)
    return measure(spans, options.nodes * options.gpus)


def sleeper(folder: str, second: float) -> Any:
    """Make the function that Tune calls instead of a trial."""
    models, patterns = MODELS, PATTERNS

    def sleep(config: dict[str, Any], shared: dict[str, Any]) -> None:
        import builtins

        from ray import tune

        from xlt.sweep.backends.events import Finished
        from xlt.sweep.on_ray.tune.reports import wrap
        from xlt.sweep.on_ray.worker import fetch_specs

        (member,) = config["members"]
        (spec,) = fetch_specs([member], shared["specs"])
        gpus, longest, _, load = models[spec.base_model]
        chance = random.Random(spec.trial_id).uniform(0.9, 1.1)
        is_loaded = getattr(builtins, "base", "") == spec.base_model
        vars(builtins)["base"] = spec.base_model  # kept in this process, like a loaded base model
        start = time.time()
        seconds = longest * patterns[spec.pattern.name] * chance + (0 if is_loaded else load)
        time.sleep(seconds * second)
        line = json.dumps([start, time.time(), gpus, not is_loaded])
        with Path(folder, f"{os.getpid()}.jsonl").open("a") as file:
            file.write(line + "\n")
        tune.report(wrap(member, Finished({"f1": 0.5}, {})))

    return sleep


def measure(spans: list[list[float]], num_gpus: int) -> str:
    """Return the cells of a table row, from (start, end, GPUs, loaded) of each trial."""
    first, last = min(s[0] for s in spans), max(s[1] for s in spans)
    nothing_waits = max(s[0] for s in spans)
    changes = sorted([(s[0], s[2]) for s in spans] + [(s[1], -s[2]) for s in spans])
    working, warm = 0.0, first
    for moment, gpus in changes:
        working += gpus
        if working >= num_gpus / 2:
            warm = moment
            break
    busy = _gpu_seconds(spans, warm, nothing_waits) / (nothing_waits - warm) / num_gpus
    whole = _gpu_seconds(spans, first, last) / (last - first) / num_gpus
    end = (last - nothing_waits) / max(s[1] - s[0] for s in spans)
    loads = sum(bool(s[3]) for s in spans)
    return f"{busy:.1%} | {end:.2f} | {whole:.1%} | {last - first:.0f} | {loads}"


def _gpu_seconds(spans: list[list[float]], start: float, end: float) -> float:
    return sum(max(0.0, min(s[1], end) - max(s[0], start)) * s[2] for s in spans)


if __name__ == "__main__":
    main()
