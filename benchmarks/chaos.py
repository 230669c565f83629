"""Measure what a sweep loses when processes and machines die at random.

The losses are trials, bytes, steps and time.

    python benchmarks/chaos.py [--kills 100] [--minutes 60] [--seed 0]

A sweep of tiny models with random weights (5 cells x 7 seeds) runs on three machines of one slot
each. They are network namespaces with their own addresses, processes and scratch folders, with
token authentication; driver and head are on the first one. The sweep runs once undisturbed. Then
sweeps run one after another under SIGKILL at random, seeded moments, until the number of kills is
reached. The kinds of kills are:

- worker: a process that runs trials, on any machine;
- driver: `xlt run`, which is then restarted;
- raylet: Ray's process on a machine other than the head's, where Ray is then restarted;
- machine: every process of such a machine, which then boots empty and joins again.

The head is not killed here (tests/sweep/test_nodes_lost.py does that). Without root there is one
machine, and only workers and drivers are killed. A trial that loses its process three times in one
run is recorded as failed; `xlt run` is then called again, as a person would do.

Lost steps are steps that were computed twice. Every process counts its optimiser steps, and the
steps in the trials' histories are subtracted. A step that was interrupted does not count.
Checkpoints are at least 0.6 s apart. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import yaml

sys.path.insert(0, str(Path(__file__).parent.parent / "tests/support"))

from network_nodes import network_nodes, wait_until
from repository import ROOT
from result_folders import trial_files
from step_counter import write_counter
from tiny_data import make_dataset, save_tiny_base
from token_cluster import TokenCluster, token_cluster, write_token

from xlt.analysis.tables.report import render_tables
from xlt.analysis.trials.collect import collect
from xlt.sweep.experiment.experiment import load_experiment
from xlt.sweep.planning.grid import expand
from xlt.sweep.planning.prepare import prepare
from xlt.trainables.results.result import Results

PAUSE_SECONDS = (1.0, 10.0)
"""Range of seconds from the first step after a kill to the next kill, drawn uniformly.

A process needs longer than that to start. Kills that did not wait for a step would leave no time to
compute anything.
"""
WEIGHTS = {"worker": 6, "driver": 2, "raylet": 1, "machine": 1}
"""Relative frequency of each kind; if there is no process to kill, another kind is drawn."""
SILENCE_SECONDS = 300
"""Seconds without a step on any machine after which the benchmark fails, because it hangs."""


@dataclass
class Losses:
    """Losses of one or several sweeps.

    Attributes:
        kills: Kills by kind.
        rerun: Finished trials that were run again.
        failed: Trials that failed in a run and were run by the next one.
        runs: Number of calls of `xlt run`.
        sweeps: Number of finished sweeps.
        unequal: Number of sweeps whose tables, or whose files, differ from the undisturbed sweep's.
        computed: Number of computed optimiser steps.
        seconds: Wall time in seconds.
    """

    kills: Counter[str] = field(default_factory=Counter)
    rerun: int = 0
    failed: int = 0
    runs: int = 0
    sweeps: int = 0
    unequal: Counter[str] = field(default_factory=Counter)
    computed: int = 0
    seconds: float = 0.0


def main() -> None:
    """Run undisturbed, run under kills, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument(
        "--minutes", type=float, default=60.0, help="minutes after which nothing is killed"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="xlt-chaos-") as scratch:
        folder = Path(scratch)
        file = write_experiment(folder)
        os.environ |= {
            "OMP_NUM_THREADS": "1", "XLT_STEPS": f"{folder}/steps",
            "PYTHONPATH": f"{write_counter(folder)}:{ROOT}",
        }  # fmt: skip
        num_steps = sum(spec.num_steps for spec in expand(prepare(load_experiment(file))).specs)
        with machines(folder) as cluster:
            sweeps = Sweeps(cluster, file, folder, random.Random(options.seed))
            alone = Losses()
            sweeps.run(alone, 0, 0.0)
            disturbed = Losses()
            sweeps.run(disturbed, options.kills, 60 * options.minutes)
        show(alone, disturbed, num_steps, options.seed)


