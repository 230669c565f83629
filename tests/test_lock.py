"""The locks: exact versions with hashes of all that pyproject.toml asks for."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from repository import ROOT

from xlt.sweep.tracking.registry import TRACKERS

BLOCK = re.compile(r"^([a-z0-9.-]+)==(\S+)((?: \\\n +--hash=sha256:[0-9a-f]{64})+)$", re.MULTILINE)
LOCK = (ROOT / "requirements.lock").read_text("utf-8")
DOCS = (ROOT / "requirements-docs.lock").read_text("utf-8")
BESIDE = (ROOT / "requirements-exits.txt").read_text("utf-8")
TORCH = (ROOT / "requirements-torch.lock").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
BESIDE_EXTRAS = ("energy", *TRACKERS)
ELSEWHERE = {"docs", "submit", *BESIDE_EXTRAS}
"""Extras with environments of their own: of make docs, without aiohttp, and of make exits."""
EXTRAS = {
    name: group for name, group in PROJECT["optional-dependencies"].items() if name not in ELSEWHERE
}
LOCKED = {name: version for name, version, _ in BLOCK.findall(LOCK)}
LOCKED |= dict(re.findall(r"^(torch)==(\S+)$", TORCH, re.MULTILINE))
LOCKED_DOCS = {name: version for name, version, _ in BLOCK.findall(DOCS)}


@pytest.mark.parametrize("lock", [LOCK, DOCS])
def test_every_line_of_a_lock_belongs_to_a_package_with_hashes(lock: str) -> None:
    rest = BLOCK.sub("", lock)
    assert [line for line in rest.splitlines() if line and not line.startswith("#")] == []
    assert len(LOCKED) > 100 and len(LOCKED_DOCS) > 40


@pytest.mark.parametrize(
    "requirement",
    [
        *PROJECT["dependencies"],
        *(line for group in EXTRAS.values() for line in group),
        "setuptools>=77",  # builds the project in the environment of the lock
    ],
)
def test_the_lock_fulfils_pyproject(requirement: str) -> None:
    needed = Requirement(requirement)
    if needed.name != PROJECT["name"]:
        assert LOCKED[canonicalize_name(needed.name)] in needed.specifier


@pytest.mark.parametrize("name", BESIDE_EXTRAS)
def test_make_exits_fulfils_its_extras(name: str) -> None:
    """The environment of `make exits` holds the packages of the lock, too."""
    pins = dict(line.split("==") for line in BESIDE.splitlines() if not line.startswith("#"))
    installed = LOCKED | {canonicalize_name(package): version for package, version in pins.items()}
    for line in PROJECT["optional-dependencies"][name]:
        needed = Requirement(line)
        assert installed[canonicalize_name(needed.name)] in needed.specifier


@pytest.mark.parametrize("requirement", PROJECT["optional-dependencies"]["docs"])
def test_the_lock_of_the_site_fulfils_pyproject(requirement: str) -> None:
    needed = Requirement(requirement)
    assert LOCKED_DOCS[canonicalize_name(needed.name)] in needed.specifier
