"""Write a lock: the packages of an environment, with the SHA-256 of every file.

pip refuses a file whose hash is not in the lock. torch is pinned apart, in requirements-torch.lock,
because its build (CPU or CUDA) is the one that pip finds for the machine.

Usage, after ``pip install --editable .[dev]`` into a fresh environment:
    .venv/bin/python .ci/lock.py > requirements.lock
and after ``pip install`` of the packages of the extra docs into another one:
    build/docs-env/bin/python .ci/lock.py > requirements-docs.lock
"""

from __future__ import annotations

import json
import urllib.request
from importlib.metadata import distributions

from packaging.utils import canonicalize_name, parse_sdist_filename, parse_wheel_filename
from packaging.version import Version

INDEX = "https://pypi.org/simple/{}/"
JSON = "application/vnd.pypi.simple.v1+json"
"""Form of an index page (PEP 691)."""
PYTHON = (3, 11)
"""The Python that the project is tested with; hashes of wheels for others are left out."""
LEFT_OUT = {"pip", "torch", "xlt-sweep"}
"""Packages that are pinned elsewhere or not at all."""


def fits(name: str, version: Version) -> bool:
    """Whether a file of an index is this version, and this Python can install it."""
    try:
        if not name.endswith(".whl"):
            return name.endswith((".tar.gz", ".zip")) and parse_sdist_filename(name)[1] == version
        _, of_file, _, tags = parse_wheel_filename(name)
    except ValueError:  # files of old formats
        return False
    return of_file == version and any(
        tag.interpreter in ("py3", "py2.py3", f"cp{PYTHON[0]}{PYTHON[1]}")
        or (tag.abi == "abi3" and int(tag.interpreter.removeprefix("cp3")) <= PYTHON[1])
        for tag in tags
    )


def hashes(name: str, version: str) -> list[str]:
    """SHA-256 of every file of a version."""
    asked = urllib.request.Request(INDEX.format(name), headers={"Accept": JSON})
    with urllib.request.urlopen(asked, timeout=60) as page:
        files = json.load(page)["files"]
    fitting = (file for file in files if fits(file["filename"], Version(version)))
    return sorted({file["hashes"]["sha256"] for file in fitting})


def main() -> int:
    """Print the lock; 1 if a package has no file on the index."""
    print("# Every package of the environment with the hashes of its files; see .ci/lock.py.")
    missing = 0
    pins = {canonicalize_name(d.metadata["Name"]): d.version for d in distributions()}
    for name in sorted(pins.keys() - LEFT_OUT):
        lines = [f"--hash=sha256:{sha}" for sha in hashes(name, pins[name])]
        missing += not lines
        print(" \\\n    ".join([f"{name}=={pins[name]}", *lines]), flush=True)
    return int(missing > 0)


if __name__ == "__main__":
    raise SystemExit(main())
