"""Measure the cost of scheduling: the same trials in a loop, in the usual way, and by `xlt run`.

    python benchmarks/overhead.py [--experiment quickstart] [--seeds 3] [--skip-usual]

- bare: one process runs one trial after another; its wall time / slots is the ideal.
- split: the same loop in one process per slot, with the trials divided beforehand. This is the
  limit of the machine, because cores that share memory and power slow each other down.
- usual: Ray Tune with a function that builds an HF Trainer, and a new process per trial, as in the
  integration guides of both.
- ours: `xlt run` into an empty results folder, start-up included, with cached miniatures.

Ratios are computed within one run, because machines differ and are shared. Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from xlt.sweep.experiment.experiment import Experiment, load_experiment
from xlt.sweep.planning.grid import expand
from xlt.sweep.planning.prepare import prepare


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiment", default="quickstart")
    parser.add_argument("--set", action="append", default=[], dest="settings")
    parser.add_argument("--seeds", type=int, default=3, help="seeds per cell")
    parser.add_argument("--skip-usual", action="store_true")
    parser.add_argument("--stage", choices=["bare", "usual"], help="run one way in this process")
    parser.add_argument("--share", default="0/1", help="share of the trials for --stage bare")
    options = parser.parse_args()
    settings = [*options.settings, f"seeds={list(range(options.seeds))}"]
    experiment = load_experiment(options.experiment, settings)
    if options.stage:
        if options.stage == "usual":
            run_usual(experiment)
        else:
            run_bare(experiment, *map(int, options.share.split("/")))
        return

    arguments = [options.experiment, *(f"--set={setting}" for setting in settings)]
    with tempfile.TemporaryDirectory() as scratch:
        warm_up(arguments, Path(scratch))
        ours = timed([sys.executable, "-m", "xlt", "run", *arguments, f"--results={scratch}/ours"])
    stage = [sys.executable, __file__, "--experiment", *arguments, f"--seeds={options.seeds}"]
    bare, num_slots = [*stage, "--stage=bare"], os.cpu_count() or 1
    walls = {
        "bare, one process": timed(bare),
        "bare, split": timed(
            *([*bare, f"--share={slot}/{num_slots}"] for slot in range(num_slots))
        ),
        "ours": ours,
    }
    if not options.skip_usual:
        walls["usual"] = timed([*stage, "--stage=usual"])
    show(experiment, walls, num_slots)


def warm_up(arguments: list[str], scratch: Path) -> None:
    """Fill the cache of miniatures, which all ways read."""
    first = ["--set=seeds=[99]", "--set=training.num_train_epochs=1", f"--results={scratch}/warm"]
    timed([sys.executable, "-m", "xlt", "run", *arguments, *first])


def timed(*commands: list[str]) -> float:
    """Run processes side by side, and return the wall time in seconds; stdout goes to stderr."""
    start = time.perf_counter()
    processes = [subprocess.Popen(command, stdout=sys.stderr) for command in commands]
    if any([process.wait() for process in processes]):
        raise SystemExit(f"failed: {commands}")
    return time.perf_counter() - start


def show(experiment: Experiment, walls: dict[str, float], num_slots: int) -> None:
    """Print the table."""
    num_trials = len(expand(prepare(experiment)).specs)
    ideal = walls["bare, one process"] / num_slots
    print(f"{date.today()}, {platform.machine()}, {num_slots} cores, {num_trials} trials, ", end="")
    print(", ".join(f"{name} {version(name)}" for name in ("ray", "torch", "transformers")))
    print("\n| way | wall s | / (bare / slots) | overhead s a trial |\n|---|---|---|---|")
    for name, wall in walls.items():
        overhead = (wall - ideal) * num_slots / num_trials
        compared = "" if "one process" in name else f"{wall / ideal:.2f} | {overhead:.2f}"
        print(f"| {name} | {wall:.1f} | {compared or ' | '} |")


def run_bare(experiment: Experiment, slot: int, num_slots: int) -> None:
    """Run a slot's share of the trials one after another, and write results as ours does."""
    from xlt.trainables.results.result import Results
    from xlt.trainables.trial.run_trial import run_trial

    grid = expand(prepare(experiment))
    specs, dataset = grid.specs[slot::num_slots], grid.dataset
    with tempfile.TemporaryDirectory() as scratch:
        results = Results(scratch)
        results.prepare()
        for spec in specs:
            results.save(run_trial(spec, dataset))


