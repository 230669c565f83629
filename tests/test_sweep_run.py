"""Runs end to end on tiny checkpoints: backends agree, nothing is run twice, nothing is lost."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from data.errors import InputError
from data.schema import Dataset
from sweep.cli import main
from sweep.experiment import load_experiment
from sweep.run import Outcome, run
from trainables.result import Results


@pytest.fixture(scope="module")
def experiment_file(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_base: Callable[[str], Path],
    tiny_dataset: Dataset,
) -> Path:
    folder = tmp_path_factory.mktemp("experiment")
    pq.write_table(tiny_dataset.table, folder / "data.parquet")

    def model(name: str, **fields: object) -> dict[str, object]:
        return {"name": name, "path": str(tiny_base(name)), "learning_rate": 0.01, **fields}

    values = {
        "name": "tiny",
        "task": {"positive": "news"},
        "data": {
            "source": "table", "path": str(folder / "data.parquet"), "positive": ["1"],
            "columns": {"id": "id", "published": "published"},
        },
        "models": [
            model("llama", method="lora"),
            model("gpt_neox", method="lora", languages=["ja"]),
            model("bert", method="full"),
        ],
        "patterns": [{"ja0": {"source_rows": 24}}, {"ja8": {"source_rows": 24}}],
        "seeds": [0, 1],
        "sampling": {"test_rows": 20},
        "training": {"num_train_epochs": 1, "batch_size": 8},
    }  # fmt: skip
    file = folder / "tiny.yaml"
    file.write_text(yaml.safe_dump(values, sort_keys=False))
    return file


@pytest.fixture(scope="module")
def inline(experiment_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    results = str(tmp_path_factory.mktemp("results") / "inline")
    return run(load_experiment(experiment_file), results, backend="inline")


def files(results: Results) -> dict[str, bytes]:
    """Everything in the trial folders that must not change from run to run."""
    root = Path(results.root) / "trials"
    found = {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    for name, content in found.items():
        if name.endswith("trial.json"):
            record = json.loads(content)
            del record["timings"]
            found[name] = json.dumps(record).encode()
    return found


def test_every_trial_is_done_and_none_runs_twice(
    inline: Outcome, experiment_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(inline.ledger.done) == len(inline.grid.specs) == inline.num_run == 10
    before = {p: p.stat().st_mtime_ns for p in Path(inline.results.root).rglob("trial.json")}
    arguments = [str(experiment_file), "--results", inline.results.root]
    assert main(["run", *arguments]) == 0  # the Tune backend, which must not be needed
    assert "nothing ran" in capsys.readouterr().out
    assert before == {
        p: p.stat().st_mtime_ns for p in Path(inline.results.root).rglob("trial.json")
    }
    assert main(["plan", *arguments]) == 0
    assert "10 done, 0 to run" in capsys.readouterr().out
    assert main(["status", inline.results.root]) == 0
    assert "10 done of 10 trials" in capsys.readouterr().out
    assert main(["report", inline.results.root, "--format", "csv"]) == 0
    assert "gpt_neox,ja8,auroc" in capsys.readouterr().out


def test_a_damaged_folder_is_set_aside_and_run_again(
    inline: Outcome, experiment_file: Path
) -> None:
    expected = files(inline.results)
    victim = inline.ledger.done[0]
    damaged = Path(inline.results.root) / "trials" / victim / "predictions.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-7])
    again = run(load_experiment(experiment_file), inline.results.root, backend="inline")
    assert again.num_run == 1
    assert files(again.results) == expected
    assert list((Path(inline.results.root) / "set-aside").iterdir())


def test_other_settings_under_the_same_name_are_refused(
    inline: Outcome, experiment_file: Path
) -> None:
    other = load_experiment(experiment_file, ["training.num_train_epochs=2"])
    with pytest.raises(InputError, match=r"num_train_epochs: 1 there, 2 here"):
        run(other, inline.results.root, backend="inline")
    more = load_experiment(experiment_file, ["seeds=[0, 1, 2]"])
    assert run(more, inline.results.root, backend="inline").num_run == 5


def test_a_failing_trial_is_recorded_and_the_others_go_on(
    experiment_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    override = "overrides=[{match: {model: bert, pattern: ja8}, learning_rate: 1.0e+30}]"
    arguments = [str(experiment_file), "--set", override, "--results", str(tmp_path / "r")]
    assert main(["run", *arguments, "--set", "seeds=[0]", "--backend", "inline"]) == 1
    captured = capsys.readouterr()
    assert "FAILED bert-ja8-s0" in captured.err
    assert "failed" in captured.out
    assert main(["status", str(tmp_path / "r")]) == 0
    assert "4 done, 1 failed of 5 trials" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "quickstat"], "Did you mean 'quickstart'"),
        (["run", "quickstart", "--backend", "slurm"], "Known: inline, tune"),
        (["run", "quickstart", "--results", "/proc/none"], "cannot be written"),
        (["status", "/proc/none"], "holds no experiment"),
    ],
)
def test_bad_input_ends_with_2_and_one_error(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert told in captured.err
    assert "Traceback" not in captured.err


def test_status_and_report_need_neither_torch_nor_ray(inline: Outcome) -> None:
    code = (
        "import sys; from sweep.cli import main; "
        f"main(['status', {inline.results.root!r}]); main(['report', {inline.results.root!r}]); "
        "print('HEAVY', sorted({'torch', 'ray', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout


@pytest.fixture(scope="module")
def ray_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster of this module's own, started in process."""
    import ray

    from sweep import tune_backend  # noqa: F401  sets Ray's environment before Ray is imported

    context = ray.init(
        num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR"
    )
    yield context.address_info["address"]
    ray.shutdown()


@pytest.mark.ray
@pytest.mark.filterwarnings("default")
def test_tune_gives_the_bytes_of_inline(
    inline: Outcome, experiment_file: Path, tmp_path: Path, ray_address: str
) -> None:
    tuned = run(load_experiment(experiment_file), str(tmp_path / "tune"))
    assert len(tuned.ledger.done) == 10
    mine = {spec.trial_id for spec in tuned.grid.specs}
    expected = {n: c for n, c in files(inline.results).items() if n.split("/")[0] in mine}
    assert files(tuned.results) == expected


@pytest.mark.ray
@pytest.mark.slow
def test_a_killed_driver_loses_no_finished_trial(
    inline: Outcome, experiment_file: Path, tmp_path: Path
) -> None:
    root = tmp_path / "killed"
    command = [sys.executable, "-m", "sweep", "run", str(experiment_file), "--results", str(root)]
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    driver = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list(root.glob("trials/*/trial.json")):
        assert driver.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    finished = {p: p.stat().st_mtime_ns for p in root.glob("trials/*/trial.json")}
    second = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert finished.items() <= {p: p.stat().st_mtime_ns for p in finished}.items()
    mine = {p.parent.name for p in root.glob("trials/*/trial.json")}
    expected = {n: c for n, c in files(inline.results).items() if n.split("/")[0] in mine}
    assert len(mine) == 10
    assert files(Results(str(root))) == expected
    assert re.search(r"^llama +0\.\d{3} \(0\.\d{3}\)", second.stdout, re.MULTILINE)
