"""The memory of a CPU process that trains, against its estimate and as Linux counts it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from repository import ROOT
from tiny_checkpoints import make_config, make_pretrained

from xlt.data.dataset.schema import Dataset
from xlt.trainables.estimates.dry_run import dry_run
from xlt.trainables.loading.config import load_config
from xlt.trainables.spec.trial_spec import TrialSpec

LENGTH, ROWS = 128, 16
TOLERANCE = 0.2
PROGRAM = """
import json, sys
import pyarrow.parquet as pq
from xlt.data.dataset.schema import Dataset
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.trial.run_trial import run_trial

folder = sys.argv[1]
spec = TrialSpec.parse(json.load(open(f"{folder}/spec.json")))
run_trial(spec, Dataset.from_table(pq.read_table(f"{folder}/rows.parquet")))
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["VmHWM"].split()[0]) * 1024)
"""
"""Program that runs a trial and prints the bytes of its process at their peak. ``ru_maxrss`` would
not do: Linux hands that of the process which starts this one on to it."""


@pytest.fixture(scope="module")
def base(tiny_base: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BERT of 44 million parameters, 31 of them embeddings, most of which no text needs."""
    folder = tmp_path_factory.mktemp("large")
    config = make_config(
        "bert", vocab_size=60_000, hidden_size=512, intermediate_size=2048, num_hidden_layers=4,
        num_attention_heads=8, max_position_embeddings=LENGTH, pad_token_id=0,
    )  # fmt: skip
    make_pretrained(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((tiny_base("bert") / name).read_bytes())
    return folder


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_process_takes_the_memory_of_its_estimate(
    method: str,
    base: Path,
    make_spec: Callable[..., TrialSpec],
    tiny_dataset: Dataset,
    tmp_path: Path,
) -> None:
    table = tiny_dataset.table
    texts = [" ".join([text] * LENGTH) for text in table["text"].to_pylist()]
    table = table.set_column(table.column_names.index("text"), "text", [texts])
    pq.write_table(table, tmp_path / "rows.parquet")
    dataset = Dataset.from_table(pq.read_table(tmp_path / "rows.parquet"))
    spec = make_spec(
        "bert", method=method, base_path=str(base), base_identity="test:large", training={
            "num_train_epochs": 2, "batch_size": ROWS, "max_length": LENGTH,
        }, data_fingerprint=dataset.fingerprint,
    )  # fmt: skip
    (tmp_path / "spec.json").write_text(spec.model_dump_json())
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], cwd=ROOT, capture_output=True, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    run = dry_run(
        spec, load_config(base), device="cpu", rows=ROWS, length=LENGTH,
        num_tokens=200 if method == "full" else None,
    )  # fmt: skip
    estimate = run.memory.resident(0, writes_checkpoints=False)
    assert estimate == pytest.approx(int(done.stdout), rel=TOLERANCE)
