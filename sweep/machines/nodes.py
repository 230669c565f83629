"""Read the hardware of a machine, without torch and without Ray."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from xlt.data.tables.memory import read_memory
from xlt.sweep.machines.capacity import Capacity
from xlt.trainables.spec.cost import name_gpu_type
from xlt.trainables.spec.resources import ACCELERATOR

MIB = 2**20


@dataclass(frozen=True)
class Gpu:
    """A GPU, as its driver describes it.

    Attributes:
        name: Name, e.g. ``NVIDIA A100-SXM4-80GB``.
        memory: Memory in bytes.
        capability: Compute capability, e.g. (8, 0).
    """

    name: str
    memory: int
    capability: tuple[int, int]

    @property
    def accelerator_type(self) -> str:
        """Type of the GPU in Ray: its model without the form, e.g. A100."""
        return name_gpu_type(self.name)


@dataclass(frozen=True, kw_only=True)
class Node(Capacity):
    """A machine.

    Attributes:
        name: Name of the machine.
        gpus: GPUs that the driver describes; empty if it describes none.
        memory: Main memory in bytes.
        hub_cache: Folder for downloads from the hub.
        hub_cache_free: Free bytes in that folder.
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
        """Memory of the smallest GPU in bytes; 0 if it is not known."""
        return min((gpu.memory for gpu in self.gpus), default=0)


def read_node() -> Node:
    """Read the hardware of this machine."""
    from huggingface_hub.constants import HF_HUB_CACHE

    gpus = _read_gpus()
    return Node(
        name=os.uname().nodename,
        # A local Ray cluster may count fewer CPUs in a container; then it refuses trials itself.
        num_cpus=os.cpu_count() or 1,
        num_gpus=len(gpus),
        others={ACCELERATOR + gpu.accelerator_type: 1.0 for gpu in gpus},
        gpus=gpus,
        memory=read_memory(),
        hub_cache=HF_HUB_CACHE,
        hub_cache_free=count_free_bytes(HF_HUB_CACHE),
        torch=version("torch"),
    )


def count_free_bytes(folder: str) -> int:
    """Count free bytes for a folder, which need not exist yet."""
    path = Path(folder).expanduser().absolute()
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    return shutil.disk_usage(existing).free


def _read_gpus() -> tuple[Gpu, ...]:
    """Read the GPUs that are visible by CUDA_VISIBLE_DEVICES."""
    query = "--query-gpu=index,uuid,name,memory.total,compute_cap"
    try:
        done = subprocess.run(
            ["nvidia-smi", query, "--format=csv,noheader,nounits"],
            capture_output=True, text=True, check=True, timeout=30,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    ids = None if visible is None else [part.strip() for part in visible.split(",")]
    return parse_gpus(done.stdout, ids)


def parse_gpus(text: str, visible: list[str] | None) -> tuple[Gpu, ...]:
    """Parse the output of nvidia-smi.

    Args:
        text: One line for each GPU: index, uuid, name, MiB, compute capability.
        visible: Indices or uuids of visible GPUs; None for all.
    """
    gpus = []
    for line in text.strip().splitlines():
        index, uuid, name, memory, capability = (part.strip() for part in line.split(","))
        if visible is None or index in visible or uuid in visible:
            major, _, minor = capability.partition(".")
            gpus.append(Gpu(name, int(memory) * MIB, (int(major), int(minor))))
    return tuple(gpus)
