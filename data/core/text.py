"""Short forms of texts for messages."""

from __future__ import annotations

from collections.abc import Iterable


def first_line(text: str) -> str:
    """Give the first line of a text, with a space for each character that cannot be printed."""
    first = next(iter(text.strip().splitlines()), "")
    if first.isprintable():  # nearly always
        return first
    return "".join(c if c.isprintable() else " " for c in first)


NUM_NAMED = 3
"""Rows that an error names for each kind of problem."""


def first_few(names: Iterable[str], num_named: int = NUM_NAMED) -> str:
    """Join the first few names, and add the number of the others."""
    all_names = list(names)
    more = len(all_names) - num_named
    return ", ".join(all_names[:num_named]) + (f" and {more} more" if more > 0 else "")
