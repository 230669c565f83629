"""Text as messages show it."""

from __future__ import annotations

from collections.abc import Iterable


def first_line(text: str) -> str:
    """The first line of a text, printable characters only."""
    first = next(iter(text.strip().splitlines()), "")
    if first.isprintable():  # as nearly always
        return first
    return "".join(c if c.isprintable() else " " for c in first)


NUM_SHOWN = 3
"""Rows that an error names of each kind of problem."""


def shown(places: Iterable[str], num_shown: int = NUM_SHOWN) -> str:
    """The first few of a list, and how many more there are."""
    listed = list(places)
    more = len(listed) - num_shown
    return ", ".join(listed[:num_shown]) + (f" and {more} more" if more > 0 else "")
