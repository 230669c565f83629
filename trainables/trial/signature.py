"""What a trial's numbers depend on beside its spec: packages, commit, device and precision."""

from __future__ import annotations

import platform
import subprocess
import sys
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from xlt.trainables.loading.base import Base
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.loop import uses_bf16


def make_signature(spec: TrialSpec, base: Base, device: torch.device) -> dict[str, Any]:
    """What the numbers depend on beside the spec; unequal signatures are not averaged."""
    cuda = device.type == "cuda"
    return {
        "versions": read_versions(),
        "git_commit": _find_git_commit(),
        "data_fingerprint": spec.data_fingerprint,
        "device": f"cuda:{torch.cuda.get_device_name()}" if cuda else _describe_processor(),
        "precision": "bf16" if uses_bf16(spec, device) else "fp32",
        "num_threads": torch.get_num_threads(),
        "base_weights": base.weights_digest,
    }


@lru_cache
def _describe_processor() -> str:
    """A CPU by name, where the system tells it, and by the vectors that torch's kernels use.

    Both change sums: the same trial on two kinds of processor gives scores that differ.
    """
    vectors = torch.backends.cpu.get_cpu_capability()
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return f"cpu:{line.partition(':')[2].strip()}, {vectors}"
    return f"cpu:{platform.machine()}, {vectors}"


@lru_cache
def read_versions() -> dict[str, str]:
    """Of Python and of the packages that compute results."""
    packages = ("torch", "transformers", "peft", "tokenizers", "scikit-learn", "numpy", "pyarrow")
    found = {"python": sys.version.split()[0], **{name: version(name) for name in packages}}
    try:
        found["xlt-sweep"] = version("xlt-sweep")
    except PackageNotFoundError:  # run from a checkout that is not installed: see git_commit
        found["xlt-sweep"] = "not installed"
    return found


@lru_cache
def _find_git_commit() -> str | None:
    """Commit of the source checkout, or None for an installed package."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else None
