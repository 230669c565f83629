"""Compute the minimum cost of the paper's grid: operations, bytes, and the seconds they take.

    python benchmarks/roofline.py [--gpu H100] [--utilisation 0.4] [--price 3] [--members 1 3 6]

Nothing is trained and no GPU is needed. Each base model is built without content, and its matrices
are counted (trainables/estimates/flops.py). Every text has --mean-tokens tokens and no padding.

- An optimiser step takes the longer of two times: its operations at the GPU's peak, and the reading
  of the weights, once forward and once backward. Full fine-tuning also writes and reads gradients,
  and reads and writes AdamW's weights and two moments in fp32. Activations stay on the chip or are
  small in comparison. The members of a pack share the reading.
- The minimum time of a trial is the time of its steps and test rows, and of reading the base once
  from the node's disk (--disk GB/s), which all trials of the base share.
- Scaling: trials run at --utilisation of the peak. The longest trial starts first, on the GPU that
  is free first. A GPU reads a base if its last trial had another one.

Prints Markdown.
"""

from __future__ import annotations

import argparse
import heapq
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from gpu_models import FAMILIES
from paper_grid import MODELS

from xlt.sweep.check.gpu_types import find_bf16_flops
from xlt.trainables.estimates.dry_run import dry_run
from xlt.trainables.estimates.flops import count_prediction_flops, count_training_flops
from xlt.trainables.spec.trial_spec import TrialSpec

BANDWIDTH = {"A100": 2.0e12, "H100": 3.35e12, "H200": 4.8e12}
"""Memory bandwidth of the GPU in bytes per second (NVIDIA's data sheets, SXM)."""
ROWS = {"ja0": 1024, "ja16": 1024 + 16, "ja104": 1024 + 104}
"""Training rows of each pattern (paper, section 3.2); Japanese models have only ja16 and ja104."""
MONOLINGUAL = ("opencalm", "bert-ja")
EPOCHS, BATCH_SIZE, TEST_ROWS, SEEDS = 10, 16, 512, 3


@dataclass(frozen=True)
class Cost:
    """Cost of one trial.

    Attributes:
        flops: Operations of its training and test rows.
        step_flops: Operations of a step.
        step_bytes: Bytes that a step of this trial alone moves.
        num_steps: Number of steps.
        weights: Bytes of the base model.
    """

    flops: float
    step_flops: float
    step_bytes: float
    num_steps: int
    weights: float


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gpu", choices=list(BANDWIDTH), default="H100")
    parser.add_argument("--mean-tokens", type=int, default=25)
    parser.add_argument(
        "--utilisation", type=float, default=0.4, help="share of the peak, for scaling"
    )
    parser.add_argument("--disk", type=float, default=3.0, help="GB per second")
    parser.add_argument("--price", type=float, default=3.0, help="price of a GPU hour")
    parser.add_argument("--members", type=int, nargs="+", default=[1, 3, 6])
    options = parser.parse_args()
    peak, bandwidth = find_bf16_flops(options.gpu), BANDWIDTH[options.gpu]
    cells = {
        (name, pattern): count_cost(name, rows, options.mean_tokens)
        for name in MODELS
        for pattern, rows in ROWS.items()
        if not (name in MONOLINGUAL and pattern == "ja0")
    }
    print(f"{options.gpu}: {peak / 1e12:.0f} TFLOP/s, {bandwidth / 1e12:.2f} TB/s; "
          f"{options.mean_tokens} tokens a text\n")  # fmt: skip
    print("| base model | TFLOP a step | ms at the peak | GB a step | ms to read | PFLOP a trial |")
    print("|---|---|---|---|---|---|")
    for name in MODELS:
        cost = cells[name, "ja104"]
        print(f"| {name} | {cost.step_flops / 1e12:.2f} | {1e3 * cost.step_flops / peak:.2f} "
              f"| {cost.step_bytes / 1e9:.1f} | {1e3 * cost.step_bytes / bandwidth:.2f} "
              f"| {cost.flops / 1e15:.2f} |")  # fmt: skip
    trials = [(name, cost) for (name, _), cost in cells.items() for _ in range(SEEDS)]
    total = sum(cost.flops for _, cost in trials)
    print(f"\n{len(trials)} trials, {total / 1e15:.0f} PFLOP, {total / peak:.0f} s at the peak\n")
    print("| members of a pack | floor of the grid s |\n|---|---|")
    reading = sum({name: cost.weights for name, cost in trials}.values()) / options.disk / 1e9
    for members in options.members:
        steps = sum(minimum_seconds(cost, peak, bandwidth, members) for _, cost in trials)
        print(f"| {members} | {steps + reading:.0f} |")
    print(f"\nat {options.utilisation:g} of the peak, {options.price:g} a GPU hour\n")
    print("| GPUs | s | of ideal | price |\n|---|---|---|---|")
    speed = options.utilisation * peak
    single = makespan(trials, 1, speed, options.disk)
    for gpus in (1, 2, 4, 8, 16, 32, 64):
        seconds = makespan(trials, gpus, speed, options.disk)
        price = gpus * seconds / 3600 * options.price
        print(f"| {gpus} | {seconds:.0f} | {single / seconds / gpus:.0%} | {price:.2f} |")


