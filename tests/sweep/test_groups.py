"""Trials of several processes on a real Ray cluster."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from ray.exceptions import RayActorError
from ray.train import WorkerGroupError
from ray.train.v2._internal.exceptions import UserExceptionWithTraceback

from xlt.data.core.errors import InputError
from xlt.sweep.backends.events import Ended, Failed
from xlt.sweep.experiment.experiment import load_experiment
from xlt.sweep.on_ray.tune import worker_group
from xlt.sweep.run import run_sweep
from xlt.trainables.results.result import Results
from xlt.trainables.spec.trial_spec import TrialSpec

pytestmark = [pytest.mark.ray, pytest.mark.slow]
SETTINGS = ["patterns=[{ja8: {source_rows: 24}}]", "storage.checkpoint_minutes=0", "seeds=[0]"]
TOGETHER = "resources={workers: 2}"
WITHOUT_DROPOUT = {"lora_dropout": 0.0}


def llama_alone(file: Path) -> str:
    """The llama of the experiment without dropout, whose random masks depend on the process."""
    model = next(m for m in load_experiment(file).models if m.name == "llama")
    # A rate at which 160 steps do not spread the rounding.
    values = model.model_dump(mode="json") | {"lora": WITHOUT_DROPOUT, "learning_rate": 0.001}
    return f"models={json.dumps([values])}"


def base_of(file: Path) -> str:
    return next(m.path for m in load_experiment(file).models if m.name == "llama")


def train_workers() -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [p for p in children if "RayTrainWorker" in " ".join(p.cmdline())]


@contextmanager
def one_killed_when(condition: Callable[[], Any]) -> Iterator[list[int]]:
    """Kill a worker of the group as soon as the condition is true, while the block runs."""
    ended, killed = threading.Event(), list[int]()

    def kill() -> None:
        while not killed and not ended.wait(0.02):
            if condition() and (workers := train_workers()):
                workers[-1].kill()
                killed.append(workers[-1].pid)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    try:
        yield killed
    finally:
        ended.set()
        thread.join()


@pytest.mark.chaos
def test_a_group_resumes_after_a_death_and_equals_one_process(
    experiment_file: Path, ray_address: str, tmp_path: Path
) -> None:
    settings = [*SETTINGS, llama_alone(experiment_file), "training.num_train_epochs=40"]
    alone = run_sweep(
        load_experiment(experiment_file, settings), str(tmp_path / "alone"), backend="inline"
    )
    with one_killed_when(lambda: list(tmp_path.glob("group/checkpoints/*.safetensors"))) as killed:
        group = run_sweep(
            load_experiment(experiment_file, [*settings, TOGETHER]), str(tmp_path / "group")
        )
    assert killed and not group.ledger.failed
    (trial_id,) = group.ledger.done
    assert [trial_id] == alone.ledger.done  # the same trial, whatever runs it
    record = Results(str(tmp_path / "group")).read_json("trials", trial_id, "trial.json")
    assert record["execution"]["num_workers"] == 2
    assert record["execution"]["resumed_at_steps"]
    ours, theirs = (
        Results(str(tmp_path / name)).read_table(trial_id, "predictions")
        for name in ("group", "alone")
    )
    np.testing.assert_allclose(
        ours["y_score"].to_numpy(), theirs["y_score"].to_numpy(), atol=1e-4, rtol=0
    )
    assert list(tmp_path.glob("group/checkpoints/*")) == []


@pytest.mark.chaos
def test_groups_beyond_the_capacity_wait(
    experiment_file: Path, ray_address: str, tmp_path: Path
) -> None:
    """Groups of two on two CPUs: watchers that took the workers' places would wait for ever.

    The trials of one cell diverge: that ends all workers at once, and is not tried again.
    """
    cells = "patterns=[{ja8: {source_rows: 24}}, {ja4: {source_rows: 24}}]"
    override = "overrides=[{match: {pattern: ja4}, learning_rate: 1.0e+30}]"
    settings = [*SETTINGS, cells, llama_alone(experiment_file), TOGETHER, override]
    outcome = run_sweep(load_experiment(experiment_file, settings), str(tmp_path / "results"))
    assert len(outcome.ledger.done) == 1
    (error,) = outcome.ledger.failed.values()
    assert "the loss is" in error and "lower the learning rate" in error


def test_a_group_that_does_not_fit_is_refused(
    experiment_file: Path, ray_address: str, tmp_path: Path
) -> None:
    settings = [*SETTINGS, "resources={workers: 3}"]
    with pytest.raises(InputError, match=r"3 processes of 1 CPUs .* set resources.workers=2"):
        run_sweep(load_experiment(experiment_file, settings), str(tmp_path / "results"))


class Group:
    """Replaces worker groups: each start raises the next error, and the last start succeeds."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.sizes: list[int | None] = []

    def __call__(self, spec: TrialSpec, shared: dict[str, Any]) -> None:
        self.sizes.append(spec.resources.micro_batch_size)
        if self.errors:
            failure = UserExceptionWithTraceback(self.errors.pop(0), "traceback")
            raise WorkerGroupError("a worker failed", {1: failure})


