"""A Python environment for LIT alone, which needs numpy below 2 and so cannot share ours."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path

from xlt.data.core.errors import InputError
from xlt.data.core.user_cache import cache_dir

PYTHONS = ("3.11", "3.12")
"""Supported versions of Python: numpy 1.26, the last before 2, has no wheels for others."""
MARKER = "xlt-lit.sha256"
"""File that marks an environment of this package; other folders are never cleared. When the
installation is complete, it holds the digest of the pinned packages, before that another text."""
NUM_LAST_LINES = 5
"""Number of lines of a failed program's output that an error shows."""


def find_default_folder() -> Path:
    """Default folder of the environment, in the user's cache folder (:func:`cache_dir`)."""
    return cache_dir() / "lit"


def install(
    folder: Path,
    python: str = sys.executable,
    say: Callable[[str], None] = lambda line: None,
) -> bool:
    """Create the environment, unless it exists already.

    Packages are pinned and installed without their dependencies. The dependencies of lit_nlp that
    the viewer never imports (shap, matplotlib, pandas, translation services ...) would make the
    installation five times as long.

    Args:
        folder: Folder of the environment. An environment with other pins is replaced.
        python: Python program that creates it.
        say: Function that receives a line of text for each step.

    Returns:
        Whether the environment was created now.

    Raises:
        InputError: The folder holds other files, LIT has no packages for this version of Python,
            or a step failed; the error then shows its last lines.
    """
    if _is_ours(folder) and (folder / MARKER).read_text() == _digest():
        return False
    if folder.is_file() or (folder.exists() and any(folder.iterdir()) and not _is_ours(folder)):
        raise InputError(f"{folder} holds other files; give an empty folder as --env")
    version = _run("the Python of --python", [python, "-c", _VERSION]).strip()
    if version not in PYTHONS:
        raise InputError(
            f"{python} is Python {version}; LIT needs {' or '.join(PYTHONS)}: give its path as "
            "--python"
        )
    say(f"creating an environment in {folder}")
    _run("python -m venv", [python, "-I", "-m", "venv", "--clear", str(folder)])
    (folder / MARKER).write_text("unfinished")
    say("installing the packages of LIT")
    isolated = [str(find_python(folder)), "-I"]
    quiet = ["--quiet", "--no-input", "--disable-pip-version-check"]
    pip = [*isolated, "-m", "pip", "install", *quiet]
    _run("pip install", [*pip, "--no-deps", "-r", str(_pins())])
    _run("LIT", [*isolated, "-c", "import lit_nlp.app"])
    (folder / MARKER).write_text(_digest())
    return True


def check(folder: Path) -> None:
    """Refuse a folder without a complete environment with the present pins.

    Raises:
        InputError: The error names the command that creates or repairs the environment.
    """
    remedy = "`xlt lit install`"
    if folder != find_default_folder():
        remedy = f"`xlt lit install --env {folder}`"
    if not _is_ours(folder) or not find_python(folder).exists():
        raise InputError(f"no environment of LIT in {folder}; {remedy} creates it")
    if (folder / MARKER).read_text() != _digest():
        raise InputError(
            f"LIT in {folder} is incomplete or has other versions; {remedy} repairs it"
        )


def find_python(folder: Path) -> Path:
    """Path of the environment's Python."""
    return folder / "bin" / "python"


def join_last_lines(output: str) -> str:
    """Join the last lines of a failed program's output into one line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return " | ".join(lines[-NUM_LAST_LINES:]) or "it printed nothing"


_VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


def _is_ours(folder: Path) -> bool:
    return (folder / MARKER).is_file()


def _pins() -> Path:
    return Path(str(files("xlt.sweep.lit") / "requirements.txt"))


def _digest() -> str:
    return hashlib.sha256(_pins().read_bytes()).hexdigest()


def _run(step: str, command: Sequence[str]) -> str:
    """Run a step and return its output."""
    try:
        process = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise InputError(f"{step} cannot be started: {error}") from error
    if process.returncode:
        raise InputError(f"{step} failed: {join_last_lines(process.stdout + process.stderr)}")
    return process.stdout
