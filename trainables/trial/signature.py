"""Signature of a result: what its numbers depend on besides the spec.

These are the versions of packages, the commit, the device and the precision.
"""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from xlt.data.core.registries import list_plugins
from xlt.trainables.loading.base import Base
from xlt.trainables.results.trial_result import NOT_APPLICABLE
from xlt.trainables.spec.methods import METHOD_GROUP, OWN_METHODS
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.loop import uses_bf16


def make_signature(spec: TrialSpec, base: Base | None, device: torch.device) -> dict[str, Any]:
    """Make the signature of a trial's numbers; numbers of unequal signatures are not averaged."""
    cuda = device.type == "cuda"
    precision = "bf16" if uses_bf16(spec, device) else "fp32"
    return {
        "versions": read_versions() | _read_plugin_version(spec.method),
        "git_commit": _find_git_commit(),
        "data_fingerprint": spec.data_fingerprint,
        "device": f"cuda:{torch.cuda.get_device_name()}" if cuda else _describe_processor(),
        "precision": precision if base else NOT_APPLICABLE,
        "num_threads": torch.get_num_threads(),
        "base_weights": base.weights_digest if base else NOT_APPLICABLE,
    }


def list_differences(written: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """List what differs between two signatures and can change numbers.

    Args:
        written: Signature of a finished trial.
        now: Signature of a trial in this process.
    """
    differ = [
        f"{name} {written.get(name)}, here {value}"
        for name, value in now.items()
        if name not in ("versions", "git_commit") and written.get(name) != value
    ]
    versions = written["versions"]
    return differ + [
        f"{name} {versions.get(name)}, here {value}"
        for name, value in now["versions"].items()
        if versions.get(name) != value
    ]


@lru_cache
def _describe_processor() -> str:
    """Describe the CPU by its name, if the system reports it, and by torch's vector instructions.

    Both change sums: the same trial on two kinds of processor gives different scores.
    """
    vectors = torch.backends.cpu.get_cpu_capability()
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return f"cpu:{line.partition(':')[2].strip()}, {vectors}"
    return f"cpu:{platform.machine()}, {vectors}"


@lru_cache
def read_versions() -> dict[str, str]:
    """Read the versions of Python and of the packages that compute results."""
    packages = ("torch", "transformers", "peft", "tokenizers", "scikit-learn", "numpy", "pyarrow")
    package_versions = {
        "python": sys.version.split()[0],
        **{name: version(name) for name in packages},
    }
    try:
        package_versions["xlt-sweep"] = version("xlt-sweep")
    except PackageNotFoundError:  # a checkout that is not installed; git_commit identifies it
        package_versions["xlt-sweep"] = "not installed"
    return package_versions


def _read_plugin_version(method: str) -> dict[str, str]:
    """Read the version of the package whose plug-in is the method; empty for our own methods."""
    plugins = list_plugins(METHOD_GROUP) if method not in OWN_METHODS else ()
    return {p.dist.name: p.dist.version for p in plugins if p.name == method and p.dist}


@lru_cache
def _find_git_commit() -> str | None:
    """Return the commit of the source checkout, or None for an installed package."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    process = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False
    )
    return process.stdout.strip() if process.returncode == 0 else None
