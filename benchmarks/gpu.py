"""Measure how well trials of the paper's dimensions use a GPU, next to the HF Trainer with peft.

    python benchmarks/gpu.py                     # one GPU: 7B decoders with LoRA, encoders whole
    python benchmarks/gpu.py --small             # small dimensions, also on a CPU, as a test
    python benchmarks/gpu.py --explain 64        # also explain 64 test texts by LIME

This needs torch, transformers, peft and accelerate, but not Ray. Weights are random and created on
the device from the configs of the models; predictions have no meaning, but the cost is real.
Lengths are drawn instead of tokenising texts: ``--mean-tokens`` per headline, with a standard
deviation of a third of that, of 10,000 tokens. Operations are counted without padding. Encoders are
also trained with only the embedding rows that occur, which a GPU's trials do not do.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from gpu_models import FAMILIES, SMALL, TEST_ROWS, TRAIN_ROWS

from xlt.data.dataset.schema import BINARY
from xlt.trainables.estimates.dry_run import dry_run
from xlt.trainables.estimates.flops import count_training_flops
from xlt.trainables.estimates.throughput import measure_throughput
from xlt.trainables.explain.classifier import make_target
from xlt.trainables.explain.explain_texts import explain_texts
from xlt.trainables.loading.base import Base
from xlt.trainables.methods.registry import METHODS
from xlt.trainables.methods.used_rows import restore_all_rows, train_used_rows
from xlt.trainables.spec.explain import Explain
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.classification import fit_classifier
from xlt.trainables.training.loop import choose_base_dtype, predict
from xlt.trainables.training.workers import Workers
from xlt.trainables.trial.model_files import make_model_files

NUM_TOKENS = 10_000
"""Number of different tokens in the texts."""
WAYS = ("ours", "trainer")


def main() -> None:
    """Measure the requested families, and print tables."""
    options = _options()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}, transformers {transformers.__version__}")
    width = SMALL["hidden_size"] if options.small else 4096
    peak = measure_throughput(device.type, tokens=128 if options.small else 8192, width=width).flops
    print(f"one large matrix product: {peak / 1e12:.2f} TFLOP/s\n")
    print(
        "| family | way | load s | build s | train s | predict s | explain s | save s | examples/s "
        "| tokens/s | of the matrix peak | peak memory GiB |\n" + "|---" * 12 + "|"
    )
    for family in options.families:
        ways = ("ours", "used rows", "trainer") if FAMILIES[family][2] == "full" else WAYS
        for way in ways:
            print(_row(family, way, _measure(family, way, options, device), peak), flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--families", nargs="+", choices=list(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--small", action="store_true", help="small dimensions")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--mean-tokens", type=float, default=25)
    parser.add_argument("--explain", type=int, default=0, help="number of test texts to explain")
    parser.add_argument("--load", action="store_true", help="write the weights and time reading")
    return parser.parse_args()


def _measure(
    family: str, way: str, options: argparse.Namespace, device: torch.device
) -> dict[str, float]:
    """Return the seconds of each stage, and the speed and memory of training."""
    config_class, sizes, method, head = FAMILIES[family]
    config = config_class(**(SMALL if options.small else sizes), pad_token_id=0)
    config.num_labels, config.use_cache, config.sep_token_id = 2, False, None
    spec = _spec(family, method, options)
    rng = np.random.default_rng(0)
    lengths = rng.normal(options.mean_tokens, options.mean_tokens / 3, TRAIN_ROWS + TEST_ROWS)
    ids = [
        rng.integers(5, min(config.vocab_size, NUM_TOKENS), int(length)).tolist()
        for length in np.clip(lengths, 5, 4 * options.mean_tokens)
    ]
    train, test, labels = ids[:TRAIN_ROWS], ids[TRAIN_ROWS:], [0, 1] * (TRAIN_ROWS // 2)

    torch.manual_seed(0)
    dtype = choose_base_dtype(spec, device)
    with torch.device(device):
        model = transformers.AutoModelForSequenceClassification.from_config(config, dtype=dtype)
    seconds = {"load": _load_seconds(model, dtype, device) if options.load else float("nan")}
    words = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))  # texts are token ids already
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words)
    base = Base(tokenizer, model=model.eval().requires_grad_(False), head_modules=head)
    num_warm = 4 * options.batch_size
    run = dry_run(
        spec, config, device=device.type, rows=options.batch_size, length=max(_lengths(train))
    )
    ways: dict[str, Callable[..., None]] = {
        "ours": partial(_ours, num_explained=options.explain),
        "used rows": partial(_ours, only_used=True),
        "trainer": _trainer,
    }
    run_way = ways[way]
    run_way(base, spec, train[:num_warm], labels[:num_warm], test[:64], {})
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    run_way(base, spec, train, labels, test, seconds)
    tokens = options.epochs * sum(_lengths(train))
    flops = options.epochs * count_training_flops(run.matrices, _lengths(train))
    seconds["examples"] = options.epochs * len(train) / seconds["train"]
    seconds["tokens"] = tokens / seconds["train"]
    seconds["flops"] = flops / seconds["train"]
    seconds["memory"] = torch.cuda.max_memory_allocated() if device.type == "cuda" else float("nan")
    return seconds


def _lengths(token_ids: list[list[int]]) -> list[int]:
    """Return the number of tokens of each text."""
    return [len(ids) for ids in token_ids]


def _ours(
    base: Base, spec: TrialSpec, train: Any, labels: Any, test: Any, seconds: dict[str, float],
    only_used: bool = False, num_explained: int = 0,
) -> None:  # fmt: skip
    """Run the stages of run_trial on a loaded base model and encoded texts."""
    clock = _Clock(seconds)
    model = METHODS[spec.method](base, spec)
    if only_used:
        train_used_rows(model, base.model, train)
    clock.lap("build")
    fitted = fit_classifier(model, train, labels, spec, lambda *_: None)
    if only_used:
        rates = fitted.history["learning_rate"].to_pylist()
        restore_all_rows(model, rates, spec.training.weight_decay, fitted.kept_steps)
    clock.lap("train")
    predict(model, test, spec)
    clock.lap("predict")
    if num_explained:
        settings = Explain.parse({"method": "lime"})
        scores = make_target(model, spec).predict
        explain_texts(scores, test[:num_explained], hidden_as=1, never_hidden=(), settings=settings)
        clock.lap("explain")
    make_model_files(model, base.tokenizer, BINARY, spec.training.max_length, Workers())
    clock.lap("save")


def _trainer(
    base: Base, spec: TrialSpec, train: Any, labels: Any, test: Any, seconds: dict[str, float]
) -> None:
    """Run the usual way: peft and the HF Trainer with the same settings, else its defaults."""
    clock = _Clock(seconds)
    model = base.model
    pad = model.config.pad_token_id
    if spec.lora:
        lora = {"r": spec.lora.r, "lora_alpha": spec.lora.lora_alpha}
        config = LoraConfig(
            task_type="SEQ_CLS", lora_dropout=spec.lora.lora_dropout, target_modules="all-linear",
            **lora,
        )  # fmt: skip
        model = get_peft_model(model, config)
    else:
        model.requires_grad_(True)
    clock.lap("build")

    def collate(rows: list[tuple[list[int], int]]) -> dict[str, torch.Tensor]:
        width = max(len(ids) for ids, _ in rows)
        padded = torch.tensor([ids + [pad] * (width - len(ids)) for ids, _ in rows])
        return {
            "input_ids": padded,
            "attention_mask": (padded != pad).long(),
            "labels": torch.tensor([label for _, label in rows]),
        }

    training = spec.training
    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            output_dir=folder, num_train_epochs=training.num_train_epochs,
            per_device_train_batch_size=training.batch_size, learning_rate=spec.learning_rate,
            per_device_eval_batch_size=64, weight_decay=training.weight_decay,
            bf16=next(base.model.parameters()).is_cuda, report_to=[], save_strategy="no",
            disable_tqdm=True, remove_unused_columns=False, logging_strategy="no",
        )  # fmt: skip
        trainer: Any = transformers.Trainer(
            model=model, args=arguments, data_collator=collate,
            train_dataset=list(zip(train, labels, strict=True)),
        )  # fmt: skip
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()
        clock.lap("train")
        trainer.predict([(ids, 0) for ids in test])
        clock.lap("predict")
        trainer.save_model(folder)
        clock.lap("save")
    if spec.lora:
        model.unload()


class _Clock:
    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds, self._last = seconds, time.perf_counter()

    def lap(self, stage: str) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        self._seconds[stage], self._last = now - self._last, now


def _load_seconds(model: Any, dtype: torch.dtype, device: torch.device) -> float:
    """Return the seconds to read the weights from the page cache onto the device."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        start = time.perf_counter()
        loaded: Any = transformers.AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=dtype, use_safetensors=True
        )
        loaded.to(device)
        return time.perf_counter() - start


def _spec(family: str, method: str, options: argparse.Namespace) -> TrialSpec:
    return TrialSpec.parse(
        {
            "base_model": family,
            "base_identity": f"benchmark:{family}",
            "base_path": family,
            "method": method,
            "source_lang": "en",
            "pattern": {"name": "ja104", "target_lang": "ja", "target_rows": 104},
            "sampling": {"test_rows": TEST_ROWS},
            "training": {"num_train_epochs": options.epochs, "batch_size": options.batch_size},
            "learning_rate": 5e-4 if method == "lora" else 5e-5,
            "seed": 0,
            "data_fingerprint": "0" * 64,
        }
    )


def _row(family: str, way: str, measured: dict[str, float], peak: float) -> str:
    stages = " | ".join(
        f"{measured.get(name, math.nan):.2f}"
        for name in ("load", "build", "train", "predict", "explain", "save")
    )
    return (
        f"| {family} | {way} | {stages} | {measured['examples']:.1f} | {measured['tokens']:.0f} | "
        f"{measured['flops'] / peak:.1%} | {measured['memory'] / 2**30:.1f} |"
    )


if __name__ == "__main__":
    main()
