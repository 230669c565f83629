"""Measure one training that is tested in many languages.

    python benchmarks/languages.py train [--langs 8]
    python benchmarks/languages.py read [--langs 200] [--seeds 20]

``train`` runs a small encoder (two layers of width 128) on 512 source rows: once tested in every
language, then with one training a language, which is the usual way. It prints CPU seconds and their
ratio. ``read`` writes results of five cells with predictions in many languages, and measures the
commands that read them. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from report import FINGERPRINT, SIGNATURE, run

from xlt.trainables.metrics.registry import METRICS
from xlt.trainables.results.plan import Plan, PlannedCell, PlannedTrial
from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import TrialResult
from xlt.trainables.spec.trial_spec import TrialSpec

NUM_ROWS, NUM_WORDS = 512, 14
"""Test rows of each language, and words of a text."""
MODELS = ("a", "b", "c", "d", "e")
COMMANDS: dict[str, Sequence[str]] = {
    "xlt status": ("status",),
    "xlt report": ("report",),
    "xlt report --test-lang l007 --intervals": ("report", "--test-lang", "l007", "--intervals"),
    "xlt transfer": ("transfer",),
    "xlt report --format html": ("report", "--format", "html", "--out"),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("train", "read"))
    parser.add_argument("--langs", type=int)
    parser.add_argument("--seeds", type=int, default=20)
    options = parser.parse_args()
    print(f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores\n")
    with tempfile.TemporaryDirectory() as scratch:
        if options.what == "train":
            train(Path(scratch), options.langs or 8)
        else:
            read(Path(scratch), options.langs or 200, options.seeds)


def name_langs(num_langs: int) -> list[str]:
    """Codes that belong to no language: qaa to qtz are for private use (ISO 639-2)."""
    letters = "abcdefghijklmnopqrst", "abcdefghijklmnopqrstuvwxyz"
    return [f"q{first}{second}" for first in letters[0] for second in letters[1]][:num_langs]


def train(scratch: Path, num_langs: int) -> None:
    """Compare one training with one a language."""
    langs = name_langs(num_langs)
    write_rows(scratch / "rows.parquet", ["en", *langs])
    save_encoder(scratch / "encoder")
    values: dict[str, Any] = {
        "name": "languages",
        "data": {"source": "table", "path": str(scratch / "rows.parquet"), "positive": [1],
                 "leak_check": False},
        "models": [{"name": "encoder", "path": str(scratch / "encoder")}],
        "patterns": [{f"{lang}0": {"source_rows": 512}} for lang in langs],
        "seeds": [0],
        "training": {"num_train_epochs": 3},
        "sampling": {"test_rows": NUM_ROWS},
        "accept_findings": ["language", "cues", "duplicates", "near_duplicates", "text"],
    }  # fmt: skip
    seconds = {}
    for name, test_langs in (("one training", langs), ("one a language", None)):
        values["sampling"]["test_langs"] = test_langs
        (scratch / "experiment.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
        results = scratch / name.replace(" ", "-")
        words = ["run", str(scratch / "experiment.yaml"), "--results", str(results)]
        _, seconds[name], _ = run([*words, "--backend", "inline"], scratch / "cache")
        states = Results(str(results)).states(Results(str(results)).trial_ids())
        times = [state.record or {} for state in states.values()]
        fit = sum(record["timings"]["fit"] for record in times)
        tested = sum(record["timings"]["predict"] for record in times)
        print(f"{name}: {len(times)} trials, {seconds[name]:.1f} CPU s with start and checks; "
              f"training {fit:.1f} s, prediction {tested:.1f} s", flush=True)  # fmt: skip
    print(f"ratio {seconds['one a language'] / seconds['one training']:.2f}")


def write_rows(file: Path, langs: Sequence[str]) -> None:
    """Write balanced rows of made-up words, each language with its own words for a class."""
    rng = np.random.default_rng(0)
    rows = []
    for lang in langs:
        for number in range(2400 if lang == "en" else NUM_ROWS + 8):
            words = rng.integers(0, 400, NUM_WORDS)
            words[:4] += 400 * (1 + number % 2)
            text = " ".join(f"{lang}{word}" for word in words)
            rows.append({"id": f"{lang}{number}", "text": text, "lang": lang, "label": number % 2})
    pq.write_table(pa.Table.from_pylist(rows), file)


def save_encoder(folder: Path) -> None:
    """Write an encoder with random weights and a tokenizer of single characters."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = [*special, *"abcdefghijklmnopqrstuvwxyz0123456789"]
    vocabulary += [f"##{sign}" for sign in vocabulary[4:]]
    ids = {token: number for number, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", model_max_length=128,
    ).save_pretrained(folder)  # fmt: skip
    config = BertConfig(
        vocab_size=len(ids), hidden_size=128, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=512, max_position_embeddings=128,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)


