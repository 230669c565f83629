"""Registries: name -> entry, of our own and of plug-ins."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache, cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from xlt.data.core.text import first_line

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Entry = TypeVar("Entry")
PLUGIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
"""Names that plug-ins may give; they occur in names of files."""


class Registry(Mapping[str, Entry]):
    """Our own entries, and those of plug-ins.

    A plug-in is an installed package with an entry point in the registry's group, such as
    ``[project.entry-points."xlt.metrics"]``. It is imported when all names are listed, or a name is
    looked up that is not our own. A broken plug-in is named on stderr and left out.

    Args:
        group: Group of the entry points.
        own: Name -> entry of this package; a plug-in replaces none.
        check: Function of the name and entry of a plug-in, which returns what is wrong, or an empty
            text.
    """

    def __init__(
        self, group: str, own: Mapping[str, Entry], check: Callable[[str, Any], str]
    ) -> None:
        self.group = group
        self.own = own
        self._check = check

    def __getitem__(self, name: str) -> Entry:
        return self.own[name] if name in self.own else self.plugins[name]

    def __iter__(self) -> Iterator[str]:
        return iter((*self.own, *self.plugins))

    def __len__(self) -> int:
        return len(self.own) + len(self.plugins)

    @cached_property
    def plugins(self) -> dict[str, Entry]:
        """Name -> entry of each plug-in that works."""
        entries: dict[str, Entry] = {}
        for point in list_plugins(self.group):
            if point.name in self.own or point.name in entries:
                reason = f"another {self.group} has this name; give it another name"
            else:
                reason = self._load(point, entries)
            if reason:
                print(f"{_describe(point)} is left out: {reason}", file=sys.stderr)
        return entries

    def _load(self, point: EntryPoint, entries: dict[str, Entry]) -> str:
        """Import a plug-in and add its entry; return what is wrong, or an empty text."""
        if not PLUGIN_NAME.fullmatch(point.name):
            return "its name may have letters, digits, - and _ only"
        try:
            entry = point.load()
        except (Exception, SystemExit) as error:  # code of others; any error is theirs
            return f"{type(error).__name__}: {first_line(str(error))}"
        problem = self._check(point.name, entry)
        if not problem:
            entries[point.name] = entry
        return problem


@cache
def list_plugins(group: str) -> tuple[EntryPoint, ...]:
    """List the entry points of a group in the order of their packages; imports none of them."""
    from importlib.metadata import entry_points  # 30 ms

    points = entry_points(group=group)
    return tuple(sorted(points, key=lambda p: (p.dist.name if p.dist else "", p.name)))


def _describe(point: EntryPoint) -> str:
    """Name a plug-in with its package, for messages."""
    package = f" of {point.dist.name} {point.dist.version}" if point.dist else ""
    return first_line(f"plug-in {point.name!r}{package} ({point.group})")


def load_entry(registry: Mapping[str, Any], name: str) -> Any:
    """Import the code that a registry names as text, so that torch and Ray are imported on use.

    Args:
        registry: Name -> ``package.module``, ``package.module:attribute``, or what a plug-in gave.
        name: A name in the registry.

    Returns:
        The module, or its attribute, such as a function or class.

    Raises:
        KeyError: The name is not in the registry; callers refuse unknown names of users first.
    """
    entry = registry[name]
    if not isinstance(entry, str):
        return entry
    module, _, attribute = entry.partition(":")
    loaded = import_module(module)
    return getattr(loaded, attribute) if attribute else loaded
