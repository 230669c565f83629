"""Errors that a user can fix: each gives the value, the allowed set and the remedy."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeVar

from xlt.data.core.text import shorten

Name = TypeVar("Name", str, int)


class InputError(ValueError):
    """Bad input. One error holds all problems, so that the user can fix them together.

    Args:
        problems: One sentence for each problem: the value, the allowed set, the remedy.
        where: The file or setting with the problems; printed once, above them.

    Attributes:
        problems: The sentences, in order.
        where: The file or setting.
    """

    def __init__(self, problems: str | Iterable[str], where: str = "") -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        self.where = where
        super().__init__(self.problems, where)

    def __str__(self) -> str:
        """The file or setting, and all problems, one on each line."""
        if len(self.problems) == 1:
            return f"{self.where}: {self.problems[0]}" if self.where else self.problems[0]
        head = f"{self.where}: {len(self.problems)} problems" if self.where else "Problems"
        return "\n".join([head, *(f"  - {problem}" for problem in self.problems)])

    def __reduce__(self) -> tuple[type[InputError], tuple[list[str], str]]:
        """Pickle the arguments, because Ray sends errors between processes."""
        return type(self), (self.problems, self.where)


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Write the sentence for a name that is not in a registry or a set of settings.

    Args:
        kind: The kind of thing that has such names, e.g. ``"base model"``.
        name: The unknown name.
        known: The allowed names.

    Returns:
        A sentence with all allowed names, and with the nearest one if it is similar.
    """
    names, name = sorted(known), shorten(name)
    folded = {known_name.casefold(): known_name for known_name in names}
    near = difflib.get_close_matches(name.casefold(), folded, n=1)
    hint = f" Did you mean {folded[near[0]]!r}?" if near else ""
    return f"unknown {kind} {name!r}.{hint} Known: {', '.join(names)}."


def read_name(kind: str, values: Mapping[str, Any], known: Collection[str], where: str) -> str:
    """Read the name that chooses the other settings of a block, such as ``source``.

    Args:
        kind: Key of the name, and the kind of thing that has it.
        values: The settings of the block.
        known: The allowed names.
        where: Name of the block in errors.

    Raises:
        InputError: The name is missing or unknown.
    """
    if kind not in values:
        raise InputError(f"{kind} is required. Known: {', '.join(sorted(known))}.", where)
    name = str(values[kind])
    if name not in known:
        raise InputError(unknown(kind, name, known), where)
    return name


def find_doubles(names: Iterable[Name]) -> list[Name]:
    """List the names or numbers that occur more than once, sorted, for an error."""
    return sorted(name for name, count in Counter(names).items() if count > 1)
