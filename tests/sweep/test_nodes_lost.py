"""Trials resume when machines of a cluster die, join or lose their link."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from network_nodes import Node, needs_namespaces, network_nodes, wait_until
from result_folders import finished, trial_files
from token_cluster import TokenCluster, token_cluster, torch_of_no_build, write_token

from xlt.sweep.experiment.experiment import load_experiment
from xlt.sweep.run import RunOutcome, run_sweep
from xlt.trainables.results.result import Results

LONGER = "training.num_train_epochs=20"
"""Training long enough to kill a node in the middle, and for Ray to notice."""
NUM_TRIALS = 10
PATIENCE = 240
"""Timeout in seconds on a busy machine; an idle one needs a quarter of a minute."""

pytestmark = [pytest.mark.ray, pytest.mark.cluster, pytest.mark.timeout(900), needs_namespaces]


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("token")
    with torch_of_no_build(folder / "shim") as shim, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", shim)
        patch.setenv("OMP_NUM_THREADS", "1")
        yield write_token(folder)


@pytest.fixture(scope="module")
def undisturbed(
    experiment_file: Path, token: Path, tmp_path_factory: pytest.TempPathFactory
) -> RunOutcome:
    """Run in one process, with the package versions that the nodes see."""
    root = str(tmp_path_factory.mktemp("undisturbed") / "results")
    return run_sweep(load_experiment(experiment_file, [LONGER]), root, backend="inline")


@pytest.fixture
def nodes() -> Iterator[list[Node]]:
    with network_nodes(["n1", "n2", "n3"]) as nodes:
        yield nodes


def resumed(root: Path) -> list[str]:
    """List the trials that resumed from a checkpoint."""
    executions = {p.parent.name: json.loads(p.read_text())["execution"] for p in finished(root)}
    return [
        trial_id for trial_id, execution in executions.items() if execution.get("resumed_at_steps")
    ]


def trials_on(node: Node) -> list[int]:
    return node.pids("ray::ImplicitFunc")


def drive(cluster: TokenCluster, node: Node, file: Path, root: Path) -> subprocess.Popen[str]:
    return cluster.xlt(
        node, "run", str(file), "--results", str(root), "--address", cluster.address,
        "--set", LONGER, "--set", "storage.checkpoint_minutes=0",
    )  # fmt: skip


def assert_undisturbed(root: Path, undisturbed: RunOutcome) -> None:
    ours, theirs = trial_files(Results(str(root))), trial_files(undisturbed.results)
    assert sorted(ours) == sorted(theirs)
    assert [name for name, content in theirs.items() if ours[name] != content] == []


def assert_resumed(
    root: Path, before: dict[Path, int], errors: str, undisturbed: RunOutcome
) -> None:
    """Check that trials of a lost node resumed from checkpoints and finished trials stayed."""
    assert "its process died; the trial will restart" in errors
    assert "Traceback" not in errors
    assert before.items() <= finished(root).items()
    assert resumed(root)
    assert_undisturbed(root, undisturbed)


def test_a_joining_node_gets_trials_and_a_dying_node_costs_no_finished_trial(
    nodes: list[Node], token: Path, experiment_file: Path, tmp_path: Path, undisturbed: RunOutcome
) -> None:
    root = tmp_path / "r"
    with token_cluster(nodes, token, "--num-cpus=2", "--num-gpus=2", num_started=2) as cluster:
        driver = drive(cluster, nodes[0], experiment_file, root)
        wait_until(lambda: trials_on(nodes[1]), PATIENCE, "no trial starts")
        cluster.start(nodes[2])
        wait_until(lambda: trials_on(nodes[2]), PATIENCE, "the node that joined is not used")
        wait_until(
            lambda: finished(root) and list(root.glob("checkpoints/*")), PATIENCE, "no trial ends"
        )
        assert trials_on(nodes[1]) and len(finished(root)) < NUM_TRIALS
        before = finished(root)
        nodes[1].kill()
        _, errors = driver.communicate(timeout=PATIENCE)
        assert driver.returncode == 0, errors
    assert_resumed(root, before, errors, undisturbed)


def test_a_lost_head_ends_the_driver_and_the_same_command_finishes(
    nodes: list[Node], token: Path, experiment_file: Path, tmp_path: Path, undisturbed: RunOutcome
) -> None:
    root = tmp_path / "r"
    with token_cluster(nodes[:2], token, "--num-cpus=2", "--num-gpus=2") as cluster:
        driver = drive(cluster, nodes[1], experiment_file, root)
        wait_until(lambda: finished(root), PATIENCE, "no trial ends")
        nodes[0].kill()
        _, errors = driver.communicate(timeout=PATIENCE)
        assert driver.returncode == 2, errors
        assert "xlt: the Ray head at " in errors.splitlines()[-1]
        assert "Traceback" not in errors
        before = finished(root)
        assert 0 < len(before) < NUM_TRIALS
        nodes[0].boot()
        cluster.start(nodes[0])
        driver = drive(cluster, nodes[0], experiment_file, root)
        _, errors = driver.communicate(timeout=PATIENCE)
        assert driver.returncode == 0, errors
    assert before.items() <= finished(root).items()
    assert_undisturbed(root, undisturbed)


def test_trials_of_a_node_without_a_link_resume_on_other_nodes(
    nodes: list[Node], token: Path, experiment_file: Path, tmp_path: Path, undisturbed: RunOutcome
) -> None:
    """Ray waits a minute for a silent node; this test shortens that."""
    root, impatient = tmp_path / "r", {"RAY_health_check_timeout_ms": "2000"}
    slots = ("--num-cpus=2", "--num-gpus=2")
    with token_cluster(nodes[:2], token, *slots, **impatient) as cluster:
        driver = drive(cluster, nodes[0], experiment_file, root)
        wait_until(
            lambda: trials_on(nodes[1]) and finished(root) and list(root.glob("checkpoints/*")),
            PATIENCE,
            "no trial ends",
        )
        nodes[1].cut()
        before = finished(root)
        _, errors = driver.communicate(timeout=PATIENCE)
        assert driver.returncode == 0, errors
    assert_resumed(root, before, errors, undisturbed)
