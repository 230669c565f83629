"""Measure results in an object store: requests and seconds, next to a local disk.

    python benchmarks/object_store.py [--trials 1000]

Tiny finished trials are saved into a folder and into moto's S3, which is a process on the loopback
interface. Then all trials are read and verified as `xlt run` does, and twice as `xlt status` does:
with an empty cache of verified folders, and with the cache of the first reading. moto answers only
a few hundred requests per second on a core, so the seconds are mostly its own. For another store,
multiply the requests per trial by its latency and divide by sixteen parallel requests. Prints
Markdown.
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

from xlt.data.core.user_cache import SETTLED_SECONDS
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
            "saved": lambda to: _save(to, num),
            "read by `xlt run`": lambda to: to.states(ids),
            "read by `xlt status`": lambda to: read_verified_states(to, "test", ids),
            "read again": lambda to: read_verified_states(to, "test", ids),
        }
        for name, step in steps.items():
            time.sleep(SETTLED_SECONDS)
            seconds = []
            for place in both:
                here.send("count")
                here.recv()
                start = time.perf_counter()
                step(place)
                seconds.append(time.perf_counter() - start)
            here.send("count")
            print(f"| {name} | {seconds[0]:.2f} | {seconds[1]:.1f} | {here.recv() / num:.3g} |")
    server.terminate()


def _save(results: Results, num: int) -> None:
    for seed in range(num):
        save_done(results, "elyza", "ja16", seed, {"f1": 0.5, "auroc": 0.75})


def _serve(pipe: Connection) -> None:
    """Serve S3, and send the number of requests since the last count."""
    with serve_s3() as s3:
        pipe.send(s3.bucket())
        while pipe.recv():
            pipe.send(len(s3.asked))
            s3.asked.clear()


if __name__ == "__main__":
    main()
