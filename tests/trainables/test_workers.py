"""Several processes that train one trial give the result of one process, on CPUs over gloo."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from gloo_group import run_together, run_together_again
from peft_settings import SETTINGS
from safetensors.torch import load

from xlt.data.dataset.schema import Dataset
from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import TrialResult
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.checkpoints import Checkpoints, PreemptedError
from xlt.trainables.trial.run_trial import run_trial
from xlt.trainables.trial.signature import read_versions

NUM_WORKERS = 2
CASES = [
    (architecture, method, sharding)
    for architecture, method in (
        ("llama", "lora"), ("gpt_neox", "lora"), ("bert", "full"), ("llama", "full"),
        ("gpt_neox", "bitfit"), ("llama", "head"), ("llama", "peft"),
    )
    for sharding in ("ddp", "fsdp")
    if (method, sharding) != ("peft", "fsdp")  # refused
]  # fmt: skip
TOLERANCE = 1e-5
"""On fp32 scores and losses: workers add in another order."""


MakeCase = Callable[[tuple[str, str, str]], TrialSpec]


@pytest.fixture(scope="module")
def make_case(make_spec: Callable[..., TrialSpec], tmp_path_factory: Any) -> MakeCase:
    """34 rows in batches of 3: the last batch leaves a worker without a row.

    Dropout is off, because it drops other units where other processes draw.
    """
    folder: Path = tmp_path_factory.mktemp("bert") / "without-dropout"
    shutil.copytree(make_spec("bert").base_path, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    bert = {"base_path": str(folder), "base_identity": "test:bert-without-dropout"}

    def spec(case: tuple[str, str, str]) -> TrialSpec:
        architecture, method, sharding = case
        return make_spec(
            architecture,
            method=method,
            pattern={"name": "few", "target_lang": "ja", "target_rows": 8, "source_rows": 26},
            training={"num_train_epochs": 2, "batch_size": 3},
            lora={"lora_dropout": 0.0} if method == "lora" else None,
            peft={"peft_type": "ADALORA", **SETTINGS["ADALORA"]} if method == "peft" else None,
            resources={"workers": NUM_WORKERS, "sharding": sharding},
            **(bert if architecture == "bert" else {}),
        )

    return spec


class _KilledError(RuntimeError):
    pass


def kept_up_to(step: int, spec: TrialSpec, dataset: Dataset, kept: Checkpoints) -> None:
    """Train until a step, with a checkpoint after each."""

    class Cut(Checkpoints):
        def save(self, model: Any, optimizer: Any, at: int, *rest: Any) -> None:
            super().save(model, optimizer, at, *rest)
            if at == step:
                raise _KilledError

    try:
        run_trial(spec, dataset, checkpoints=Cut(kept.results, kept.trial_id, 0, kept.versions))
    except _KilledError:
        return
    raise AssertionError("it was to be killed")


def work(rank: int, folder: str, specs: list[str]) -> None:
    """One worker: every case, then every case again from a checkpoint."""
    dataset = Dataset.from_table(pq.read_table(f"{folder}/rows.parquet"))
    for number, text in enumerate(specs):  # how models are shared is not part of a trial's id
        results = Results(f"{folder}/results-{number}")
        spec = TrialSpec.parse(json.loads(text))
        whole = run_trial(spec, dataset, keep_models="all")
        kept_up_to(7, spec, dataset, Checkpoints(results, spec.trial_id, 0, read_versions()))
        # The second worker sees none, as on a network disk that is behind: the first one tells it.
        seen = results if rank == 0 else Results(f"{folder}/elsewhere")
        resumed = run_trial(
            spec, dataset, keep_models="all",
            checkpoints=Checkpoints(seen, spec.trial_id, 3600, read_versions()),
        )  # fmt: skip
        try:  # the last worker's machine is about to go
            leaving = Checkpoints(results, "leaving", 3600, read_versions(), lambda: rank == 1)
            run_trial(spec, dataset, checkpoints=leaving)
        except PreemptedError as left:
            Path(folder, f"{number}-left-{rank}").write_text(str(left.step))
        if rank == 0:
            for name, result in (("whole", whole), ("resumed", resumed)):
                place = Path(folder, f"{number}-{name}")
                place.mkdir()
                for table in ("predictions", "history", "train_rows"):
                    pq.write_table(getattr(result, table), place / f"{table}.parquet")
                for file, content in result.model.items():
                    (place / file).write_bytes(content)
                (place / "execution.json").write_text(json.dumps(result.execution))


@pytest.fixture(scope="module")
def together(make_case: MakeCase, tiny_dataset: Dataset, tmp_path_factory: Any) -> Path:
    """Folder of each case's results; one group of processes serves all cases."""
    folder: Path = tmp_path_factory.mktemp("together")
    specs = [make_case(case).model_dump_json() for case in CASES]

    def run() -> None:
        shutil.rmtree(folder)
        folder.mkdir()
        pq.write_table(tiny_dataset.table, folder / "rows.parquet")
        for number in range(len(CASES)):
            Results(str(folder / f"results-{number}")).prepare()
        run_together(work, (str(folder), specs), NUM_WORKERS)

    run_together_again(run)
    return folder


