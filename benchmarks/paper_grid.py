"""Measure the paper's grid of 39 trials on one device, next to a new process per trial.

    python benchmarks/paper_grid.py                    # true dimensions, one GPU of 80 GB or more
    python benchmarks/paper_grid.py --small --epochs 2 # small dimensions, also on a CPU
    python benchmarks/paper_grid.py --only model=elyza,model=mbert,pattern=ja104 --seeds 0

The five base models have the sizes of the paper's models and random weights. They are written as
checkpoints, with tokenizers trained on the built-in headlines, which replace the Reuters headlines.
Predictions have no meaning, but the cost is real. --packing is the experiment's setting
(docs/gpus.md).

- ours: the experiment `paper` with the inline backend, one process from start to tables;
- usual: for each trial a process that loads, tokenises, builds an HF Trainer with peft, trains and
  predicts (benchmarks/overhead.py). Only one trial of each cell runs, and counts for its three
  seeds. No time of Ray Tune is added, so the usual way looks faster than it is.

With --only and --seeds a part of the grid runs. Its times are then extrapolated to 39 trials: each
decoder takes as long as the mean of the decoders that ran, likewise each encoder, and ours starts
once. Ray is not needed. Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from statistics import fmean
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests/support"))
sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
import transformers
from gpu_models import FAMILIES, SMALL
from tiny_checkpoints import save_tokenizer

from xlt.data.sources.registry import load_dataset, parse_source
from xlt.sweep.experiment.experiment import Experiment, load_experiment
from xlt.sweep.planning.grid import Grid, expand
from xlt.sweep.planning.prepare import prepare
from xlt.trainables.results.result import Results
from xlt.trainables.spec.cell_key import CellKey
from xlt.trainables.spec.trial_spec import TrialSpec

MODELS = {
    "elyza": ("llama", 45_043),
    "llama2": ("llama", 32_000),
    "mbert": ("bert", 119_547),
    "opencalm": ("gpt_neox", 52_224),
    "bert-ja": ("bert", 32_000),
}
"""Row of the paper's tables -> (family in benchmarks/gpu_models.py, size of its vocabulary).

Sizes are from the model cards; bert-ja is cl-tohoku/bert-base-japanese-v2.
"""


def main() -> None:
    """Make the models, run both ways, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--small", action="store_true", help="small dimensions")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--packing", default="off")
    parser.add_argument("--only", default="", help="cells, as of xlt run; default: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--folder", help="folder of checkpoints and results, which is created and kept"
    )
    parser.add_argument("--trial", type=int, help="run one trial in the usual way in this process")
    options = parser.parse_args()
    scratch = Path(options.folder or tempfile.mkdtemp(prefix="xlt-paper-grid-"))
    make_models(scratch, options.small)
    settings = [
        f"models={json.dumps([{'name': n, 'path': str(scratch / n)} for n in MODELS])}",
        f"training.num_train_epochs={options.epochs}",
        *([f"packing={options.packing}"] if options.packing != "off" else []),
    ]
    experiment = load_experiment("paper", settings)
    if options.trial is not None:
        run_usual(experiment, options.trial)
        return
    cuda = torch.cuda.is_available()
    name = torch.cuda.get_device_name() if cuda else f"CPU, {os.cpu_count()} cores"
    grid = expand(prepare(experiment))
    specs = [s for s in grid.specs if s.seed in options.seeds and s.cell in cells_of(grid, options)]
    size = "small" if options.small else "true"
    print(f"{date.today()}, {name}, torch {torch.__version__}, {len(specs)} trials, ", end="")
    print(f"{options.epochs} epochs, {size} dimensions\n")
    results = scratch / f"results-{time.time():.0f}"
    ours = [sys.executable, "-m", "xlt", "run", "paper", "--backend", "inline"]
    ours += [f"--results={results}", f"--set=seeds={options.seeds}", f"--only={options.only}"]
    seconds = timed([*ours, *(f"--set={setting}" for setting in settings)])
    location = Results(str(results))
    own = {s.trial_id: read_seconds(location, s.trial_id) for s in specs}
    print("| cell | ours, s a trial | usual |\n|---|---|---|")
    usual: dict[CellKey, float] = {}
    for spec in specs:
        if spec.cell in usual:
            continue
        number = grid.specs.index(spec)
        elapsed = timed([sys.executable, *sys.argv, f"--folder={scratch}", f"--trial={number}"])
        usual[spec.cell] = elapsed
        mean = fmean(own[s.trial_id] for s in specs if s.cell == spec.cell)
        print(f"| {spec.base_model} {spec.pattern.name} | {mean:.1f} | {elapsed:.1f} |", flush=True)
    print("\n| way | s | usual / this |\n|---|---|---|")
    all_usual = sum(usual[spec.cell] for spec in specs)
    print(f"| usual, {len(usual)} of {len(specs)} run | {all_usual:.0f} | 1 |")
    print(f"| ours, packing {options.packing} | {seconds:.0f} | {all_usual / seconds:.2f} |")
    if len(specs) < len(grid.specs):
        once = seconds - sum(own.values())
        whole = once + extrapolate(grid, [(s, own[s.trial_id]) for s in specs])
        other = extrapolate(grid, [(s, usual[s.cell]) for s in specs])
        print(f"| usual, {len(grid.specs)} trials extrapolated | {other:.0f} | 1 |")
        print(
            f"| ours, {len(grid.specs)} trials extrapolated | {whole:.0f} | {other / whole:.2f} |"
        )


