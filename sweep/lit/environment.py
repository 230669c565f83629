"""LIT's own environment: it needs numpy below 2, and can never be installed beside this package."""

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
"""numpy 1.26, the last below 2, has no wheels for others."""
MARKER = "xlt-lit.sha256"
"""The digest of the pins that the environment was made from, written last; until then another text.
Tells our environments from others, which are never cleared."""
NUM_LAST_LINES = 5
"""Of a program that failed, in the error."""


def default_folder() -> Path:
    """Below the user's cache folder, see :func:`cache_dir`."""
    return cache_dir() / "lit"


def install(
    folder: Path,
    python: str = sys.executable,
    say: Callable[[str], None] = lambda line: None,
) -> bool:
    """Make the environment, unless it is there.

    Exact pins without their dependencies: what lit_nlp asks for and the viewer never imports
    (shap, matplotlib, pandas, translation services ...) would take five times as long.

    Args:
        folder: Where; an environment of other pins there is made anew.
        python: Program to make it with.
        say: Told a line a step.

    Returns:
        Whether something was installed.

    Raises:
        InputError: Other files in the folder, a Python that LIT has no packages for, or a step
            failed, with its last lines.
    """
    if _is_ours(folder) and (folder / MARKER).read_text() == _digest():
        return False
    if folder.is_file() or (folder.exists() and any(folder.iterdir()) and not _is_ours(folder)):
        raise InputError(f"{folder} holds something else; give an empty folder as --env")
    version = _run("the Python of --python", [python, "-c", _VERSION]).strip()
    if version not in PYTHONS:
        raise InputError(
            f"{python} is Python {version}; LIT needs {' or '.join(PYTHONS)}, give one as --python"
        )
    say(f"making an environment in {folder}")
    _run("python -m venv", [python, "-I", "-m", "venv", "--clear", str(folder)])
    (folder / MARKER).write_text("unfinished")
    say("installing LIT's packages")
    own = str(python_of(folder))
    pip = [
        own,
        "-I",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
    ]
    _run("pip install", [*pip, "--no-deps", "-r", str(_pins())])
    _run("LIT", [own, "-I", "-c", "import lit_nlp.app"])
    (folder / MARKER).write_text(_digest())
    return True


def check(folder: Path) -> None:
    """Refuse a folder that :func:`install` did not finish, or made from other pins.

    Raises:
        InputError: With the command that mends it.
    """
    remedy = "`xlt lit install`"
    if folder != default_folder():
        remedy = f"`xlt lit install --env {folder}`"
    if not _is_ours(folder) or not python_of(folder).exists():
        raise InputError(f"no environment of LIT in {folder}; {remedy} makes it")
    if (folder / MARKER).read_text() != _digest():
        raise InputError(f"LIT in {folder} is unfinished or of other versions; {remedy} mends it")


def python_of(folder: Path) -> Path:
    """The environment's Python."""
    return folder / "bin" / "python"


def last_lines(output: str) -> str:
    """The end of what a program that failed has said, on one line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return " | ".join(lines[-NUM_LAST_LINES:]) or "it said nothing"


_VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


def _is_ours(folder: Path) -> bool:
    return (folder / MARKER).is_file()


def _pins() -> Path:
    return Path(str(files("xlt.sweep.lit") / "requirements.txt"))


def _digest() -> str:
    return hashlib.sha256(_pins().read_bytes()).hexdigest()


def _run(what: str, command: Sequence[str]) -> str:
    """Run a step; returns what it printed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise InputError(f"{what} cannot be started: {error}") from error
    if done.returncode:
        raise InputError(f"{what} failed: {last_lines(done.stdout + done.stderr)}")
    return done.stdout