def crash_once(rank: int, folder: str) -> None:
    mark = Path(folder, "crashed")
    if rank == 0 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGSEGV)


def test_a_crash_of_native_code_is_told_with_its_stack(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"(?s)SIGSEGV.*in crash_once"):
        run_together_again(lambda: run_together(crash_once, (str(tmp_path),), NUM_WORKERS))


def tables(folder: Path) -> dict[str, pa.Table]:
    return {file.stem: pq.read_table(file) for file in sorted(folder.glob("*.parquet"))}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_two_workers_give_the_result_of_one(
    case: tuple[str, str, str], together: Path, make_case: MakeCase, tiny_dataset: Dataset
) -> None:
    folder = together / f"{CASES.index(case)}-whole"
    alone: TrialResult = run_trial(make_case(case), tiny_dataset, keep_models="all")
    written = tables(folder)
    for name, column in (
        ("predictions", "y_score"),
        ("train_rows", "y_score"),
        ("history", "loss"),
    ):
        expected = getattr(alone, name)
        assert written[name].drop_columns(column).num_columns == expected.num_columns - 1
        np.testing.assert_allclose(
            written[name][column].to_numpy(), expected[column].to_numpy(), atol=TOLERANCE, rtol=0
        )
    assert np.ptp(alone.history["loss"].to_numpy()) > 1e-2
    assert written["predictions"]["id"].equals(alone.predictions["id"])
    files = {file.name for file in folder.iterdir() if file.suffix in {".json", ".safetensors"}}
    assert files - {"execution.json"} == set(alone.model)
    (name,) = (name for name in alone.model if name.endswith(".safetensors"))
    ours, theirs = load((folder / name).read_bytes()), load(alone.model[name])
    assert ours.keys() == theirs.keys()
    # As a whole: where a gradient is rounding alone, AdamW takes a step as large as any other.
    for key, tensor in theirs.items():
        assert torch.dist(ours[key], tensor) <= 1e-4 + 1e-3 * torch.linalg.vector_norm(tensor)
    assert json.loads((folder / "execution.json").read_text())["num_workers"] == NUM_WORKERS


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_a_group_leaves_together(case: tuple[str, str, str], together: Path) -> None:
    number = CASES.index(case)
    steps = [(together / f"{number}-left-{rank}").read_text() for rank in range(NUM_WORKERS)]
    assert steps == ["1"] * NUM_WORKERS


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_a_group_goes_on_from_its_checkpoint(case: tuple[str, str, str], together: Path) -> None:
    number = CASES.index(case)
    resumed = together / f"{number}-resumed"
    assert json.loads((resumed / "execution.json").read_text())["resumed_at_steps"] == [7]
    whole = together / f"{number}-whole"
    assert tables(resumed) == tables(whole)
    shares = [json.loads((at / "execution.json").read_text()) for at in (resumed, whole)]
    assert shares[0]["padding_share"] == shares[1]["padding_share"]
    assert (shares[1]["padding_share"] > 0) == (case[0] != "bert")  # its texts are equally long
