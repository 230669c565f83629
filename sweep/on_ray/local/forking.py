"""Run a fork server beside a command, so that its worker processes need not import torch."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from xlt.sweep.driver.scratch import scratch_folder
from xlt.sweep.on_ray.local import fork_server
from xlt.sweep.on_ray.local.launcher import VARIABLE


@contextmanager
def forked_workers() -> Iterator[None]:
    """Let the workers of a Ray that this process starts be forks of one process that has torch.

    It starts at once and imports beside the block. It has no effect inside another such block, or
    where the environment variable names a server (or none, for a comparison), on a machine that may
    have GPUs, because CUDA allows no forks, and on systems other than Linux.
    """
    with ExitStack() as stack:
        if VARIABLE not in os.environ and sys.platform == "linux" and not _may_have_gpus():
            with suppress(OSError):  # e.g. TMPDIR is too long for a socket; workers import torch
                stack.enter_context(_fork_server())
        yield


def _may_have_gpus() -> bool:
    """Whether this machine has the driver of a GPU, from NVIDIA or AMD."""
    return bool(shutil.which("nvidia-smi")) or Path("/dev/kfd").exists()


@contextmanager
def _fork_server() -> Iterator[None]:
    with ExitStack() as stack:
        path = str(stack.enter_context(scratch_folder("fork")) / "socket")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(socket.SOMAXCONN)
            number = listener.fileno()
            arguments = [fork_server.__file__, str(number), str(os.getpid())]
            server = subprocess.Popen(
                [sys.executable, *_site_options(), *arguments],
                pass_fds=[number],
                # Forks start their threads themselves; threads of the server would be lost in them.
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        os.environ[VARIABLE] = path
        try:
            yield
        finally:
            del os.environ[VARIABLE]
            server.kill()
            server.wait()


def _site_options() -> list[str]:
    """Return the options of this process about site packages, which Ray's workers get too."""
    flags = sys.flags
    return ["-S"] * flags.no_site + ["-s"] * flags.no_user_site