@pytest.fixture
def watched(
    make_spec: Callable[..., TrialSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Group], Ended | None]:
    """A function that returns how a trial of two workers, batches of 8, ends with such groups."""
    results = Results(str(tmp_path / "results"))
    results.prepare()
    spec = make_spec("llama", resources={"workers": 2})

    def ended(group: Group) -> Ended | None:
        monkeypatch.setattr(worker_group, "_train", group)
        return worker_group.run_in_group(spec, {"results": results})

    return ended


def test_the_micro_batch_is_halved_when_a_group_runs_out_of_memory(
    watched: Callable[[Group], Ended | None],
) -> None:
    full = torch.OutOfMemoryError("CUDA out of memory")
    group = Group(full, full)
    assert watched(group) is None
    assert group.sizes == [None, 2, 1]  # 4 rows a worker
    group = Group(*[full] * 6)
    assert watched(group) == Failed("OutOfMemoryError: CUDA out of memory")
    assert group.sizes == [None, 2, 1, 1, 1]  # then it counts as any other failure


def test_an_error_that_the_user_has_to_fix_is_not_retried(
    watched: Callable[[Group], Ended | None],
) -> None:
    group = Group(InputError("no such model; fix the path"))
    assert watched(group) == Failed("no such model; fix the path")
    assert len(group.sizes) == 1
    group = Group(*[RuntimeError("NCCL error")] * 3)
    assert watched(group) == Failed("RuntimeError: NCCL error")
    assert len(group.sizes) == 3
    death = RayActorError("00", "ip: 10.0.0.2\nWorker exits with an exit code 3.", False, False)
    assert watched(Group(*[death] * 3)) == Failed(
        "RuntimeError: its worker process died 3 times; the last time: it exited with code 3 on "
        "10.0.0.2; the log of the worker has the reason"
    )


@pytest.mark.chaos
def test_an_error_of_one_worker_ends_its_group(
    experiment_file: Path, ray_address: str, tmp_path: Path
) -> None:
    """The message of the error passes two processes and reaches the result folder."""
    base = Path(shutil.copytree(base_of(experiment_file), tmp_path / "base"))
    (base / "tokenizer_config.json").write_text('{"tokenizer_class": "NoSuchTokenizer"}')
    (base / "tokenizer.json").write_text("{}")
    model = f"models=[{{name: broken, path: {base}, method: lora, learning_rate: 0.001}}]"
    settings = [*SETTINGS, model, TOGETHER]
    outcome = run_sweep(load_experiment(experiment_file, settings), str(tmp_path / "results"))
    (error,) = outcome.ledger.failed.values()
    assert "cannot be loaded" in error and "Traceback" not in error
