"""Check that every node of a cluster can import this very code, before any trial is started.

A worker that cannot import xlt dies without a word, and Ray reports a crash. So the import is tried
once on each node, by a function that travels whole and needs none of our code itself.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path

from ray.exceptions import RayError

import xlt
from xlt.data.core.errors import InputError
from xlt.sweep.on_ray.nodes import ask_nodes


def refuse_other_code() -> None:
    """Refuse a cluster whose nodes cannot import xlt, or have other code of it.

    Raises:
        InputError: With the address of each such node, what is wrong there and what to do.
    """
    look, package = _make_look(), Path(xlt.__file__).parent
    here = look(str(package))["digest"]
    problems = []
    for node, answer in ask_nodes(look, ""):
        address = node["NodeManagerAddress"]
        if isinstance(answer, RayError):
            reason = str(answer).strip().splitlines()[0]
            problems.append(f"workers on {address} give no answer: {reason}{_hiding()}")
        elif answer["error"]:
            problems.append(
                f"workers on {address} cannot import xlt: {answer['error']}; install it there, or "
                "rename the file that stands in the way"
            )
        elif answer["digest"] != here:
            problems.append(
                f"workers on {address} import other code of xlt, from {answer['folder']}, than "
                f"this process, from {package}; install the same version on every node, or use "
                "`xlt submit`, which sends the code along"
            )
    if problems:
        raise InputError(problems)


def _hiding() -> str:
    """Files of this folder that hide an installed package from workers, which look here first."""
    installed = dict(packages_distributions())
    installed.pop("xlt", None)  # in a checkout
    names = sorted(p.name for p in Path.cwd().iterdir() if p.name.removesuffix(".py") in installed)
    return f"; {', '.join(names)} in {Path.cwd()} hides an installed package" if names else ""


def _make_look() -> Callable[[str], dict[str, str]]:
    """A function that Ray sends whole, because it is made here and cannot be imported."""

    def look(folder: str) -> dict[str, str]:
        """Import xlt if no folder is given; the error, the folder and a hash of its code."""
        import hashlib
        import pathlib
        import traceback

        try:
            if not folder:
                import xlt
                import xlt.sweep.on_ray.tune.backend

                folder = str(pathlib.Path(xlt.__file__).parent)
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1].filename
            return {"error": f"{type(error).__name__}: {error} (in {where})"}
        digest = hashlib.sha256()
        for package in ("data", "trainables", "analysis", "sweep"):
            root = pathlib.Path(folder) / package
            for file in sorted(f for f in root.rglob("*") if f.suffix in (".py", ".tsv")):
                digest.update(str(file.relative_to(root)).encode())
                digest.update(file.read_bytes())
        return {"error": "", "folder": folder, "digest": digest.hexdigest()}

    return look
