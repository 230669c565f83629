"""Texts for messages and pages: harmless to a terminal, short, without secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

_BREAK = re.compile("[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]+")
_CONTROL = re.compile(
    "[\x00-\x08\v\f\x0e-\x1f\x7f-\x9f]|\r(?!\n)"  # C0 without tab and line break, DEL, C1
    "|[\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"  # line ends, bidi, surrogates
)


def plain(text: str) -> str:
    r"""Give a text with an escape, such as ``\x1b``, for each character that controls a terminal.

    These are control characters, characters that reverse the direction of the text after them
    (Unicode bidi embeddings, overrides and isolates), and halves of surrogate pairs.
    """
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def plain_line(text: str) -> str:
    """Give a :func:`plain` text on one line, with a space for tabs and line breaks."""
    return plain(_BREAK.sub(" ", text))


def first_line(text: str) -> str:
    """Give the first line of a text, with a space for each character that cannot be printed."""
    first = next(iter(text.strip().splitlines()), "")
    if first.isprintable():  # nearly always
        return first
    return "".join(c if c.isprintable() else " " for c in first)


MAX_SHOWN = 200
"""Characters of a value that an error shows."""


def shorten(text: str) -> str:
    """Cut a text that is too long for a message."""
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


MIN_RANGE = 6
"""Numbers one after the other that are written as a range."""
MAX_PARTS = 12
"""Numbers and ranges that are written out."""


def name_numbers(numbers: Iterable[int]) -> str:
    """Write numbers: ``0, 1, 2``, or ``0 to 101``; after many parts only how many follow."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][-1] + 1:
            ranges[-1].append(number)
        else:
            ranges.append([number])
    parts: list[str] = []
    for members in ranges:
        is_long = len(members) >= MIN_RANGE
        parts += [f"{members[0]} to {members[-1]}"] if is_long else map(str, members)
    return first_few(parts, MAX_PARTS)


def percent(share: float) -> str:
    """Write a share: ``2 %``."""
    return f"{100 * share:.3g} %"


NUM_NAMED = 3
"""Rows that an error names for each kind of problem."""
MAX_LABELS_SHOWN = 20
"""Labels that an error lists."""


def first_few(names: Iterable[str], num_named: int = NUM_NAMED) -> str:
    """Join the first few names, and add the number of the others."""
    all_names = list(names)
    more = len(all_names) - num_named
    return ", ".join(all_names[:num_named]) + (f" and {more} more" if more > 0 else "")


_SECRETS = (
    (re.compile(r"(?<=://)[^/\s@]+@"), "…@"),  # user and password in a URI
    (re.compile(r"\bhf_[A-Za-z0-9]{8,}"), "hf_…"),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}"), "AKIA…"),
    (re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]{8,}"), r"\1…"),
    (re.compile(r"(?i)((?:token|secret|password|passwd|api_?key|access_?key)\w*['\"]?\s*[=:]\s*)"
                r"(?:'[^']*'|\"[^\"]*\"|[^\s'\",&]+)"), r"\1…"),
)  # fmt: skip


@lru_cache(maxsize=10_000)  # settings of thousands of trials are few different texts
def remove_secrets(text: str) -> str:
    """Replace everything in a text that looks like a password, a token or a key."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text
