"""Compare seconds of an optimiser step with the estimate of `xlt check` at full utilisation.

    python benchmarks/step_time.py

The last column is the share of the measured speeds that training reached. CPU_UTILISATION and
CALL_FACTOR in sweep/check/time.py are chosen from it.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from statistics import median

import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "tests/support"))

from dry_run_specs import HEADS, ROWS, make_spec
from tiny_checkpoints import make_classifier, make_measured_config

from xlt.sweep.check.time import CALL_FACTOR
from xlt.trainables.estimates.dry_run import dry_run
from xlt.trainables.estimates.flops import count_training_flops
from xlt.trainables.estimates.throughput import measure_throughput
from xlt.trainables.loading.base import Base
from xlt.trainables.methods.registry import METHODS
from xlt.trainables.training.classification import fit_classifier

LENGTH = 32
NUM_STEPS = 5


def step_share(architecture: str, size: str, method: str) -> float:
    """Print estimated and measured seconds of a step, and return their ratio."""
    config, spec = make_measured_config(architecture, size), make_spec(method)
    run = dry_run(spec, config, device="cpu", rows=ROWS, length=LENGTH)
    speed = measure_throughput("cpu", tokens=ROWS * LENGTH, width=config.hidden_size)
    base = Base(tokenizer=None, model=make_classifier(config), head_modules=HEADS[architecture])
    model = METHODS[method](base, spec)

    def seconds(num_steps: int) -> float:
        ids, labels = [[5] * LENGTH] * (num_steps * ROWS), [0, 1] * (num_steps * ROWS // 2)
        start = time.perf_counter()
        fit_classifier(model, ids, labels, spec, lambda *_: None)
        return (time.perf_counter() - start) / num_steps

    seconds(1)
    measured = seconds(NUM_STEPS)
    computing = count_training_flops(run.matrices, [LENGTH] * ROWS) / speed.flops
    starting = CALL_FACTOR * run.num_calls * speed.call_seconds
    share = (computing + starting) / measured
    print(
        f"{architecture:9} {size:7} {method:5} measured {1e3 * measured:7.1f} ms, "
        f"computing {1e3 * computing:7.1f}, starting {1e3 * starting:6.1f}, share {share:.2f}"
    )
    return share


def main() -> None:
    """Measure all architectures, sizes and methods in one thread."""
    torch.set_num_threads(1)
    shares = [
        step_share(architecture, size, method)
        for architecture in HEADS
        for size in ("tiny", "middle")
        for method in ("full", "lora")
    ]
    print(f"share: median {median(shares):.2f}, {min(shares):.2f} to {max(shares):.2f}")


if __name__ == "__main__":
    main()