def run_usual(experiment: Experiment) -> None:
    """Run the trials by Ray Tune and the HF Trainer, with a process per trial."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray import tune

    grid = expand(prepare(experiment))
    specs, dataset = grid.specs, grid.dataset
    ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    with tempfile.TemporaryDirectory() as scratch:
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(usual_trial, dataset=dataset), {"cpu": 1}),
            param_space={
                "spec": tune.grid_search([spec.model_dump(mode="json") for spec in specs])
            },
            tune_config=tune.TuneConfig(reuse_actors=False),
            run_config=tune.RunConfig(storage_path=scratch, verbose=0),
        )
        grid = tuner.fit()
    ray.shutdown()
    if grid.num_errors:
        raise SystemExit(f"{grid.num_errors} trials of the usual way failed: {grid.errors[0]}")
    print(json.dumps({"mean f1": sum(r.metrics["f1"] for r in grid) / len(grid)}))


def usual_trial(config: dict[str, Any], dataset: Any) -> dict[str, float]:
    """Run a trial as in the integration guides: load, tokenise, adapt, Trainer, evaluate."""
    import peft
    import torch
    import transformers

    from xlt.data.dataset.draws import draw
    from xlt.trainables.metrics.registry import score
    from xlt.trainables.models.miniatures import find_miniature_folder
    from xlt.trainables.spec.trial_spec import TrialSpec

    spec = TrialSpec.model_validate(config["spec"])
    torch.set_num_threads(1)
    is_miniature = spec.base_identity.startswith("miniature:")
    folder = find_miniature_folder(spec.base_identity) if is_miniature else spec.base_path
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    cuda = torch.cuda.is_available()
    dtype = torch.bfloat16 if cuda and spec.lora else torch.float32
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=2, dtype=dtype
    )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.unk_token
    model.config.pad_token_id = tokenizer.pad_token_id
    if spec.lora is not None:
        model = peft.get_peft_model(
            model,
            peft.LoraConfig(task_type="SEQ_CLS", target_modules="all-linear", r=spec.lora.r,
                            lora_alpha=spec.lora.lora_alpha, lora_dropout=spec.lora.lora_dropout),
        )  # fmt: skip
    drawn = draw(dataset, spec.source_lang, spec.pattern, spec.sampling, spec.draw_index)

    def encode(ids: tuple[str, ...]) -> list[dict[str, Any]]:
        rows = dataset.rows(list(ids))
        texts = tokenizer(rows["text"].to_pylist(), truncation=True, max_length=128)["input_ids"]
        return [
            {"input_ids": i, "labels": y}
            for i, y in zip(texts, rows["label"].to_pylist(), strict=True)
        ]

    training = spec.training
    with tempfile.TemporaryDirectory() as scratch:
        trainer = transformers.Trainer(
            model=model,
            args=transformers.TrainingArguments(
                output_dir=scratch, num_train_epochs=training.num_train_epochs,
                per_device_train_batch_size=training.batch_size, learning_rate=spec.learning_rate,
                lr_scheduler_type=training.lr_schedule, weight_decay=training.weight_decay,
                per_device_eval_batch_size=64, report_to=[], save_strategy="no", seed=spec.seed,
                disable_tqdm=True, use_cpu=not cuda, bf16=cuda, dataloader_pin_memory=cuda,
            ),
            train_dataset=encode(drawn.train),
            data_collator=transformers.DataCollatorWithPadding(tokenizer),
        )  # fmt: skip
        trainer.train()
        output = trainer.predict(encode(drawn.test))
    probability = torch.tensor(output.predictions).double().softmax(-1)[:, 1].numpy()
    return score(output.label_ids, probability)


if __name__ == "__main__":
    main()
