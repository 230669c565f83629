"""Ray nodes and drivers without the token of a cluster are refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from network_nodes import Node, needs_namespaces, network_nodes, wait_until
from token_cluster import RAY, ROOT, START, TokenCluster, environment, token_cluster, write_token

REFUSED_SECONDS = 200
"""Timeout in seconds; Ray retries for 20 s on an idle machine."""

pytestmark = [pytest.mark.ray, pytest.mark.chaos, needs_namespaces]


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_token(tmp_path_factory.mktemp("token"))


@pytest.fixture(scope="module")
def cluster(token: Path) -> Iterator[TokenCluster]:
    """Two nodes that have joined and a third that has not."""
    with (
        network_nodes(["n1", "n2", "n3"]) as nodes,
        token_cluster(nodes, token, "--num-cpus=1", num_started=2) as cluster,
    ):
        yield cluster


def waited(
    nodes: list[Node], token: Path | None, count: int, seconds: int
) -> subprocess.CompletedProcess[str]:
    """Run `xlt cluster wait` on the machine of the head."""
    return nodes[0].run(
        sys.executable, "-m", "xlt", "cluster", "wait", "--nodes", str(count),
        "--address", f"{nodes[0].address}:6379", "--seconds", str(seconds),
        env=environment(token), cwd=ROOT,
    )  # fmt: skip


def test_a_node_with_the_token_joins(cluster: TokenCluster, token: Path) -> None:
    done = waited(cluster.nodes, token, 2, 120)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 nodes joined" in done.stdout
    assert "2 CPUs and 0 GPUs: n1, n2" in done.stdout


@pytest.mark.parametrize("has", ["no token", "another token"])
def test_a_node_without_the_token_is_refused(
    has: str, cluster: TokenCluster, token: Path, tmp_path: Path
) -> None:
    other, nodes = write_token(tmp_path, "f" * 64), cluster.nodes
    done = nodes[2].run(
        RAY, *START, "--num-cpus=1", f"--address={cluster.address}",
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
    assert "2 of 3 nodes joined" in there.stdout
    assert "xlt: 1 nodes did not join" in there.stderr


@pytest.mark.parametrize("has", ["no token", "another token"])
def test_a_driver_without_the_token_gets_a_clear_error(
    has: str, cluster: TokenCluster, tmp_path: Path
) -> None:
    other = write_token(tmp_path, "f" * 64)
    done = waited(cluster.nodes, None if has == "no token" else other, 1, 1)
    assert done.returncode == 2, done.stdout
    assert "xlt: no Ray cluster at" in done.stderr
    assert "Traceback" not in done.stderr
