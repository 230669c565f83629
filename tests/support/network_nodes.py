"""Machines of a cluster on this one: namespaces with addresses, processes and /tmp of their own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

NETWORK = f"10.{100 + os.getpid() // 250 % 100}.{os.getpid() % 250}"
"""Address range of this test process alone, so that several can run side by side."""
HOST_ADDRESS = f"{NETWORK}.1"
SCRATCH = "/var/tmp"
"""Each node's own disk; /tmp is shared, because tests keep their files there."""

needs_namespaces = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("nsenter"),
    reason="network namespaces need root and iproute2",
)


@dataclass
class Node:
    """A machine; ``process`` is outside, ``pid`` is its init as seen from outside.

    ``space`` is its network namespace and ``cable`` what connects that; both outlive a reboot.
    """

    name: str
    address: str
    space: str
    cable: str
    process: subprocess.Popen[bytes]
    pid: int

    def command(self, *words: str) -> list[str]:
        """The words, to be run on this machine."""
        return ["nsenter", "--target", str(self.pid), "--all", *words]

    def run(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words), text=True, capture_output=True, check=False, **options
        )

    def kill(self) -> None:
        """Kill every process, as if the power failed."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()

    def boot(self) -> None:
        """Bring it up again after :meth:`kill`: no process and no file of its own is left."""
        self.process, self.pid = _boot(self.name, self.space)

    def cut(self) -> None:
        """Cut the network: the machine runs, reaches nobody, and waits for its files."""
        _ip("link", "set", self.cable, "down")
        for pid in self.pids():
            os.kill(pid, signal.SIGSTOP)

    def pids(self, name: str = "") -> list[int]:
        """Processes whose command line holds a name, as seen from outside; its init left out."""
        space = os.readlink(f"/proc/{self.pid}/ns/pid")
        matching = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(folder / "ns/pid") == space and name in command_line(folder.name):
                    matching.append(int(folder.name))
            except OSError:  # it ended meanwhile
                continue
        return [pid for pid in matching if pid != self.pid]

    def processes(self) -> list[str]:
        """Command lines of all that runs on it, its init left out."""
        matching = []
        for pid in self.pids():
            with suppress(OSError):  # it ended meanwhile
                matching.append(command_line(pid))
        return [line for line in matching if line and not line.startswith("sleep infinity")]


@contextmanager
def network_nodes(names: Sequence[str]) -> Iterator[list[Node]]:
    """Machines that reach each other by name; nothing of them is left afterwards."""
    bridge = f"xlt{os.getpid()}"
    hosts = {name: f"{NETWORK}.{number}" for number, name in enumerate(names, 11)}
    with ExitStack() as stack:
        _ip("link", "add", bridge, "type", "bridge")
        stack.callback(_ip, "link", "del", bridge)
        _ip("addr", "add", f"{HOST_ADDRESS}/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        yield [stack.enter_context(_node(name, bridge, hosts)) for name in names]


@contextmanager
def _node(name: str, bridge: str, hosts: dict[str, str]) -> Iterator[Node]:
    space, cable = f"{bridge}-{name}", f"{bridge}{name}"
    files = Path("/etc/netns") / space  # `ip netns exec` puts them in the place of /etc's
    with ExitStack() as stack:
        _ip("netns", "add", space)
        stack.callback(_ip, "netns", "del", space)
        _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", space)
        stack.callback(_ip, "link", "del", cable)
        _ip("link", "set", cable, "master", bridge)
        _ip("link", "set", cable, "up")
        _ip("-n", space, "link", "set", "lo", "up")
        _ip("-n", space, "addr", "add", f"{hosts[name]}/24", "dev", "eth0")
        _ip("-n", space, "link", "set", "eth0", "up")
        files.mkdir(parents=True)
        stack.callback(shutil.rmtree, files)
        lines = [f"{address} {host}" for host, address in hosts.items()]
        (files / "hosts").write_text("\n".join(["127.0.0.1 localhost", *lines, ""]))
        node = Node(name, hosts[name], space, cable, *_boot(name, space))
        try:
            yield node
        finally:
            node.kill()


def _boot(name: str, space: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start a machine's init; the process outside, and init's number."""
    inside = (
        f"hostname {name}; mount -t tmpfs tmpfs /dev/shm; mount -t tmpfs tmpfs {SCRATCH};"
        "mkdir -p /tmp/ray; mount -t tmpfs tmpfs /tmp/ray; echo ready; sleep infinity; exit"
    )
    process = subprocess.Popen(
        ["ip", "netns", "exec", space, "unshare", "--pid", "--fork", "--kill-child",
         "--mount-proc", "--uts", "--mount", "--ipc", "bash", "-c", inside],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout and process.stdout.readline() == b"ready\n"
    (init,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return process, int(init)


def command_line(pid: int | str) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def wait_until(condition: Any, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)
