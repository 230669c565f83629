"""Compare the code and packages of every node with this process, before any trial starts.

A worker that cannot import xlt dies without a message, and a worker with other versions gives
other numbers. So a function that needs no code of ours looks at each node first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from ray.exceptions import RayError

import xlt
from xlt.data.core.errors import InputError
from xlt.data.core.registries import list_plugins
from xlt.sweep.machines.ray_folder import find_ray_logs
from xlt.sweep.on_ray.nodes import ask_nodes
from xlt.trainables.metrics.registry import METRICS
from xlt.trainables.models.base_models import MINIATURE, BaseModel
from xlt.trainables.models.hub import UNRESOLVED, find_metadata_folder
from xlt.trainables.models.tokenizer_files import EXTRA_OF, list_needed_packages
from xlt.trainables.spec.methods import METHOD_GROUP
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.trial.energy import INSTALL, PACKAGE

PACKAGES = (
    "ray", "torch", "transformers", "peft", "tokenizers", "numpy", "pyarrow", "scikit-learn",
    "pydantic",
)  # fmt: skip
"""Packages that change results, or the data that processes exchange."""

ENERGY_NEEDS = {PACKAGE: f"which cost.energy needs; run {INSTALL} on every node"}
"""Needs of trials that measure their energy, as of :func:`find_needs`."""

Answer: TypeAlias = dict[str, Any]
"""Versions, missing modules and code of a node, see :func:`_make_look`."""


def refuse_different_nodes(
    specs: Iterable[TrialSpec], more_needs: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Refuse a cluster whose nodes differ from this process.

    Args:
        specs: The trials; each node must have the packages that they need.
        more_needs: More modules that each node must have, each with its reason and remedy.

    Raises:
        InputError: Each difference, with the addresses of the nodes and the remedy.
    """
    specs = list(specs)
    needs, plugins = {**find_needs(specs), **more_needs}, list_used_plugins(specs)
    packages = (*PACKAGES, *dict.fromkeys(p.dist.name for p in plugins if p.dist))
    look = _make_look()
    here = look(str(Path(xlt.__file__).parent), packages, tuple(needs))
    nodes = ask_nodes(look, "", packages, tuple(needs))
    answers = [(node["NodeManagerAddress"], answer) for node, answer in nodes]
    if problems := list_differences(here, answers, needs):
        raise InputError(problems)


def list_differences(
    here: Answer, answers: Sequence[tuple[str, Answer | RayError]], needs: Mapping[str, str]
) -> list[str]:
    """List the differences between this process and the nodes.

    Args:
        here: The answer of this process.
        answers: Address and answer of each node.
        needs: Module -> a sentence that says why trials need it and how to install it.

    Returns:
        One sentence for each difference, with all nodes that have it.
    """
    nodes_of: dict[str, list[str]] = {}
    for address, answer in answers:
        for sentence in _differences_of_node(here, answer, needs):
            nodes_of.setdefault(sentence, []).append(address)
    return [sentence.format(nodes=", ".join(nodes)) for sentence, nodes in nodes_of.items()]


def find_needs(specs: Iterable[TrialSpec]) -> dict[str, str]:
    """Find the optional modules that trials need, each with its reason and remedy."""
    specs, needs = list(specs), {}
    for spec in {spec.base_identity: spec for spec in specs}.values():
        for module in _tokenizer_modules(spec):
            extra = EXTRA_OF.get(module)
            package = f"'xlt-sweep[{extra}]'" if extra else module.replace("_", "-")
            reason = f"which the tokenizer of {spec.base_model!r} needs"
            needs[module] = f"{reason}; run pip install {package} on every node"
    if any(spec.quantize_base for spec in specs):
        needs["bitsandbytes"] = (
            "which quantize_base needs; run pip install 'xlt-sweep[quantized]' on every node"
        )
    return needs