def cells_of(grid: Grid, options: argparse.Namespace) -> set[CellKey]:
    """Return the names of the selected cells."""
    return {cell.key for cell in grid.selected(grid.experiment.select(options.only))}


def read_seconds(location: Results, trial_id: str) -> float:
    """Return the seconds of all stages of a trial of ours."""
    record = location.state(trial_id).record or {}
    return float(sum(record["timings"].values()))


def extrapolate(grid: Grid, measured: list[tuple[TrialSpec, float]]) -> float:
    """Return the seconds of the whole grid, from the mean seconds of decoders and of encoders."""
    means = {
        method: fmean(seconds for spec, seconds in measured if spec.method == method)
        for method in {spec.method for spec, _ in measured}
    }
    return sum(means.get(spec.method, 0.0) for spec in grid.specs)


def make_models(folder: Path, small: bool) -> None:
    """Write the missing checkpoints."""
    texts = load_dataset(parse_source({"source": "synthetic"})).table["text"].to_pylist()
    for name, (family, vocabulary) in MODELS.items():
        if (folder / name / "config.json").exists():
            continue
        config_class, sizes, method, _ = FAMILIES[family]
        # 2,000 is more than the 1,812 tokens of the encoders' tokenizers.
        changes = {**SMALL, "vocab_size": 2000} if small else {"vocab_size": vocabulary}
        sizes = {**sizes, **changes}
        is_encoder = family == "bert"
        ids = {"pad_token_id": 0} if is_encoder else {"bos_token_id": 1, "eos_token_id": 2}
        config = config_class(**{**sizes, **ids})
        save_tokenizer("encoder" if is_encoder else "decoder", texts, folder / name)
        dtype = torch.float32 if small or method == "full" else torch.bfloat16
        torch.manual_seed(0)
        with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
            model: Any = transformers.AutoModel.from_config(config, dtype=dtype)
        model.save_pretrained(folder / name)


def run_usual(experiment: Experiment, number: int) -> None:
    """Run a trial of the grid in the usual way."""
    from overhead import usual_trial

    grid = expand(prepare(experiment))
    usual_trial({"spec": grid.specs[number].model_dump(mode="json")}, grid.dataset)


def timed(command: list[str]) -> float:
    """Run a command, and return its wall time in seconds; its output goes to standard error."""
    start = time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if subprocess.run(command, stdout=sys.stderr, env=environment, check=False).returncode:
        raise SystemExit(f"failed: {command}")
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
