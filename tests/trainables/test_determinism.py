"""The same spec gives the same bytes: first, last, after a crash and in another process."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from repository import ROOT

from xlt.data.dataset.schema import Dataset
from xlt.trainables.loading import base as loading
from xlt.trainables.results.result import Results
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.loop import DivergedError
from xlt.trainables.trial.run_trial import run_trial

MakeSpec = Callable[..., TrialSpec]
CASES = (("llama", "lora"), ("bert", "full"), ("gpt_neox", "lora"))

ELSEWHERE = """
import json, sys
import pyarrow.parquet
from xlt.data.dataset.schema import Dataset
from xlt.trainables.results.result import Results
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.trial.run_trial import run_trial
rows, folder, *specs = sys.argv[1:]
dataset = Dataset.from_table(pyarrow.parquet.read_table(rows))
results = Results(folder)
results.prepare()
for spec in specs:
    results.save(run_trial(TrialSpec.parse(json.loads(spec)), dataset, keep_models="all"))
"""


def digests(spec: TrialSpec, results: Results) -> dict[str, str]:
    """SHA-256 of each file of a trial, trial.json without its timings and its own hash."""
    folder = Path(results.path("trials", spec.trial_id))
    files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    record = json.loads(files["trial.json"])
    assert record.pop("timings") and record.pop("sha256")
    files["trial.json"] = json.dumps(record).encode()
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def saved(spec: TrialSpec, dataset: Dataset, folder: Path) -> dict[str, str]:
    results = Results(str(folder))
    results.prepare()
    results.save(run_trial(spec, dataset, keep_models="all"))
    return digests(spec, results)


@pytest.fixture(scope="module")
def elsewhere(
    make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> Results:
    """The trials of CASES, run by a process of its own."""
    folder = tmp_path_factory.mktemp("elsewhere")
    pq.write_table(tiny_dataset.table, folder / "rows.parquet")
    specs = [make_spec(name, method=method).model_dump_json() for name, method in CASES]
    results = folder / "results"
    subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(folder / "rows.parquet"), str(results), *specs],
        check=True,
        cwd=folder,  # not the project's
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7"},
    )
    return Results(str(results))


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "method"), CASES)
def test_same_bytes_first_last_and_in_another_process(
    architecture: str,
    method: str,
    elsewhere: Results,
    make_spec: MakeSpec,
    tiny_dataset: Dataset,
    tmp_path: Path,
) -> None:
    spec = make_spec(architecture, method=method)
    loading._LOADED.clear()
    first = saved(spec, tiny_dataset, tmp_path / "first")
    num_kept = {"lora": 5, "full": 4}[method]  # weights, two of the tokenizer, and configs
    assert len(first) == 4 + num_kept, first  # four files of every trial

    other_method = {"full": "lora", "lora": "full"}[method]
    for warm in (  # same base: another method, seed, adapters, a crash; then another base
        make_spec(architecture, method=other_method),
        make_spec(architecture, method=method, seed=7),
        make_spec(architecture, method="lora", lora={"r": 2, "target_modules": "all-linear"}),
    ):
        run_trial(warm, tiny_dataset)
    with pytest.raises(DivergedError):
        run_trial(make_spec(architecture, method=method, learning_rate=1e30), tiny_dataset)
    torch.manual_seed(12345)
    same_base = saved(spec, tiny_dataset, tmp_path / "same-base")
    run_trial(make_spec("bert" if architecture != "bert" else "llama"), tiny_dataset)
    last = saved(spec, tiny_dataset, tmp_path / "last")

    assert same_base == first
    assert last == first
    assert digests(spec, elsewhere) == first


def test_the_seed_matters(make_spec: MakeSpec, tiny_dataset: Dataset) -> None:
    scores = [
        run_trial(make_spec("llama", seed=seed), tiny_dataset).predictions["y_score"].to_pylist()
        for seed in (0, 1)
    ]
    assert scores[0] != scores[1]


def test_dropout_is_on_in_training_and_off_in_prediction(
    make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    with_dropout = run_trial(make_spec("llama", lora={"lora_dropout": 0.5}), tiny_dataset)
    without = run_trial(make_spec("llama", lora={"lora_dropout": 0.0}), tiny_dataset)
    assert with_dropout.history["loss"][0].as_py() == pytest.approx(
        without.history["loss"][0].as_py()
    )  # B is zero, so that the first step does not see the adapters
    assert with_dropout.history["loss"][-1] != without.history["loss"][-1]
