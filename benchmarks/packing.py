"""Measure trials that train side by side in shared passes, next to the same trials alone.

    python benchmarks/packing.py                    # one GPU: the paper's 7B decoders
    python benchmarks/packing.py --size small       # also on a CPU: two layers of width 128
    python benchmarks/packing.py --size middle      # four layers of width 512

Weights are random and created on the device. Headlines are drawn as in benchmarks/gpu.py, with the
same options. Alone and packed train the same members: seeds and learning rates of ja104. Padding is
the share of padding in the computed places.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
import transformers
from gpu_models import FAMILIES, SMALL, TRAIN_ROWS

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from xlt.data.dataset.schema import BINARY
from xlt.trainables.loading.allocator import keep_freed_memory
from xlt.trainables.loading.base import Base
from xlt.trainables.methods.registry import METHODS
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.classification import FitResult, fit_classifier
from xlt.trainables.training.loop import choose_base_dtype
from xlt.trainables.training.workers import Workers
from xlt.trainables.trial.clock import Clock
from xlt.trainables.trial.fit_pack import Member, fit_pack
from xlt.trainables.trial.run_trial import PreparedTrial

SIZES: dict[str, dict[str, int]] = {
    "small": SMALL,
    "middle": SMALL | {"hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 4},
    "full": {},
}
NUM_MEMBERS = (1, 2, 3, 6)


def main() -> None:
    """Measure the requested families, and print tables."""
    options = _options()
    keep_freed_memory()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}, {torch.get_num_threads()} threads, {options.size}")
    print(
        "| family | members | alone, examples/s | packed | ratio | padding alone | packed "
        "| packed GiB |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for family in options.families:
        base = _base(family, SIZES[options.size], device)
        texts = _texts(base.model.config.vocab_size, options)
        _measure(_train_alone, base, texts, 1, options)  # warm-up
        for number in NUM_MEMBERS:
            # Alternate, because other work on the machine changes from minute to minute.
            runs = [
                (_measure(_train_alone, base, texts, number, options),
                 _measure(_train_packed, base, texts, number, options))
                for _ in range(options.repeats)
            ]  # fmt: skip
            alone, packed = map(min, zip(*runs, strict=True))
            examples = number * options.epochs * len(texts)
            print(
                f"| {family} | {number} | {examples / alone.seconds:.0f} | "
                f"{examples / packed.seconds:.0f} | {alone.seconds / packed.seconds:.2f} | "
                f"{alone.padding:.3f} | {packed.padding:.3f} | {packed.peak / 2**30:.1f} |",
                flush=True,
            )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    decoders = [name for name, (_, _, method, _) in FAMILIES.items() if method == "lora"]
    parser.add_argument("--families", nargs="+", choices=decoders, default=decoders)
    parser.add_argument("--size", choices=list(SIZES), default="full")
    parser.add_argument(
        "--rows", type=int, default=TRAIN_ROWS, help="number of rows, which must be even"
    )
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--mean-tokens", type=float, default=25)
    parser.add_argument(
        "--repeats", type=int, default=2, help="number of repeats, of which the fastest counts"
    )
    return parser.parse_args()


def _base(family: str, sizes: dict[str, int], device: torch.device) -> Base:
    config_class, full, _, head = FAMILIES[family]
    config = config_class(**(full | sizes), pad_token_id=0)
    config.num_labels, config.use_cache, config.sep_token_id = 2, False, None
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    with torch.device(device):
        model = transformers.AutoModelForSequenceClassification.from_config(config, dtype=dtype)
    return Base(tokenizer=None, model=model.eval().requires_grad_(False), head_modules=head)


def _texts(vocabulary: int, options: argparse.Namespace) -> list[list[int]]:
    rng, mean = np.random.default_rng(0), options.mean_tokens
    lengths = np.clip(rng.normal(mean, mean / 3, options.rows), 5, 4 * mean)
    return [rng.integers(5, vocabulary, int(length)).tolist() for length in lengths]


def _trial(
    base: Base, texts: list[list[int]], seed: int, options: argparse.Namespace
) -> PreparedTrial:
    spec = TrialSpec.parse(
        {
            "base_model": "benchmark",
            "base_identity": "benchmark",
            "base_path": "benchmark",
            "method": "lora",
            "source_lang": "en",
            "pattern": {"name": "ja104", "target_lang": "ja", "target_rows": 104},
            "sampling": {},
            "training": {"num_train_epochs": options.epochs, "batch_size": options.batch_size},
            "learning_rate": 1e-4 * (1 + seed),
            "seed": seed,
            "data_fingerprint": "0" * 64,
        }
    )
    device = base.model.device
    assert choose_base_dtype(spec, device) == base.model.dtype
    torch.manual_seed(seed)
    rows = pa.table({"label": [0, 1] * (len(texts) // 2)})
    model = METHODS["lora"](base, spec)
    return PreparedTrial(
        spec, rows, rows, BINARY, base, model, texts, [], Workers(), device, Clock()
    )


def _train_alone(trials: list[PreparedTrial]) -> list[FitResult]:
    return [
        fit_classifier(trial.model, trial.train_ids, trial.labels, trial.spec, lambda *_: None)
        for trial in trials
    ]


def _train_packed(trials: list[PreparedTrial]) -> list[FitResult]:
    results = []
    for member in fit_pack([Member(trial, lambda *_: None, None) for trial in trials]):
        if not isinstance(member.outcome, FitResult):
            raise member.outcome or RuntimeError("the trial was not trained to its end")
        results.append(member.outcome)
    return results


class _Measured(NamedTuple):
    """Measurements of one repeat; the minimum is the fastest repeat.

    Attributes:
        seconds: Wall time on a GPU, processor time on a CPU.
        peak: Peak bytes of a GPU's memory.
        padding: Mean share of padding of the trials.
    """

    seconds: float
    peak: int
    padding: float


def _measure(
    way: Callable[[list[PreparedTrial]], list[FitResult]],
    base: Base,
    texts: list[list[int]],
    number: int,
    options: argparse.Namespace,
) -> _Measured:
    cuda = base.model.device.type == "cuda"
    clock = time.perf_counter if cuda else time.process_time
    trials = [_trial(base, texts, seed, options) for seed in range(number)]
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    start = clock()
    results = way(trials)
    if cuda:
        torch.cuda.synchronize()
    seconds = clock() - start
    peak = torch.cuda.max_memory_allocated() if cuda else 0
    shares = [1 - tokens / places for places, tokens in (r.num_places for r in results)]
    return _Measured(seconds, peak, float(np.mean(shares)))


if __name__ == "__main__":
    main()
