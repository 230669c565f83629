"""The printed sbatch file on a real Slurm: three nodes with addresses of their own, fake GPUs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from network_nodes import needs_namespaces, wait_until
from result_folders import trial_files
from slurm_cluster import Slurm, needs_slurm, slurm_cluster
from token_cluster import ROOT, torch_of_no_build

from xlt.sweep.experiment.experiment import load_experiment
from xlt.sweep.run import run_sweep
from xlt.trainables.results.result import Results

NUM_TRIALS = 10
LONGER = "training.num_train_epochs=20"
"""Training long enough to stop a job in the middle."""
LONGEST = "training.num_train_epochs=240"
"""Training long enough for Slurm to notice a dead node before the job ends."""
PATIENCE = 300
"""Timeout in seconds on a busy machine; an idle one needs a quarter of a minute."""

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1200), needs_slurm, needs_namespaces]


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "slurm").mkdir()
    with torch_of_no_build(tmp_path / "shim") as shim:
        monkeypatch.setenv("PYTHONPATH", f"{shim}:{ROOT}")
        with slurm_cluster(tmp_path / "slurm") as slurm:
            yield slurm


def print_launch_file(slurm: Slurm, experiment: Path, training: str = LONGER) -> Path:
    """Write the unchanged output of `xlt cluster template` to a file."""
    done = subprocess.run(
        [sys.executable, "-m", "xlt", "cluster", "template", "slurm", str(experiment),
         "--nodes", "3", "--gpus-per-node", "2", "--option", "scratch=/var/tmp",
         "--set", training, "--set", "storage.checkpoint_minutes=0",
         "--results", str(slurm.folder / "results")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    file = slurm.folder / "job.sbatch"
    file.write_text(done.stdout)
    return file


def log(slurm: Slurm, job: str) -> str:
    return (slurm.folder / f"xlt-tiny-{job}.log").read_text()


def num_done(slurm: Slurm) -> int:
    return len(list(slurm.folder.glob("results/trials/*/trial.json")))


def assert_as_in_one_process(slurm: Slurm, experiment: Path, training: str = LONGER) -> None:
    """Check that every trial has the same bytes as without a cluster."""
    alone = str(slurm.folder / "alone")
    undisturbed = run_sweep(load_experiment(experiment, [training]), alone, backend="inline")
    expected = trial_files(undisturbed.results)
    there = trial_files(Results(str(slurm.folder / "results")))
    assert sorted(there) == sorted(expected)
    assert [name for name, content in expected.items() if there[name] != content] == []


def test_a_sweep_runs_on_all_nodes_and_removes_its_files(
    slurm: Slurm, experiment_file: Path
) -> None:
    file = print_launch_file(slurm, experiment_file)
    job = slurm.submit(file)
    token = slurm.folder / f".xlt-{job}" / "token"
    wait_until(lambda: token.exists() and token.stat().st_size == 64, 30, "no token")
    assert token.stat().st_mode & 0o777 == 0o600
    assert token.parent.stat().st_mode & 0o777 == 0o700
    secret = token.read_text()
    wait_until(lambda: num_done(slurm) > 0, PATIENCE, "no trial ends")
    commands = [line for node in slurm.nodes for line in node.processes()]
    assert any("raylet" in line for line in commands)
    assert not [line for line in commands if secret in line]
    assert slurm.wait(job, PATIENCE) == "COMPLETED", log(slurm, job)
    text = log(slurm, job)
    assert "3 of 3 nodes joined" in text
    assert "6 CPUs and 6 GPUs: n1, n2, n3" in text
    assert "lost" not in text
    assert "Killed" not in text
    assert num_done(slurm) == NUM_TRIALS
    assert slurm.leftovers() == []
    again = slurm.submit(file)
    assert slurm.wait(again, PATIENCE) == "COMPLETED"
    assert f"All {NUM_TRIALS} trials were done already; nothing ran." in log(slurm, again)
    assert_as_in_one_process(slurm, experiment_file)


def test_a_dead_node_is_logged_and_costs_no_trial(slurm: Slurm, experiment_file: Path) -> None:
    job = slurm.submit(print_launch_file(slurm, experiment_file, LONGEST))
    wait_until(lambda: num_done(slurm) > 0, PATIENCE, "no trial ends")
    assert num_done(slurm) < NUM_TRIALS
    slurm.nodes[2].kill()
    assert slurm.wait(job, PATIENCE) == "COMPLETED", log(slurm, job)
    assert "xlt: node n3 is lost" in log(slurm, job)
    assert num_done(slurm) == NUM_TRIALS
    assert slurm.leftovers() == []
    assert_as_in_one_process(slurm, experiment_file, LONGEST)


def test_a_cancelled_job_removes_its_files_and_resumes_when_submitted_again(
    slurm: Slurm, experiment_file: Path
) -> None:
    file = print_launch_file(slurm, experiment_file)
    job = slurm.submit(file)
    wait_until(lambda: num_done(slurm) > 0, PATIENCE, "no trial ends")
    slurm.call("scancel", job)
    wait_until(lambda: slurm.leftovers() == [], 60, "processes or files stay")
    assert 0 < num_done(slurm) < NUM_TRIALS
    again = slurm.submit(file)
    assert slurm.wait(again, PATIENCE) == "COMPLETED", log(slurm, again)
    assert_as_in_one_process(slurm, experiment_file)


@pytest.mark.parametrize("sent", ["USR1", "requeue"])
def test_a_job_is_requeued_and_resumes_after_its_time_limit_or_preemption(
    sent: str, slurm: Slurm, experiment_file: Path
) -> None:
    """Slurm sends USR1 before the time limit, and requeues a preempted job."""
    job = slurm.submit(print_launch_file(slurm, experiment_file))
    wait_until(lambda: num_done(slurm) > 0, PATIENCE, "no trial ends")
    before = num_done(slurm)
    assert before < NUM_TRIALS
    if sent == "USR1":
        slurm.call("scancel", "--batch", "--signal=USR1", job)
    else:
        slurm.call("scontrol", "requeue", job)
    wait_until(lambda: slurm.field(job, "Restarts") == "1", PATIENCE, "the job is not requeued")
    assert slurm.wait(job, PATIENCE) == "COMPLETED", log(slurm, job)
    if sent == "USR1":
        assert "xlt: stopping, the time is nearly up" in log(slurm, job)
        assert "trials done; the same command runs the other trials" in log(slurm, job)
    assert slurm.leftovers() == []
    assert_as_in_one_process(slurm, experiment_file)


def test_a_job_uses_the_documented_ports(slurm: Slurm, experiment_file: Path) -> None:
    job = slurm.submit(print_launch_file(slurm, experiment_file))
    wait_until(lambda: num_done(slurm) > 0, PATIENCE, "no trial ends")
    base = 20000 + int(job) % 3000 * 3
    listening = {node.name: _ports(node.run("ss", "-Htln").stdout) for node in slurm.nodes}
    assert {base, base + 1, base + 2} <= listening["n1"]
    assert base not in listening["n2"]
    assert {base + 1, base + 2} <= listening["n2"]
    assert 8265 not in set().union(*listening.values())  # the dashboard
    slurm.call("scancel", job)


def _ports(listing: str) -> set[int]:
    return {int(line.split()[3].rpartition(":")[2]) for line in listing.splitlines()}
