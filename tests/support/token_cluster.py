"""Ray with token authentication on machines of a network, and `xlt` on them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from network_nodes import SCRATCH, Node
from repository import ROOT

from xlt.trainables.trial.signature import read_versions

RAY = str(Path(sys.executable).parent / "ray")
PORTS = ["--node-manager-port=6380", "--object-manager-port=6381"]
START = ["start", f"--temp-dir={SCRATCH}/ray", "--disable-usage-stats", "--block", *PORTS]
START_SECONDS = 120
"""That a busy machine is given for what takes it five seconds when idle."""


def write_token(folder: Path, token: str = "0123456789abcdef" * 4) -> Path:
    """A file with a token, as Ray wants it."""
    file = folder / "token"
    file.write_text(token)
    file.chmod(0o600)
    return file


def environment(token: Path | None, **more: str) -> dict[str, str]:
    """Token mode with a token's file, or no authentication at all; and more of Ray's settings."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    mode = {"RAY_AUTH_MODE": "disabled"}
    if token is not None:
        mode = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    paths = os.environ.get("PYTHONPATH", "").split(":")
    path = ":".join([*paths, str(ROOT)]).lstrip(":")
    return clean | mode | more | {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": path}


@contextmanager
def torch_of_no_build(folder: Path) -> Iterator[str]:
    """In this process torch's version does not say what it was built for, until the block ends.

    Torch without CUDA is refused beside GPUs, and the nodes' GPUs are numbers. Yields the folder,
    for the path of other processes.
    """
    metadata = folder / "torch-0.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text(f"Name: torch\nVersion: {version('torch').partition('+')[0]}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        read_versions.cache_clear()
        yield str(folder)
    read_versions.cache_clear()


@dataclass
class TokenCluster:
    """A cluster whose first node is the head.

    Attributes:
        nodes: Every machine, with Ray or without.
        folder: Where logs go.
        env: Environment of every process.
        options: Options of every `ray start`.
    """

    nodes: list[Node]
    folder: Path
    env: dict[str, str]
    options: tuple[str, ...]
    started: list[subprocess.Popen[Any]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"{self.nodes[0].address}:6379"

    def start(self, *nodes: Node) -> None:
        """Ray on machines; the head comes first and is waited for."""
        for node in nodes:
            is_head = node is self.nodes[0]
            role = [f"--address={self.address}"]
            if is_head:
                role = ["--head", f"--node-ip-address={node.address}", "--port=6379"]
                role.append("--include-dashboard=false")
            with (self.folder / f"{node.name}.log").open("ab") as log:
                ray = node.command(RAY, *START, *self.options, *role)
                self.started.append(subprocess.Popen(ray, env=self.env, stdout=log, stderr=log))
            if is_head:
                self.wait(1)

    def wait(self, count: int) -> None:
        """Until so many nodes are there."""
        done = self.xlt(self.nodes[0], "cluster", "wait", "--nodes", str(count),
                        "--address", self.address, "--seconds", str(START_SECONDS))  # fmt: skip
        output, errors = done.communicate()
        assert f"{count} of {count} nodes joined" in output, output + errors

    def xlt(self, node: Node, *words: str) -> subprocess.Popen[str]:
        """`xlt` on a machine."""
        driver = subprocess.Popen(
            node.command(sys.executable, "-m", "xlt", *words),
            env=self.env, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.started.append(driver)
        return driver

    def end(self) -> None:
        """End what was started from here; all else ends with the machines."""
        for process in self.started:
            process.kill()
            process.communicate()


@contextmanager
def token_cluster(
    nodes: list[Node],
    token: Path,
    *options: str,
    num_started: int | None = None,
    **settings: str,
) -> Iterator[TokenCluster]:
    """Ray on these machines, or on the first ones, with such options of `ray start`."""
    cluster = TokenCluster(nodes, token.parent, environment(token, **settings), options)
    started = nodes[:num_started]
    try:
        cluster.start(*started)
        cluster.wait(len(started))
        yield cluster
    finally:
        cluster.end()
