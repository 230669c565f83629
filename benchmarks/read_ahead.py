"""Measure how long a base model takes to load from a disk, and after it was read ahead.

    python benchmarks/read_ahead.py [--gigabytes 2] [--seconds 20] [--repeats 3]

A Llama with random bf16 weights is written to --folder and dropped from the page cache before each
load (disks support this, tmpfs does not). Reading ahead works as in `xlt run` during the previous
trial; here the process sleeps for that time, because it mostly waits while a GPU works. Prints
medians.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import torch
import transformers

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/support"))

from tiny_checkpoints import save_tokenizer

from xlt.trainables.loading import base as loading
from xlt.trainables.loading.base import load_base
from xlt.trainables.loading.read_ahead import read_ahead
from xlt.trainables.spec.trial_spec import TrialSpec

WIDTH = {"hidden_size": 2048, "intermediate_size": 5504, "num_attention_heads": 16}
LAYERS_PER_GIGABYTE = 10
WAYS = ("not in memory", "read ahead", "in memory")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gigabytes", type=float, default=2)
    parser.add_argument("--seconds", type=float, default=20, help="seconds of the previous trial")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", help="folder of the checkpoint, on the disk to measure")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        make_checkpoint(Path(folder), round(options.gigabytes * LAYERS_PER_GIGABYTE))
        size = sum(file.stat().st_size for file in list_weights(Path(folder)))
        load_seconds(Path(folder), "in memory", 0)  # imports
        runs = [
            [load_seconds(Path(folder), way, options.seconds) for way in WAYS]
            for _ in range(options.repeats)
        ]
    print(
        f"{date.today()}, {os.cpu_count()} cores, torch {torch.__version__}, {size / 1e9:.2f} GB\n"
    )
    print("| weights | load s | of the first |\n|---|---|---|")
    medians = [statistics.median(seconds) for seconds in zip(*runs, strict=True)]
    for way, seconds in zip(WAYS, medians, strict=True):
        print(f"| {way} | {seconds:.2f} | {seconds / medians[0]:.2f} |")


def make_checkpoint(folder: Path, num_layers: int) -> None:
    """Write weights, config and tokenizer."""
    save_tokenizer("decoder", ["carbon waste", "goal match"], folder)
    config = transformers.LlamaConfig(**WIDTH, num_hidden_layers=num_layers, vocab_size=1000)
    transformers.AutoModel.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)


def list_weights(folder: Path) -> list[Path]:
    """List the files of the weights."""
    return sorted(folder.glob("*.safetensors"))


def load_seconds(folder: Path, way: str, seconds: float) -> float:
    """Return the seconds of one load."""
    loading._LOADED.clear()
    if way != "in memory":
        for file in list_weights(folder):
            with file.open("rb") as weights:
                os.fsync(weights.fileno())
                os.posix_fadvise(weights.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    identity = (
        f"benchmark:{time.monotonic()}"  # a new identity, because each is read ahead only once
    )
    spec = TrialSpec.parse(
        {
            "base_model": "benchmark", "base_identity": identity, "base_path": str(folder),
            "method": "lora", "source_lang": "en", "sampling": {}, "training": {},
            "pattern": {"name": "ja104", "target_lang": "ja", "target_rows": 104},
            "learning_rate": 1e-4, "seed": 0, "data_fingerprint": "0" * 64,
        }
    )  # fmt: skip
    if way == "read ahead":
        read_ahead(spec)
        time.sleep(seconds)
    start = time.perf_counter()
    base = load_base(spec, torch.device("cpu"), torch.bfloat16)
    for parameter in base.model.parameters():  # mapped files are read on access
        parameter.sum()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
