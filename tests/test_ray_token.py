"""Two Ray nodes with addresses of their own: who has not the token is turned away."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from network_nodes import SCRATCH, Node, needs_namespaces, network_nodes, wait_until

ROOT = Path(__file__).resolve().parent.parent
RAY = str(Path(sys.executable).parent / "ray")
PORTS = ["--node-manager-port=6380", "--object-manager-port=6381"]
START = ["start", "--num-cpus=1", f"--temp-dir={SCRATCH}/ray", "--disable-usage-stats", "--block"]
REFUSED_SECONDS = 200
"""Ray tries for 20 s on an idle machine."""

pytestmark = [pytest.mark.ray, pytest.mark.chaos, needs_namespaces]


def environment(token: Path | None) -> dict[str, str]:
    """Token mode with a token's file, or no authentication at all."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    mode = {"RAY_AUTH_MODE": "disabled"}
    if token is not None:
        mode = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    return clean | mode | {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT)}


@contextmanager
def started(node: Node, token: Path, log: Path, *options: str) -> Iterator[None]:
    command = node.command(RAY, *START, *PORTS, *options)
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=environment(token), stdout=file, stderr=file)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("token") / "token"
    file.write_text("0123456789abcdef" * 4)
    file.chmod(0o600)
    return file


@pytest.fixture(scope="module")
def nodes(token: Path) -> Iterator[list[Node]]:
    """Two that have joined and a third that has not."""
    with ExitStack() as stack:
        nodes = stack.enter_context(network_nodes(["n1", "n2", "n3"]))
        head = ["--head", f"--node-ip-address={nodes[0].address}", "--port=6379"]
        head.append("--include-dashboard=false")
        stack.enter_context(started(nodes[0], token, token.parent / "head.log", *head))
        assert "1 of 1 nodes are there" in waited(nodes, token, 1, 120).stdout
        join = f"--address={nodes[0].address}:6379"
        stack.enter_context(started(nodes[1], token, token.parent / "node.log", join))
        yield nodes


def waited(
    nodes: list[Node], token: Path | None, count: int, seconds: int
) -> subprocess.CompletedProcess[str]:
    """`xlt cluster wait` on the head's machine."""
    return nodes[0].run(
        sys.executable, "-m", "sweep", "cluster", "wait", "--nodes", str(count),
        "--address", f"{nodes[0].address}:6379", "--seconds", str(seconds),
        env=environment(token), cwd=ROOT,
    )  # fmt: skip


def test_a_node_with_the_token_joins(nodes: list[Node], token: Path) -> None:
    done = waited(nodes, token, 2, 120)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 nodes are there" in done.stdout
    assert "2 CPUs and 0 GPUs: n1, n2" in done.stdout


@pytest.mark.parametrize("has", ["no token", "another token"])
def test_a_node_without_the_token_is_turned_away(
    has: str, nodes: list[Node], token: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.write_text("f" * 64)
    done = nodes[2].run(
        RAY, *START, *PORTS, f"--address={nodes[0].address}:6379",
        env=environment(None if has == "no token" else other), timeout=REFUSED_SECONDS,
    )  # fmt: skip
    assert done.returncode != 0
    assert "uthenticat" in done.stdout + done.stderr
    wait_until(
        lambda: not [line for line in nodes[2].processes() if "raylet" in line],
        20,
        "a raylet stays",
    )
    there = waited(nodes, token, 3, 5)
    assert "2 of 3 nodes are there" in there.stdout
    assert "xlt: 1 nodes stayed away" in there.stderr


@pytest.mark.parametrize("has", ["no token", "another token"])
def test_a_driver_without_the_token_is_told_so(has: str, nodes: list[Node], tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("f" * 64)
    done = waited(nodes, None if has == "no token" else other, 1, 1)
    assert done.returncode == 2, done.stdout
    assert "xlt: no Ray cluster at" in done.stderr
    assert "Traceback" not in done.stderr
