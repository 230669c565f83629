"""Measure the driver's cost of thousands of trials, and the time to read their state.

    python benchmarks/scale.py [--trials 1000 10000] [--slots 2]

Trials that compute nothing are scheduled on a local Ray cluster, each way in its own process:

- Tune: `tune.Tuner` over a grid of numbers with warm processes and the settings of `xlt run`, which
  is the cost of Tune itself;
- ours: `TuneBackend.run` with the specs of a grid, its queue, its watcher and plain progress lines.
  Only the computation of the trials is left out.

Then as many finished result folders are created. They are read as `xlt run` reads them before it
starts (`read_ledger`, which verifies every file) and by `xlt status`. Peak memory is that of the
driver. Prints Markdown.

With `--kept` it schedules the first number of trials in our way, and prints the bytes of Python
objects that belong to one finished trial alone: its spec, and what Tune keeps.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import types
from collections import Counter
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests/support"))

WAYS = ("Tune", "ours")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument(
        "--way", choices=WAYS, help="run one way in this process, with the first --trials"
    )
    parser.add_argument("--kept", action="store_true", help="print the bytes of a finished trial")
    options = parser.parse_args()
    if options.kept:
        print_kept(options.trials[0], options.slots)
        return
    if options.way:
        schedule(options.way, options.trials[0], options.slots)
        return
    print(f"{date.today()}, {os.cpu_count()} cores, {options.slots} slots, ray {version('ray')}\n")
    print("| trials | way | wall s | ms a trial | driver's CPU ms a trial | peak MB |")
    print("|---|---|---|---|---|---|")
    for trials in options.trials:
        for way in WAYS:
            arguments = ["--way", way, "--trials", str(trials), "--slots", str(options.slots)]
            done = subprocess.run(
                [sys.executable, __file__, *arguments], capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise SystemExit(done.stderr)
            measured = json.loads(done.stdout.splitlines()[-1])
            wall, cpu = 1000 * measured["wall"] / trials, 1000 * measured["cpu"] / trials
            print(f"| {trials} | {way} | {measured['wall']:.1f} | {wall:.1f} | {cpu:.1f} "
                  f"| {measured['peak']:.0f} |", flush=True)  # fmt: skip
    print("\n| trials | `read_ledger` s | `xlt status` s | again s |\n|---|---|---|---|")
    for trials in options.trials:
        print(f"| {trials} | {' | '.join(f'{s:.1f}' for s in time_reading(trials))} |", flush=True)


def schedule(way: str, trials: int, slots: int) -> None:
    """Schedule in one way in this process, and print seconds and MB as JSON."""
    os.environ.pop("RAY_ADDRESS", None)
    import ray

    from xlt.sweep.on_ray.tune import backend as tune_backend

    ray.init(
        address="local", num_cpus=slots, include_dashboard=False, log_to_driver=False,
        logging_level="ERROR",
    )  # fmt: skip
    wall, cpu = time.perf_counter(), time.process_time()
    if way == "Tune":
        run_tune(trials)
    else:
        run_backend(tune_backend, trials)
    measured = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    measured["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    ray.shutdown()
    print(json.dumps(measured))


def run_tune(trials: int) -> None:
    """Run the trials with Tune alone."""
    from ray import tune

    def run_nothing(config: dict[str, Any]) -> None:
        tune.report({"score": config["index"]})

    with tempfile.TemporaryDirectory() as scratch:
        tune.Tuner(
            tune.with_resources(run_nothing, {"CPU": 1}),
            param_space={"index": tune.grid_search(list(range(trials)))},
            tune_config=tune.TuneConfig(reuse_actors=True),
            run_config=tune.RunConfig(storage_path=scratch, verbose=0),
        ).fit()


def run_backend(tune_backend: Any, trials: int) -> None:
    """Run the backend of `xlt run`, with a function in the workers that computes nothing."""
    from result_folders import make_spec
    from rich.console import Console
    from tiny_data import make_dataset

    from xlt.sweep.backends.artifact_policy import ArtifactPolicy
    from xlt.sweep.driver.progress import Progress
    from xlt.trainables.results.result import Results

    def run_nothing(config: dict[str, Any], shared: dict[str, Any]) -> None:
        from ray import tune

        from xlt.sweep.backends.events import Finished
        from xlt.sweep.on_ray.tune.reports import wrap
        from xlt.sweep.on_ray.worker import fetch_specs

        (member,) = config["members"]
        assert fetch_specs([member], shared["specs"])
        tune.report(wrap(member, Finished({"f1": 0.5, "auroc": 0.5}, {})))

    tune_backend._trainable = run_nothing
    specs = [make_spec("elyza", "ja16", seed) for seed in range(trials)]
    output = io.StringIO()
    with (
        tempfile.TemporaryDirectory() as scratch,
        Progress(specs, [], Console(file=output)) as progress,
    ):
        backend = tune_backend.TuneBackend(None, specs)
        backend.run(specs, make_dataset(), Results(scratch), ArtifactPolicy(), progress, 1, {})
        backend.close()
    assert output.getvalue().count("f1 0.500") == trials


def print_kept(trials: int, slots: int) -> None:
    """Schedule trials, and print the bytes of each part that a finished trial has for itself."""
    from result_folders import make_spec

    from xlt.sweep.on_ray.tune import backend
    from xlt.sweep.on_ray.tune.watcher import Watcher

    ended: list[Any] = []

    class Noting(Watcher):
        def on_trial_complete(
            self, iteration: int, trials: list[Any], trial: Any, **info: Any
        ) -> None:
            super().on_trial_complete(iteration, trials, trial, **info)
            ended.append(trial)

    vars(backend)["Watcher"] = Noting
    schedule("ours", trials, slots)
    parts: Counter[str] = Counter()
    seen: set[int] = set()
    specs = [make_spec("elyza", "ja16", seed) for seed in range(trials)]
    texts = [trial.get_json_state() for trial in ended]
    for number, trial in enumerate(ended):
        own = {"ours: spec": specs[number], "Tune: state as text": texts[number]}
        kept = {**vars(trial.run_metadata), **vars(trial)}
        own |= {f"Tune: {name}": value for name, value in kept.items()}
        for name, value in own.items():
            size = count_bytes(value, seen)
            parts[name] += size if number else 0  # the first one also has all shared parts
    for name, size in parts.most_common(12):
        print(f"| {name} | {size / (len(ended) - 1):.0f} |")
    print(f"| all | {parts.total() / (len(ended) - 1):.0f} |")


def count_bytes(value: Any, seen: set[int]) -> int:
    """Bytes of the objects that a value reaches and that were not seen before."""
    num_bytes, waiting = 0, [value]
    code = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType)
    while waiting:
        current = waiting.pop()
        if id(current) not in seen and not isinstance(current, code):
            seen.add(id(current))
            num_bytes += sys.getsizeof(current)
            waiting += gc.get_referents(current)
    return num_bytes


def time_reading(trials: int) -> list[float]:
    """Return the seconds to read the state of trials: as `xlt run`, and twice by `xlt status`."""
    import report

    from xlt.sweep.planning.ledger import read_ledger
    from xlt.trainables.results.result import Results

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "results"
        report.make_results(folder, trials)
        results = Results(str(folder))
        ids = results.trial_ids()
        start = time.perf_counter()
        ledger = read_ledger(results, ids)
        seconds = [time.perf_counter() - start]
        assert len(ledger.done) == len(ids)
        command = [sys.executable, "-m", "xlt", "status", str(folder)]
        for _ in range(2):
            start = time.perf_counter()
            subprocess.run(
                command, stdout=subprocess.DEVNULL, check=True,
                env={**os.environ, "XLT_CACHE": f"{scratch}/cache"},
            )  # fmt: skip
            seconds.append(time.perf_counter() - start)
        return seconds


if __name__ == "__main__":
    main()
