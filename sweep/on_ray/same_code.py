"""Check that every node of a cluster can import this very code, before any trial is started.

A worker that cannot import xlt dies without a word, and Ray reports a crash. So the import is tried
once on each node, by a function that travels whole and needs none of our code itself.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import xlt
from xlt.data.core.errors import InputError

SECONDS = 120
"""How long nodes may take to answer; importing takes 2 s on an idle one."""
SUFFIXES = (".py", ".tsv")
"""Files that can change a result; compiled ones and settings files come from these."""


def refuse_other_code() -> None:
    """Refuse a cluster whose nodes cannot import xlt, or have other code of it.

    Raises:
        InputError: With the address of each such node, what is wrong there and what to do.
    """
    look = _make_look()
    here = look(str(Path(xlt.__file__).parent), SUFFIXES)["digest"]
    remote = ray.remote(num_cpus=0, max_retries=0)(look)
    nodes = [node for node in ray.nodes() if node["Alive"]]
    answers = {}
    for node in nodes:
        place = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        answers[remote.options(scheduling_strategy=place).remote("", SUFFIXES)] = node
    ready, _ = ray.wait(list(answers), num_returns=len(answers), timeout=SECONDS)
    problems = []
    for reference in ready:
        address = answers[reference]["NodeManagerAddress"]
        try:
            there = ray.get(reference)
        except RayError as error:
            if _is_alive(answers[reference]["NodeID"]):  # else its trials run elsewhere
                problems.append(
                    f"workers on {address} end before they run anything "
                    f"({type(error).__name__}){_hiding()}; their log says where"
                )
            continue
        if there["error"]:
            problems.append(
                f"workers on {address} cannot import xlt: {there['error']}; install it there, or "
                "rename the file that stands in the way"
            )
        elif there["digest"] != here:
            problems.append(
                f"workers on {address} import other code of xlt, from {there['folder']}, than this "
                f"process, from {Path(xlt.__file__).parent}; install the same version on every "
                "node, or use `xlt submit`, which sends the code along"
            )
    if problems:
        raise InputError(problems)


def _is_alive(node_id: str) -> bool:
    return any(node["Alive"] and node["NodeID"] == node_id for node in ray.nodes())


def _hiding() -> str:
    """Files of this folder that hide an installed package from workers, which look here first."""
    installed = packages_distributions()
    names = sorted(p.name for p in Path.cwd().iterdir() if p.name.removesuffix(".py") in installed)
    return f"; {', '.join(names)} in {Path.cwd()} hides an installed package" if names else ""


def _make_look() -> Callable[[str, tuple[str, ...]], dict[str, str]]:
    """A function that Ray sends whole, because it is made here and cannot be imported."""

    def look(folder: str, suffixes: tuple[str, ...]) -> dict[str, str]:
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
            for file in sorted(f for f in root.rglob("*") if f.suffix in suffixes):
                digest.update(str(file.relative_to(root)).encode())
                digest.update(file.read_bytes())
        return {"error": "", "folder": folder, "digest": digest.hexdigest()}

    return look