def count_cost(name: str, rows: int, mean_tokens: int) -> Cost:
    """Count the cost of one trial of a base model."""
    family, vocabulary = MODELS[name]
    config_class, sizes, method, _ = FAMILIES[family]
    config = config_class(**{**sizes, "vocab_size": vocabulary}, pad_token_id=0)
    config.num_labels, config.use_cache, config.sep_token_id = 2, False, None
    spec = TrialSpec.parse(
        {
            "base_model": name, "base_identity": name, "base_path": name, "method": method,
            "source_lang": "en", "learning_rate": 1e-4, "seed": 0, "data_fingerprint": "",
            "pattern": {"name": "x", "target_lang": "ja", "target_rows": 0, "source_rows": rows},
            "sampling": {"test_rows": TEST_ROWS},
            "training": {"num_train_epochs": EPOCHS, "batch_size": BATCH_SIZE},
        }
    )  # fmt: skip
    run = dry_run(spec, config, device="cuda", rows=BATCH_SIZE, length=mean_tokens)
    step = count_training_flops(run.matrices, [mean_tokens] * BATCH_SIZE)
    tested = count_prediction_flops(run.matrices, [mean_tokens] * TEST_ROWS)
    full = method == "full"
    weights = run.num_parameters * (4 if full else 2)  # AdamW's weights are fp32
    step_bytes = 2 * weights + (8 * weights if full else 0)
    return Cost(spec.num_steps * step + tested, step, step_bytes, spec.num_steps, weights)


def minimum_seconds(cost: Cost, peak: float, bandwidth: float, members: int) -> float:
    """Return the minimum seconds of a trial in a pack; full fine-tuning is never packed."""
    shared = members if cost.step_bytes == 2 * cost.weights else 1
    step = max(cost.step_flops / peak, cost.step_bytes / shared / bandwidth)
    return cost.num_steps * step + (cost.flops - cost.num_steps * cost.step_flops) / peak


def makespan(trials: list[tuple[str, Cost]], gpus: int, speed: float, disk: float) -> float:
    """Return the seconds until the last trial ends."""
    free: list[tuple[float, int, str]] = [(0.0, number, "") for number in range(gpus)]
    heaviest: dict[str, Any] = {}
    for name, cost in trials:
        heaviest[name] = max(heaviest.get(name, 0.0), cost.flops)
    for name, cost in sorted(trials, key=lambda t: (-heaviest[t[0]], t[0], -t[1].flops)):
        start, number, loaded = heapq.heappop(free)
        load = 0.0 if loaded == name else cost.weights / disk / 1e9
        heapq.heappush(free, (start + load + cost.flops / speed, number, name))
    return max(end for end, _, _ in free)


if __name__ == "__main__":
    main()
