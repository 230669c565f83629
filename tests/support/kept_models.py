"""A results location whose trials kept their models, and texts for them."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from rich.console import Console

from xlt.sweep.experiment.experiment import load_experiment
from xlt.sweep.run import run_sweep

SETTINGS = ["patterns=[{ja8: {source_rows: 24}}]", "seeds=[0]"]


def run_kept(experiment_file: Path, folder: Path, *settings: str) -> str:
    """Three trials, llama, gpt_neox and bert; the decoders kept their adapters, BERT nothing."""
    keep = "storage.keep_models=adapters"
    experiment = load_experiment(experiment_file, [*SETTINGS, keep, *settings])
    run_sweep(experiment, str(folder), backend="inline", console=Console(file=io.StringIO()))
    return str(folder)


def write_csv(path: Path, header: list[str], rows: list[list[object]]) -> str:
    with path.open("w", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([header, *rows])
    return str(path)
