"""Measure requests and seconds of results in an object store, beside a local disk.

    python benchmarks/object_store.py [--trials 1000]

Saves tiny finished trials into a folder and into moto's S3, a process of its own on the loopback
interface; then reads and verifies all as `xlt run` does, and twice as `xlt status` does, with an
empty cache of verified folders and with that of the reading before. moto answers a few hundred
requests a second on a core, so that the seconds are mostly its own; what a store of one's own takes
is the requests of a trial by its latency, sixteen at a time. Prints Markdown.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests/support"))

from result_folders import make_plan, make_results, make_spec, save_done
from s3_server import ENVIRONMENT, serve_s3

from xlt.trainables.results import verified as cache
from xlt.trainables.results.result import Results
from xlt.trainables.results.verified import read_verified_states


def main() -> None:
    """Save, read, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000)
    num = parser.parse_args().trials
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(there,), daemon=True)
    os.environ |= ENVIRONMENT
    server.start()
    uri = here.recv()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["XLT_CACHE"] = f"{scratch}/cache"
        print("| what | disk s | S3 s | requests a trial |\n|---|---|---|---|")
        places = f"{scratch}/results", uri
        both = [make_results(place, make_plan(seeds=range(num))) for place in places]
        ids = [make_spec("elyza", "ja16", seed).trial_id for seed in range(num)]
        steps: dict[str, Callable[[Results], object]] = {
            "saved": lambda to: [_save(to, seed) for seed in range(num)],
            "read by `xlt run`": lambda to: to.states(ids),
            "read by `xlt status`": lambda to: read_verified_states(to, "test", ids),
            "read again": lambda to: read_verified_states(to, "test", ids),
        }
        for what, step in steps.items():
            time.sleep(cache.SETTLED_SECONDS)
            seconds = []
            for place in both:
                here.send("count")
                here.recv()
                began = time.perf_counter()
                step(place)
                seconds.append(time.perf_counter() - began)
            here.send("count")
            print(f"| {what} | {seconds[0]:.2f} | {seconds[1]:.1f} | {here.recv() / num:.3g} |")
    server.terminate()


def _save(results: Results, seed: int) -> None:
    save_done(results, "elyza", "ja16", seed, {"f1": 0.5, "auroc": 0.75})


def _serve(pipe: Connection) -> None:
    """Serve S3; tells the requests since it was asked last."""
    with serve_s3() as s3:
        pipe.send(s3.bucket())
        while pipe.recv():
            pipe.send(len(s3.asked))
            s3.asked.clear()


if __name__ == "__main__":
    main()
