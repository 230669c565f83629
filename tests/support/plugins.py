"""Plug-ins that are installed for a test: a sample package, and ones written by hand."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from repository import ROOT

from xlt.data.core.registries import Registry, list_plugins


def install_sample(folder: Path) -> Path:
    """Install the sample package with pip; returns the folder that holds it."""
    source = folder / "source"  # pip builds in the folder of the source
    shutil.copytree(ROOT / "tests/support/sample_plugin", source)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    alone = ["--no-deps", "--no-index", "--no-build-isolation", "--target", str(folder / "site")]
    subprocess.run([*pip, *alone, str(source)], check=True)
    return folder / "site"


def write_plugin(folder: Path, group: str, name: str, target: str, code: str, dist: str) -> None:
    """Write an installed package of one module, named as ``dist``, with one entry point."""
    info = folder / f"{dist}-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {target}\n")
    (folder / f"{target.partition(':')[0]}.py").write_text(code)


def forget_plugins(*registries: Registry[object]) -> None:
    """Read the plug-ins again when they are next asked for."""
    list_plugins.cache_clear()
    for registry in registries:
        vars(registry).pop("plugins", None)