def read(scratch: Path, num_langs: int, num_seeds: int) -> None:
    """Measure the commands that read results in many languages."""
    langs = name_langs(num_langs)
    results = Results(str(scratch / "results"))
    results.prepare()
    cells = tuple(save_cell(results, number, langs, num_seeds) for number in range(len(MODELS)))
    plan = Plan(experiment="languages", data_fingerprint=FINGERPRINT, cells=cells)
    results.save_experiment(plan, "name: languages\n")
    print(f"{len(MODELS)} cells x {num_seeds} seeds, {num_langs} languages x {NUM_ROWS} rows\n")
    print("| command | s | CPU s | peak MB |\n|---|---|---|---|")
    for name, command in COMMANDS.items():
        words = [word.replace("l007", langs[7]) for word in (command[0], str(scratch / "results"),
                                                             *command[1:])]  # fmt: skip
        if words[-1] == "--out":
            words.append(str(scratch / "page.html"))
        numbers = " | ".join(f"{number:.1f}" for number in run(words, scratch / "cache"))
        print(f"| `{name.replace('l007', langs[7])}` | {numbers} |", flush=True)


def save_cell(results: Results, number: int, langs: Sequence[str], num_seeds: int) -> PlannedCell:
    """Write the trials of a cell whose skill differs between languages."""
    rng = np.random.default_rng(number)
    truth = np.tile(np.array([0, 1], np.int8), NUM_ROWS // 2)
    skill, trials = 0.5 + rng.random(len(langs)), []
    for seed in range(num_seeds):
        spec = make_spec(MODELS[number], langs, seed)
        noise = rng.standard_normal((len(langs), NUM_ROWS))
        scores = 1 / (1 + np.exp(-(skill[:, None] * (2.0 * truth - 1) + noise)))
        by_lang = {
            lang: {name: METRICS[name].compute(truth, own) for name in ("f1", "auroc", "accuracy")}
            for lang, own in zip(langs, scores, strict=True)
        }
        num_rows = len(langs) * NUM_ROWS
        predictions = pa.table(
            {
                "id": [f"{lang}-{row:04}" for lang in langs for row in range(NUM_ROWS)],
                "lang": np.repeat(langs, NUM_ROWS),
                "split": ["test"] * num_rows,
                "y_true": np.tile(truth, len(langs)),
                "y_score": scores.ravel(),
            }
        )
        none = pa.table({"id": ["a"]})
        results.save(
            TrialResult(
                spec=spec, metrics=by_lang[langs[0]], metrics_by_lang=by_lang, signature=SIGNATURE,
                timings={"fit": 1.0}, convergence={}, predictions=predictions, history=none,
                train_rows=none, model={},
            )
        )  # fmt: skip
        trials.append(PlannedTrial(trial_id=spec.trial_id, seed=seed))
    return PlannedCell(
        base_model=MODELS[number], pattern=f"{langs[0]}0", target_lang=langs[0],
        test_langs=tuple(langs), trials=tuple(trials),
    )  # fmt: skip


def make_spec(base_model: str, langs: Sequence[str], seed: int) -> TrialSpec:
    """Make the spec of a trial that is tested in languages, the source language first."""
    pattern = {"name": f"{langs[0]}0", "target_lang": langs[0], "target_rows": 0}
    return TrialSpec.parse(
        {
            "base_model": base_model, "base_identity": f"hub:example/{base_model}@main",
            "base_path": f"example/{base_model}", "method": "full", "source_lang": langs[1],
            "pattern": pattern, "sampling": {"test_rows": NUM_ROWS, "test_langs": list(langs)},
            "training": {}, "learning_rate": 5e-5, "seed": seed, "data_fingerprint": FINGERPRINT,
        }
    )  # fmt: skip


if __name__ == "__main__":
    main()
