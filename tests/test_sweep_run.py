"""Runs end to end on tiny checkpoints: backends agree, nothing is run twice, nothing is lost."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from result_folders import trial_files

from data.errors import InputError
from sweep.cli import main
from sweep.experiment import load_experiment
from sweep.run import Outcome, run


@pytest.fixture(scope="module")
def inline(experiment_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    results = str(tmp_path_factory.mktemp("results") / "inline")
    return run(load_experiment(experiment_file), results, backend="inline")


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
    expected = trial_files(inline.results)
    victim = inline.ledger.done[0]
    damaged = Path(inline.results.root) / "trials" / victim / "predictions.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-7])
    again = run(load_experiment(experiment_file), inline.results.root, backend="inline")
    assert again.num_run == 1
    assert trial_files(again.results) == expected
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
    expected = {n: c for n, c in trial_files(inline.results).items() if n.split("/")[0] in mine}
    assert trial_files(tuned.results) == expected
