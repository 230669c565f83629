"""Measure where the CPU seconds of trials go, from the start of the process to the result folder.

    python benchmarks/trial_stages.py EXPERIMENT [--set KEY=VALUE ...]

It runs the first trial of each base model of an experiment file, one after the other in this
process and on one thread, without Ray. Forward and backward passes, the clipping of gradients and
the optimiser are parts of training. Prints Markdown.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

seconds: dict[str, float] = defaultdict(float)


def main() -> None:
    """Run the trials and print their stages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment")
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    import torch

    from xlt.trainables.trial import clock, run_trial

    imports = time.process_time()
    from xlt.sweep.experiment.experiment import load_experiment
    from xlt.sweep.planning.grid import expand
    from xlt.sweep.planning.prepare import prepare
    from xlt.trainables.results.result import Results
    from xlt.trainables.training.micro_batches import MicroBatches

    vars(clock)["time"] = SimpleNamespace(perf_counter=time.process_time)
    measure(MicroBatches, "_accumulate", "forward")
    measure(torch.autograd, "backward", "backward")
    measure(torch.nn.utils, "clip_grad_norm_", "clip gradients")
    measure(torch.optim.AdamW, "step", "optimiser")
    prepared = prepare(load_experiment(options.experiment, options.set))
    grid = expand(prepared)
    planning = time.process_time() - imports
    print(f"start and imports {imports:.1f} s, data and plan {planning:.1f} s\n")
    print("| base model | stage | CPU s | share of the trial |\n|---|---|---|---|")
    for model in prepared.models:
        name = model.model.name
        spec = next(cell.specs[0] for cell in grid.cells if cell.key.base_model == name)
        seconds.clear()
        result = run_trial.run_trial(spec, prepared.dataset)
        stages = dict(result.timings)
        seconds["forward"] -= seconds["backward"]
        rest = stages.pop("fit") - sum(seconds.values())
        stages |= {**seconds, "rest of training": rest}
        start = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            results = Results(folder)
            results.prepare()
            results.save(result)
        stages["write results"] = time.process_time() - start
        for stage, own in stages.items():
            share = own / sum(stages.values())
            print(f"| {name} | {stage} | {own:.2f} | {share:.1%} |", flush=True)


def measure(owner: Any, name: str, stage: str) -> None:
    """Make a function add its CPU seconds to a stage."""
    function: Callable[..., Any] = getattr(owner, name)

    def measured(*arguments: Any, **named: Any) -> Any:
        start = time.process_time()
        try:
            return function(*arguments, **named)
        finally:
            seconds[stage] += time.process_time() - start

    setattr(owner, name, measured)


if __name__ == "__main__":
    main()
