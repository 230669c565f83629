"""A Slurm of several nodes on this machine, from Debian's packages slurm-wlm and munge."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from network_nodes import HOST_ADDRESS, SCRATCH, Node, network_nodes, wait_until

MISSING = [name for name in ("slurmctld", "slurmd", "munged") if not shutil.which(name)]
needs_slurm = pytest.mark.skipif(
    bool(MISSING),
    reason=f"no {', '.join(MISSING)}; on Debian: apt-get install slurm-wlm munge iproute2",
)
GPUS = 2
"""GPUs of each node; device files replace them, and nothing computes on them."""


@dataclass
class Slurm:
    """A running Slurm; ``folder`` is seen by all nodes."""

    folder: Path
    nodes: list[Node]
    env: dict[str, str]

    def call(self, *words: str) -> str:
        done = subprocess.run(
            words, env=self.env, cwd=self.folder, text=True, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def submit(self, file: Path) -> str:
        return self.call("sbatch", "--parsable", str(file))

    def field(self, job: str, name: str) -> str:
        """A field of a job, e.g. its JobState."""
        words = self.call("scontrol", "show", "job", job).split()
        return next(w.partition("=")[2] for w in words if w.startswith(f"{name}="))

    def wait(self, job: str, seconds: float) -> str:
        """The state that a job ends in."""
        ended = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")
        wait_until(lambda: self.field(job, "JobState") in ended, seconds, f"job {job} does not end")
        return self.field(job, "JobState")

    def leftovers(self) -> list[str]:
        """Leftovers of jobs: processes, files on nodes' own disks, job folders."""
        living = [node for node in self.nodes if node.process.poll() is None]
        processes = [line for node in living for line in node.processes() if "slurmd" not in line]
        files = [file for node in living for file in node.run("ls", "-A", SCRATCH).stdout.split()]
        return processes + files + [str(path) for path in self.folder.glob(".xlt-*")]


@contextmanager
def slurm_cluster(folder: Path, num_nodes: int = 3, cpus: int = 2) -> Iterator[Slurm]:
    """Daemons of this test's own: their sockets, keys, ports and logs are in ``folder``."""
    folder.chmod(0o755)
    names = [f"n{number}" for number in range(1, num_nodes + 1)]
    with ExitStack() as stack:
        nodes = stack.enter_context(network_nodes(names))
        conf = _write_settings(folder, nodes, cpus)
        env = os.environ | {"SLURM_CONF": str(conf)}
        key, bell = folder / "munge.key", folder / "munge.socket"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        places = [f"--{k}-file={folder}/munged.{k}" for k in ("pid", "log", "seed")]
        daemon = ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={bell}"]
        _start(stack, [*daemon, *places], env, folder / "munged.out")
        wait_until(bell.exists, 10, "munged does not start")
        _start(stack, ["slurmctld", "-D"], env, folder / "slurmctld.out")
        for node in nodes:
            _start(stack, node.command("slurmd", "-D", "-N", node.name), env,
                   folder / f"slurmd-{node.name}.out")  # fmt: skip
        slurm = Slurm(folder, nodes, env)
        idle = ["sinfo", "--noheader", "--states=idle", "--Node", "--format=%N"]

        def up() -> bool:
            answer = subprocess.run(idle, env=env, text=True, capture_output=True, check=False)
            return len(answer.stdout.split()) == num_nodes

        wait_until(up, 30, "Slurm's nodes do not become idle")
        yield slurm


def _start(stack: ExitStack, command: list[str], env: dict[str, str], log: Path) -> None:
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=env, stdout=file, stderr=subprocess.STDOUT)

    def end() -> None:
        process.kill()
        process.wait()

    stack.callback(end)


def _write_settings(folder: Path, nodes: list[Node], cpus: int) -> Path:
    for number in range(GPUS):
        device = folder / f"nvidia{number}"
        subprocess.run(["mknod", str(device), "c", "1", "3"], check=True)
    (folder / "gres.conf").write_text(
        "".join(f"NodeName={n.name} Name=gpu File={folder}/nvidia[0-{GPUS - 1}]\n" for n in nodes)
    )
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    (folder / "state").mkdir()
    lines = [
        "ClusterName=test", f"SlurmctldHost={socket.gethostname()}({HOST_ADDRESS})",
        f"SlurmctldPort={_free_port()}", "SlurmdPort=6818", "SlurmUser=root",
        # A requeued job waits until its credential has expired, after two minutes by default.
        "AuthType=auth/munge", f"AuthInfo=socket={folder}/munge.socket,cred_expire=30",
        "CredType=cred/munge", "MpiDefault=none", "ProctrackType=proctrack/linuxproc",
        "TaskPlugin=task/none",
        "SwitchType=switch/none", "ReturnToService=2", "SchedulerType=sched/backfill",
        "SelectType=select/cons_tres", "SelectTypeParameters=CR_Core", "GresTypes=gpu",
        "AccountingStorageType=accounting_storage/none", "JobAcctGatherType=jobacct_gather/none",
        "KillWait=30", "SlurmdTimeout=10", f"StateSaveLocation={folder}/state",
        f"SlurmctldPidFile={folder}/slurmctld.pid", f"SlurmdPidFile={folder}/slurmd-%n.pid",
        f"SlurmdSpoolDir={folder}/spool-%n",
        *(f"NodeName={n.name} NodeAddr={n.address} CPUs={cpus} RealMemory=4000 Gres=gpu:{GPUS} "
          "State=UNKNOWN" for n in nodes),
        "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP",
    ]  # fmt: skip
    conf = folder / "slurm.conf"
    conf.write_text("\n".join([*lines, ""]))
    return conf


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