def list_used_plugins(specs: Iterable[TrialSpec]) -> list[EntryPoint]:
    """List the plug-ins whose code trials run: their methods, and all metrics."""
    methods = {spec.method for spec in specs}
    used = [plugin for plugin in list_plugins(METHOD_GROUP) if plugin.name in methods]
    return [*used, *list_plugins(METRICS.group)]


def _tokenizer_modules(spec: TrialSpec) -> list[str]:
    """List the modules that the tokenizer of a base model needs, if its files are here."""
    if not spec.has_base_model or spec.base_identity.startswith(MINIATURE):
        return []
    model = BaseModel(name=spec.base_model, path=spec.base_path)
    revision = None if spec.revision == UNRESOLVED else spec.revision
    try:
        folder = find_metadata_folder(model, revision, download=False)
    except InputError:  # only the nodes have the folder
        return []
    return list_needed_packages({f.name for f in folder.iterdir()}, folder) if folder else []


def _differences_of_node(
    here: Answer, there: Answer | RayError, needs: Mapping[str, str]
) -> Iterable[str]:
    """Yield the sentences about a node; ``{nodes}`` stands for its address."""
    if isinstance(there, RayError):
        reason = _escape(str(there).strip().splitlines()[0])
        where = _escape(find_ray_logs())
        yield f"workers on {{nodes}} give no answer: {reason}; see raylet.out of {where}"
        return
    if _minor(there["python"]) != _minor(here["python"]):
        yield (
            f"Python is {there['python']} on {{nodes}} and {here['python']} in this process; "
            f"install Python {_minor(here['python'])} on every node"
        )
    for package, version in here["versions"].items():
        other = there["versions"][package]
        # A label after + names a build, e.g. for a CUDA version, and may differ between machines.
        if other.partition("+")[0] != version.partition("+")[0]:
            yield (
                f"{package} is {other or 'missing'} on {{nodes}} and {version} in this process; "
                f"run pip install {package}=={version.partition('+')[0]} on every node"
            )
    for module in there["missing"]:
        yield f"{module} is missing on {{nodes}}, {_escape(needs[module])}"
    if there["error"]:
        yield (
            f"workers on {{nodes}} cannot import xlt: {_escape(there['error'])}; install it on "
            "every node, or rename the file that hides a package"
        )
    elif there["digest"] != here["digest"]:
        yield (
            f"workers on {{nodes}} import other code of xlt, from {_escape(there['folder'])}, than "
            f"this process, from {_escape(here['folder'])}; install the same version on every "
            "node, or use `xlt submit`, which sends the code along"
        )


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _escape(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _make_look() -> Callable[[str, Sequence[str], Sequence[str]], Answer]:
    """Make a function that Ray sends whole, because workers cannot import it from a module."""

    def look(folder: str, packages: Sequence[str], modules: Sequence[str]) -> Answer:
        """Report the versions of packages, missing modules, and a hash of the code of xlt.

        An empty folder stands for the folder from which this process imports xlt.
        """
        import hashlib
        import importlib.metadata
        import importlib.util
        import pathlib
        import platform
        import traceback

        def version(package: str) -> str:
            try:
                return importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                return ""

        answer = {
            "python": platform.python_version(),
            "versions": {package: version(package) for package in packages},
            "missing": [name for name in modules if importlib.util.find_spec(name) is None],
            "error": "",
        }
        try:
            if not folder:
                import xlt
                import xlt.sweep.on_ray.tune.backend

                folder = str(pathlib.Path(xlt.__file__).parent)
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1].filename
            return answer | {"error": f"{type(error).__name__}: {error} (in {where})"}
        digest = hashlib.sha256()
        for package in ("data", "trainables", "analysis", "sweep"):
            root = pathlib.Path(folder) / package
            for file in sorted(f for f in root.rglob("*") if f.suffix in (".py", ".tsv")):
                digest.update(str(file.relative_to(root)).encode())
                digest.update(file.read_bytes())
        return answer | {"folder": folder, "digest": digest.hexdigest()}

    return look
