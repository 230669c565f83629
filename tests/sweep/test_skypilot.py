"""The launch file of SkyPilot: its script on two machines, and SkyPilot's own parser."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from network_nodes import HOST_ADDRESS, needs_namespaces, network_nodes, wait_until
from repository import ROOT
from result_folders import trial_files

from xlt.sweep.cluster import fill_launch_file
from xlt.sweep.cluster.settings import Machines
from xlt.trainables.results.result import Results

STORE = "s3://bucket/xlt"


def filled(experiment: str = "paper", *settings: str, **options: str) -> str:
    machines = Machines(nodes=2, gpus_per_node=0 if experiment != "paper" else 8)
    return fill_launch_file(
        "skypilot", experiment, settings, STORE, machines=machines,
        options={"image": "registry/xlt:1", **options},
    )  # fmt: skip


def test_the_token_is_a_secret_of_skypilot() -> None:
    task = yaml.safe_load(filled())
    assert task["secrets"] == {"XLT_RAY_TOKEN": None}
    assert task["resources"]["accelerators"] == "A10G:8" and task["num_nodes"] == 2
    assert "infra" not in task["resources"] and task["resources"]["use_spot"] is True
    own = yaml.safe_load(filled(infra="k8s", spot="false", gpu="H100"))["resources"]
    assert (own["infra"], own["use_spot"], own["accelerators"]) == ("k8s", False, "H100:8")


@pytest.mark.skipif("SKYPILOT_PYTHON" not in os.environ, reason="SKYPILOT_PYTHON names no Python")
@pytest.mark.parametrize("options", [{}, {"infra": "k8s", "spot": "false"}])
def test_skypilots_own_parser_accepts_the_file(options: dict[str, str], tmp_path: Path) -> None:
    code = (
        "import sys, yaml, sky\n"
        "task = sky.Task.from_yaml_config(\n"
        "    yaml.safe_load(sys.stdin), secrets_overrides={'XLT_RAY_TOKEN': 'x'})\n"
        "print(task.num_nodes, *(r.accelerators for r in task.resources))"
    )

    def parsed(text: str) -> subprocess.CompletedProcess[str]:
        words = [os.environ["SKYPILOT_PYTHON"], "-c", code]
        environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
        return subprocess.run(
            words, input=text, env=environment, capture_output=True, text=True, check=False
        )

    done = parsed(filled(**options))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "2 {'A10G': 8}"
    assert parsed(filled().replace("num_nodes", "num_node")).returncode != 0


@pytest.mark.ray
@pytest.mark.cluster
@needs_namespaces
def test_the_script_runs_a_sweep_on_two_machines(experiment_file: Path, tmp_path: Path) -> None:
    """Both run SkyPilot's script; the location of the results is the only change."""
    task = yaml.safe_load(filled(str(experiment_file), "seeds=[0]"))
    results = str(tmp_path / "results")
    script = task["run"].replace(STORE, results)
    assert script != task["run"]
    with network_nodes(["n1", "n2"]) as nodes:
        environment = {
            **os.environ, **task["envs"],
            "XLT_RAY_TOKEN": "a" * 64, "RAY_ADDRESS": f"{HOST_ADDRESS}:6380",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT),
            "SKYPILOT_NODE_IPS": "\n".join(node.address for node in nodes),
            "SKYPILOT_NUM_NODES": "2",
        }  # fmt: skip
        started = []
        for rank, node in enumerate(nodes):
            own = environment | {"SKYPILOT_NODE_RANK": str(rank)}
            with (tmp_path / f"{node.name}.log").open("w") as log:
                command = node.command("bash", "-c", script)
                started.append(
                    subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path, env=own)
                )
        wait_until(lambda: started[0].poll() is not None, 400, "the head's script does not end")
        shown = (tmp_path / "n1.log").read_text()
        assert started[0].returncode == 0, shown
        assert "2 of 2 nodes joined" in shown and "Table 3" in shown
        wait_until(lambda: started[1].poll() is not None, 120, "the other script does not end")
        assert started[1].returncode == 0
        assert not list(Path("/tmp").glob("xlt-??????/token"))
        for node in nodes:
            assert not [line for line in node.processes() if "raylet" in line or "xlt run" in line]
    done = [name for name in trial_files(Results(results)) if name.endswith("trial.json")]
    assert len(done) == 5
    assert not any("a" * 64 in log.read_text() for log in tmp_path.glob("*.log"))
