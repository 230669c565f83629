"""Errors that a user can mend: the value, what is allowed, the remedy; all problems at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Bad input, told once and completely.

    Args:
        problems: One sentence a problem: the value, the allowed set, the remedy.
        where: File or setting that the problems lie in; printed once above them.

    Attributes:
        problems: The problems as given, in order.
        where: The place as given.
    """

    def __init__(self, problems: str | Iterable[str], where: str = "") -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        self.where = where
        super().__init__(self.problems, where)

    def __str__(self) -> str:
        """All problems, one a line, under the place they lie in."""
        if len(self.problems) == 1:
            return f"{self.where}: {self.problems[0]}" if self.where else self.problems[0]
        head = f"{self.where}: {len(self.problems)} problems" if self.where else "Problems"
        return "\n".join([head, *(f"  - {problem}" for problem in self.problems)])

    def __reduce__(self) -> tuple[type[InputError], tuple[list[str], str]]:
        """Pickle by arguments, because Ray carries errors between processes."""
        return type(self), (self.problems, self.where)


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The sentence for a name that is not in a registry or a set of settings.

    Args:
        kind: What the name should have named, e.g. ``"base model"``.
        name: The name that was given.
        known: The allowed names.

    Returns:
        A sentence with the nearest allowed name, if one is near, and all allowed names.
    """
    names = sorted(known)
    folded = {known_name.casefold(): known_name for known_name in names}
    near = difflib.get_close_matches(name.casefold(), folded, n=1)
    hint = f" Did you mean {folded[near[0]]!r}?" if near else ""
    return f"unknown {kind} {name!r}.{hint} Known: {', '.join(names)}."
