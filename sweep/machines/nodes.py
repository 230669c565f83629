"""What a machine has for trials: read without torch and without Ray."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from xlt.sweep.machines.capacity import Capacity
from xlt.trainables.spec.trial_spec import ACCELERATOR

MIB = 2**20


@dataclass(frozen=True)
class Gpu:
    """A GPU, as its driver tells.

    Attributes:
        name: E.g. ``NVIDIA A100-SXM4-80GB``.
        memory: Bytes.
        capability: Compute capability, e.g. (8, 0).
    """

    name: str
    memory: int
    capability: tuple[int, int]

    @property
    def accelerator_type(self) -> str:
        """What Ray calls it: the model without its form, e.g. A100 (ray.util.accelerators)."""
        named = re.match(r"\w+\s+([A-Z0-9]+)", self.name)
        return named.group(1) if named else self.name


@dataclass(frozen=True, kw_only=True)
class Node(Capacity):
    """A machine.

    Attributes:
        name: How it is told from others.
        gpus: What its driver tells of them; empty where it does not.
        memory: Bytes of main memory.
        hub_cache: Where base models of the hub are downloaded to.
        hub_cache_free: Bytes free there.
        torch: Version of torch, e.g. ``2.13.0+cpu``.
    """

    name: str
    gpus: tuple[Gpu, ...]
    memory: int
    hub_cache: str
    hub_cache_free: int
    torch: str

    @property
    def gpu_memory(self) -> int:
        """Of the smallest GPU, in bytes; 0: not known."""
        return min((gpu.memory for gpu in self.gpus), default=0)


def read_node() -> Node:
    """This machine."""
    from huggingface_hub.constants import HF_HUB_CACHE

    gpus = _gpus()
    return Node(
        name=os.uname().nodename,
        # A local Ray cluster may count fewer in a container; it then refuses by itself.
        num_cpus=os.cpu_count() or 1,
        num_gpus=len(gpus),
        others={ACCELERATOR + gpu.accelerator_type: 1.0 for gpu in gpus},
        gpus=gpus,
        memory=_memory(),
        hub_cache=HF_HUB_CACHE,
        hub_cache_free=free_bytes(HF_HUB_CACHE),
        torch=version("torch"),
    )


def free_bytes(folder: str) -> int:
    """Free for files in a folder that is there or can be made."""
    path = Path(folder).expanduser().absolute()
    there = next(parent for parent in (path, *path.parents) if parent.exists())
    return shutil.disk_usage(there).free


def _gpus() -> tuple[Gpu, ...]:
    """Those that CUDA_VISIBLE_DEVICES leaves visible."""
    query = "--query-gpu=index,uuid,name,memory.total,compute_cap"
    try:
        done = subprocess.run(
            ["nvidia-smi", query, "--format=csv,noheader,nounits"],
            capture_output=True, text=True, check=True, timeout=30,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    wanted = None if visible is None else [part.strip() for part in visible.split(",")]
    return parse_gpus(done.stdout, wanted)


def parse_gpus(text: str, visible: list[str] | None) -> tuple[Gpu, ...]:
    """Lines of nvidia-smi as GPUs.

    Args:
        text: A GPU a line: index, uuid, name, MiB, compute capability.
        visible: Indices or uuids of those that count; None: all.
    """
    found = []
    for line in text.strip().splitlines():
        index, uuid, name, memory, capability = (part.strip() for part in line.split(","))
        if visible is None or index in visible or uuid in visible:
            major, _, minor = capability.partition(".")
            found.append(Gpu(name, int(memory) * MIB, (int(major), int(minor))))
    return tuple(found)


def _memory() -> int:
    """Of the machine, or what a container is given of it (control groups, version 2)."""
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return installed
    return min(installed, int(limit)) if limit.isdigit() else installed
