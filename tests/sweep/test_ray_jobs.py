"""xlt submit on two nodes without a checkout: the job brings the code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from ctrl_c import hear_ctrl_c
from network_nodes import Node, needs_namespaces, network_nodes, wait_until
from ray_jobs import BUNDLED
from repository import ROOT
from result_folders import trial_files

from xlt.sweep.experiment.experiment import load_experiment
from xlt.sweep.run import run_sweep
from xlt.trainables.results.result import Results

BIN = Path(sys.executable).parent
TOKEN = "0123456789abcdef" * 4

pytestmark = [pytest.mark.ray, pytest.mark.cluster, pytest.mark.timeout(600), needs_namespaces]


def environment(token: Path, pythonpath: str) -> dict[str, str]:
    dropped = ("RAY_", "PYTHONDONTWRITEBYTECODE")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
    return clean | {
        "PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": pythonpath, "OMP_NUM_THREADS": "1",
        "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "RAY_USAGE_STATS_ENABLED": "0",
    }  # fmt: skip


def code_folders() -> list[str]:
    """List the packages of this checkout, and of the checkout installed in the environment."""
    code = "import xlt; print(xlt.__path__[0])"
    installed = subprocess.run(
        [sys.executable, "-c", code], cwd="/", capture_output=True, text=True, check=False,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
    ).stdout.strip()  # fmt: skip
    roots = {ROOT, Path(installed).parent} if installed else {ROOT}
    names = ("xlt", "sweep", "analysis", "trainables", "data")
    return [str(root / name) for root in roots for name in names]


class Cluster:
    """Nodes that share the results' disk but not the checkout, and a client beside them."""

    def __init__(self, folder: Path, nodes: list[Node], stack: ExitStack) -> None:
        self.folder, self.nodes, self._stack = folder, nodes, stack
        self.token = folder / "token"
        self.token.write_text(TOKEN)
        self.token.chmod(0o600)
        self.url = f"http://{nodes[0].address}:8265"
        for node in nodes:
            for package in code_folders():
                hidden = node.run("mount", "-t", "tmpfs", "tmpfs", package)
                assert hidden.returncode == 0, hidden.stderr
        # A copy, because the nodes do not see this folder.
        server = folder / "ray_jobs.py"
        server.write_text((ROOT / "tests" / "support" / "ray_jobs.py").read_text())
        ray = [str(BIN / "ray"), "start", "--num-cpus=1", "--block"]
        head = f"{nodes[0].address}:6379"
        own = ["--head", "--port=6379", f"--node-ip-address={nodes[0].address}"]
        self._start(stack, nodes[0], [*ray, *own, "--include-dashboard=false"], "head")
        serve = [sys.executable, str(server), head, "--host", nodes[0].address]
        wait_until(lambda: self._answers(head), 120, "the head does not start")
        self._start(stack, nodes[1], [*ray, f"--address={head}"], "node")
        self._start(stack, nodes[0], serve, "server")
        wait_until(lambda: "ready" in (folder / "server.log").read_text(), 60, "no job server")

    def _start(self, stack: ExitStack, node: Node, command: list[str], name: str) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                node.command(*command), env=environment(self.token, ""), cwd="/",
                stdout=log, stderr=log,
            )  # fmt: skip
        stack.callback(process.wait)
        stack.callback(process.kill)

    def _answers(self, head: str) -> bool:
        code = f"import ray; ray.init({head!r}, log_to_driver=False)"
        tried = self.nodes[0].run(
            sys.executable, "-c", code, env=environment(self.token, ""), cwd="/"
        )
        return tried.returncode == 0

    def xlt(self, *words: str, token: Path | None = None) -> subprocess.Popen[str]:
        """Started on the client's machine."""
        process = subprocess.Popen(
            [sys.executable, "-m", "xlt", words[0], *words[1:], "--address", self.url],
            env=environment(token or self.token, f"{ROOT}:{BUNDLED}"), cwd=self.folder,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=hear_ctrl_c,
        )  # fmt: skip
        self._stack.callback(process.kill)
        return process


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with ExitStack() as stack:
        nodes = stack.enter_context(network_nodes(["n1", "n2"]))
        yield Cluster(tmp_path_factory.mktemp("cluster"), nodes, stack)


def test_a_wrong_token_gives_one_clear_error(cluster: Cluster) -> None:
    other = cluster.folder / "other"
    other.write_text("f" * 64)
    done = cluster.xlt("submit", "quickstart", "--results", "/r", token=other)
    out, err = done.communicate(timeout=60)
    assert done.returncode == 2, out
    assert err.startswith(f"xlt: the cluster at {cluster.url} requires its token")
    assert "Traceback" not in err


def test_nodes_without_a_checkout_run_the_code_of_the_job(
    cluster: Cluster, experiment_file: Path
) -> None:
    for node in cluster.nodes:
        ended = node.run(sys.executable, "-c", "import xlt.sweep.run", cwd="/")
        assert "No module named 'xlt" in ended.stderr
    results = str(cluster.folder / "results")
    sent = cluster.xlt("submit", str(experiment_file), "--results", results)
    out, err = sent.communicate(timeout=300)
    assert sent.returncode == 0, out + err
    assert "[10/10]" in out and "Table 3." in out
    assert TOKEN not in out + err
    alone = run_sweep(
        load_experiment(experiment_file), str(cluster.folder / "alone"), backend="inline"
    )
    assert without_commit(Results(results)) == without_commit(alone.results)
    for node, module in zip(cluster.nodes, ("sweep/run", "trainables/trial"), strict=True):
        # Python compiles a module where it imports it from: the driver's, and those of trials.
        where = "/tmp/ray/session_latest/runtime_resources/py_modules_files"
        compiled = node.run("find", where, "-path", f"*/{module.partition('/')[0]}/*.pyc")
        assert f"/{module.partition('/')[2]}.cpython" in compiled.stdout


def test_a_job_continues_after_ctrl_c_and_can_be_stopped(
    cluster: Cluster, experiment_file: Path
) -> None:
    results = cluster.folder / "long"
    follower = cluster.xlt(
        "submit", str(experiment_file), "--results", str(results),
        "--set", "training.num_train_epochs=100000", "--set", "storage.checkpoint_minutes=0",
        "--only", "model=bert",
    )  # fmt: skip
    assert follower.stdout
    job = follower.stdout.readline().split()[1]
    wait_until(lambda: list(results.glob("checkpoints/*")) != [], 200, "no trial begins")
    follower.send_signal(signal.SIGINT)
    out, err = follower.communicate(timeout=60)
    assert follower.returncode == 130, out + err
    assert f"Follow it: xlt job {job} --address {cluster.url}" in err
    lease = results / "experiments" / "tiny.lease.json"
    assert lease.exists()
    stopper = cluster.xlt("job", job, "--stop")
    out, err = stopper.communicate(timeout=120)
    assert stopper.returncode == 130, out + err
    assert "Stopped with 0 of 4 trials done" in out
    assert not lease.exists()


def without_commit(results: Results) -> dict[str, bytes]:
    """Read the files of trials without the commit, which carried code does not have."""
    files = trial_files(results)
    for name, content in files.items():
        if name.endswith("trial.json"):
            record = json.loads(content)
            del record["signature"]["git_commit"]
            files[name] = json.dumps(record).encode()
    return files
