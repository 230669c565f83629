"""Which modules a fresh process has loaded."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from repository import ROOT

HEAVY = (
    "torch",
    "ray",
    "transformers",
    "peft",
    "sklearn",
    "scipy",
    "pandas",
    "datasets",
    "lingua",
    "datasketch",
    "matplotlib",
    "plotly",
    "jinja2",
)


def heavy_imports(module: str) -> list[str]:
    """Which of HEAVY a module drags in, directly or not, in a fresh process."""
    return loaded_by([module], HEAVY)


def loaded_by(modules: Sequence[str], names: Sequence[str]) -> list[str]:
    """Which of these modules the import of others loads, directly or not, in a fresh process."""
    program = (
        f"import sys, importlib; [importlib.import_module(m) for m in {list(modules)}]; "
        f"print(*(name for name in {list(names)} if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def modules_after(arguments: Sequence[str], names: Sequence[str]) -> list[str]:
    """Which of these modules `xlt` has loaded when it ends, in a fresh process."""
    program = (
        f"import sys; from xlt.sweep.cli.main import main\ntry: main({list(arguments)})\n"
        f"except SystemExit: pass\nprint('LOADED', *(n for n in {list(names)} if n in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("LOADED")[1].split()