def write_experiment(folder: Path) -> Path:
    """Write the experiment's file, its data and its base models."""
    dataset = make_dataset()
    pq.write_table(dataset.table, folder / "data.parquet")
    models = []
    for name, method in (("llama", "lora"), ("gpt_neox", "lora"), ("bert", "full")):
        (folder / name).mkdir()
        save_tiny_base(name, dataset.table["text"].to_pylist(), folder / name)
        model = {"name": name, "path": str(folder / name), "learning_rate": 0.01, "method": method}
        models.append(model | ({"languages": ["ja"]} if name == "gpt_neox" else {}))
    values = {
        "name": "chaos",
        "task": {"positive": "news"},
        "data": {
            "source": "table", "path": str(folder / "data.parquet"), "positive": ["1"],
            "columns": {"id": "id", "published": "published"},
        },
        "models": models,
        "patterns": [{"ja0": {"source_rows": 24}}, {"ja8": {"source_rows": 24}}],
        "seeds": list(range(7)),
        "sampling": {"test_rows": 20},
        "training": {"num_train_epochs": 30, "batch_size": 8},
        "storage": {"checkpoint_minutes": 0.01},
    }  # fmt: skip
    (folder / "chaos.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    return folder / "chaos.yaml"


@contextmanager
def machines(folder: Path) -> Iterator[TokenCluster | None]:
    """Start three machines; without root yield None, and `xlt` starts Ray on this machine."""
    if os.geteuid():
        yield None
        return
    with (
        network_nodes(["n1", "n2", "n3"]) as nodes,
        token_cluster(nodes, write_token(folder), "--num-cpus=1") as cluster,
    ):
        yield cluster


class Sweeps:
    """Run sweeps of one experiment, and kill their processes."""

    def __init__(
        self, cluster: TokenCluster | None, file: Path, folder: Path, rng: random.Random
    ) -> None:
        self._cluster, self._file, self._folder, self._rng = cluster, file, folder, rng
        self._steps = folder / "steps"
        self._expected: tuple[str, dict[str, bytes]] | None = None

    def run(self, losses: Losses, num_kills: int, seconds: float) -> None:
        """Run sweeps until the number of kills or the time is reached, but at least one."""
        began, steps = time.monotonic(), self._num_steps()
        while not losses.sweeps or (
            losses.kills.total() < num_kills and time.monotonic() < began + seconds
        ):
            root = self._folder / f"results-{self._expected is not None}-{losses.sweeps}"
            self._sweep(root, losses, num_kills, began + seconds)
            losses.sweeps += 1
            results = Results(str(root))
            outputs = render_tables(collect(results, "chaos")), trial_files(results)
            self._expected = self._expected or outputs
            losses.unequal["tables"] += outputs[0] != self._expected[0]
            losses.unequal["files"] += outputs[1] != self._expected[1]
        losses.seconds = time.monotonic() - began
        losses.computed = self._num_steps() - steps

    def _sweep(self, root: Path, losses: Losses, num_kills: int, deadline: float) -> None:
        """Run one sweep, from its first `xlt run` to its last trial."""
        results = Results(str(root))
        first_seen: dict[Path, int] = {}
        status: int = 1
        while status:
            driver = self._drive(root)
            pause = self._rng.uniform(*PAUSE_SECONDS)
            losses.runs += 1
            next_kill = float("inf")
            last_step, num_steps = time.monotonic(), self._num_steps()
            while driver.poll() is None:
                time.sleep(0.1)
                for trial_id in results.trial_ids():
                    path = Path(results.record_path(trial_id))
                    if not path.exists():
                        continue
                    written = path.stat().st_mtime_ns
                    losses.rerun += first_seen.setdefault(path, written) != written
                    first_seen[path] = written
                if self._num_steps() > num_steps:
                    last_step, num_steps = time.monotonic(), self._num_steps()
                    next_kill = min(next_kill, last_step + pause)
                if time.monotonic() - last_step > SILENCE_SECONDS:
                    raise SystemExit(f"no step for {SILENCE_SECONDS} s: {dict(losses.kills)}")
                now = time.monotonic()
                if now >= next_kill and now < deadline and losses.kills.total() < num_kills:
                    self._kill(driver, losses)
                    next_kill, pause = float("inf"), self._rng.uniform(*PAUSE_SECONDS)
                    num_steps = self._num_steps()
            status = driver.wait()
            errors = (self._folder / "driver.log").read_text()
            losses.failed += errors.count("\nFAILED ")
            if status not in (0, 1, -9, 137) or "Traceback" in errors:
                raise SystemExit(f"`xlt run` ended with status {status}:\n{errors}")

    def _drive(self, root: Path) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", "xlt", "run", str(self._file), "--results", str(root)]
        env = dict(os.environ)
        if self._cluster:
            words = self._cluster.nodes[0].command(*words, "--address", self._cluster.address)
            env = self._cluster.env
        with (self._folder / "driver.log").open("wb") as log:
            return subprocess.Popen(words, env=env, cwd=ROOT, stdout=log, stderr=log)

    def _kill(self, driver: subprocess.Popen[bytes], losses: Losses) -> None:
        """Kill one process or one machine of a random kind."""
        kind = self._rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        if kind == "driver":
            for process in (*psutil.Process(driver.pid).children(recursive=True), driver):
                process.kill()
        elif kind == "worker":
            workers = self._workers(driver)
            if not workers:
                return
            os.kill(self._rng.choice(workers), signal.SIGKILL)
        elif self._cluster is None:
            return
        else:
            node = self._rng.choice(self._cluster.nodes[1:])
            if kind == "machine":
                node.kill()
                node.boot()
            else:
                raylets = node.pids("raylet/raylet ")
                if not raylets:  # it is only starting
                    return
                os.kill(raylets[0], signal.SIGKILL)
                wait_until(lambda: not node.pids("ray start"), 60, "ray start stays")
            self._cluster.start(node)
        losses.kills[kind] += 1

    def _workers(self, driver: subprocess.Popen[bytes]) -> list[int]:
        """Find the processes that run trials."""
        if self._cluster:
            return [p for node in self._cluster.nodes for p in node.pids("ray::ImplicitFunc")]
        children = psutil.Process(driver.pid).children(recursive=True)
        return [p.pid for p in children if "ray::ImplicitFunc" in " ".join(p.cmdline())]

    def _num_steps(self) -> int:
        return self._steps.stat().st_size if self._steps.exists() else 0


def show(alone: Losses, disturbed: Losses, num_steps: int, seed: int) -> None:
    """Print the table."""
    kills, sweeps = disturbed.kills.total(), disturbed.sweeps
    lost = disturbed.computed - num_steps * sweeps
    assert alone.computed == num_steps, (alone.computed, num_steps)
    by_kind = ", ".join(f"{kind} {disturbed.kills[kind]}" for kind in WEIGHTS)
    print(f"{date.today()}, {os.cpu_count()} cores, seed {seed}\n")
    print("| what | |\n|---|---|")
    print(f"| kills | {kills}: {by_kind} |")
    print(f"| sweeps of 35 trials, calls of `xlt run` | {sweeps}, {disturbed.runs} |")
    print(f"| finished trials that ran again | {disturbed.rerun} |")
    print(f"| trials recorded as failed and finished by the next call | {disturbed.failed} |")
    for output in ("tables", "files"):
        equal = "yes" if not disturbed.unequal[output] else f"no, in {disturbed.unequal[output]}"
        print(f"| {output} equal to those of an undisturbed sweep, byte by byte | {equal} |")
    print(f"| optimiser steps computed twice | {lost} of {num_steps * sweeps} |")
    print(f"| optimiser steps computed twice, per kill | {lost / max(1, kills):.1f} |")
    print(f"| wall s a sweep | {disturbed.seconds / sweeps:.0f} |")
    print(f"| wall s an undisturbed sweep | {alone.seconds:.0f} |")


if __name__ == "__main__":
    main()
