"""Measure what thousands of trials cost the driver, and how long their result folders take to read.

    python benchmarks/scale.py [--trials 1000 10000] [--slots 2]

Trials that do nothing are scheduled on a local Ray cluster, each way in a process of its own:

- Tune: `tune.Tuner` over a grid of numbers, warm processes, with the settings that `xlt run` sets:
  what a slot of Tune costs by itself;
- ours: `TuneBackend.run` with the specs of a grid, its queue, its watcher and plain progress lines;
  only what a trial computes is left out.

Then as many finished result folders are made, and read as `xlt run` reads them before it starts
(`read_ledger`: every file verified) and by `xlt status`. Peak memory is that of the driver. Prints
Markdown.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
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
    parser.add_argument("--way", choices=WAYS, help="one, in this process, with the first --trials")
    options = parser.parse_args()
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
            took = json.loads(done.stdout.splitlines()[-1])
            each, cpu = 1000 * took["wall"] / trials, 1000 * took["cpu"] / trials
            print(f"| {trials} | {way} | {took['wall']:.1f} | {each:.1f} | {cpu:.1f} "
                  f"| {took['peak']:.0f} |", flush=True)  # fmt: skip
    print("\n| trials | `read_ledger` s | `xlt status` s | again s |\n|---|---|---|---|")
    for trials in options.trials:
        print(f"| {trials} | {' | '.join(f'{s:.1f}' for s in read(trials))} |", flush=True)


def schedule(way: str, trials: int, slots: int) -> None:
    """One way in this process; prints seconds and MB as JSON."""
    os.environ.pop("RAY_ADDRESS", None)
    import ray

    from xlt.sweep.on_ray.tune import backend as tune_backend

    ray.init(
        address="local", num_cpus=slots, include_dashboard=False, log_to_driver=False,
        logging_level="ERROR",
    )  # fmt: skip
    wall, cpu = time.perf_counter(), time.process_time()
    if way == "Tune":
        bare(trials)
    else:
        ours(tune_backend, trials)
    took = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    took["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    ray.shutdown()
    print(json.dumps(took))


def bare(trials: int) -> None:
    """Tune with nothing of ours."""
    from ray import tune

    def nothing(config: dict[str, Any]) -> None:
        tune.report({"score": config["index"]})

    with tempfile.TemporaryDirectory() as scratch:
        tune.Tuner(
            tune.with_resources(nothing, {"CPU": 1}),
            param_space={"index": tune.grid_search(list(range(trials)))},
            tune_config=tune.TuneConfig(reuse_actors=True),
            run_config=tune.RunConfig(storage_path=scratch, verbose=0),
        ).fit()


def ours(tune_backend: Any, trials: int) -> None:
    """The backend of `xlt run`; only the function that Tune calls in a worker does nothing."""
    from result_folders import make_spec
    from rich.console import Console
    from tiny_data import make_dataset

    from xlt.sweep.backends.worker import ArtifactPolicy
    from xlt.sweep.driver.progress import Progress
    from xlt.trainables.results.result import Results

    def nothing(config: dict[str, Any], shared: dict[str, Any]) -> None:
        from ray import tune

        from xlt.sweep.backends.events import Finished
        from xlt.sweep.on_ray.tune.reports import wrap
        from xlt.sweep.on_ray.worker import fetch_specs

        (member,) = config["members"]
        assert fetch_specs([member], shared["specs"])
        tune.report(wrap(member, Finished({"f1": 0.5, "auroc": 0.5}, {})))

    tune_backend._trainable = nothing
    specs = [make_spec("elyza", "ja16", seed) for seed in range(trials)]
    output = io.StringIO()
    with (
        tempfile.TemporaryDirectory() as scratch,
        Progress(specs, [], Console(file=output)) as shown,
    ):
        backend = tune_backend.TuneBackend(None, specs)
        backend.run(specs, make_dataset(), Results(scratch), ArtifactPolicy(), shown, 1)
        backend.close()
    assert output.getvalue().count("f1 0.500") == trials


def read(trials: int) -> list[float]:
    """Seconds to see what is done: as `xlt run` does, and by `xlt status` twice."""
    import report

    from xlt.sweep.planning.ledger import read_ledger
    from xlt.trainables.results.result import Results

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "results"
        report.make(folder, trials)
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
