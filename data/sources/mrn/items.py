"""One line of a Machine Readable News archive: an item, checked, or the reason why it is none."""

from __future__ import annotations

from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, NamedTuple

import orjson

from xlt.data.core.text import first_few

FIELDS: dict[str, type] = {
    "altId": str,
    "body": str,
    "headline": str,
    "language": str,
    "pubStatus": str,
    "subjects": list,
    "takeSequence": int,
    "urgency": int,
    "versionCreated": str,
}
"""What is read of an item's ``data``, and the JSON type that it must have."""
TYPES = tuple(FIELDS.values())
_fields = itemgetter(*FIELDS)
KINDS = {str: "text", list: "a list", int: "a whole number"}
MAX_HEADLINE = 2000
"""Characters that a headline may have. Those of a wire service stay below 300; what is above the
limit is a body in the wrong field, or damage."""

MAX_TAKE = 9999
"""Parts that a story may have."""


class Item(NamedTuple):
    """What the reader needs to know of an item."""

    guid: str
    """Unique to this version and take; the same in both generations of the archive."""
    story: str
    """``altId``: the same in all versions and takes of a story."""
    headline: str
    """Runs of white space are one space, none at the ends; otherwise as delivered."""
    lang: str
    """As delivered, e.g. ``en``."""
    subjects: frozenset[str]
    """Codes with their prefixes, e.g. ``N2:ESGENV``."""
    moment: datetime
    """``versionCreated``, in UTC."""
    take: int
    """``takeSequence``, 1 for the first part of a version."""
    urgency: int
    """1 for alerts, 3 for articles."""
    has_body: bool
    """Whether there is text below the headline."""
    status: str
    """``pubStatus``."""


class ItemError(ValueError):
    """A line that is no item; the text is the reason."""


def parse_item(line: bytes) -> Item:
    """Read a line of an archive.

    Args:
        line: One JSON object, without the comma behind it.

    Raises:
        ItemError: It is not UTF-8 or not JSON, holds half of a surrogate pair, lacks a field, has
            one of another type, a headline without text or over :data:`MAX_HEADLINE`, or a
            ``versionCreated`` that is no ISO 8601 time.
    """
    try:
        item = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ItemError(_not_json(line, error)) from None
    if type(item) is not dict:
        raise ItemError("is not a JSON object")
    guid, data = item.get("guid"), item.get("data")
    if type(data) is not dict:
        raise ItemError(_wrong("data", data, "an object"))
    if type(guid) is not str or not guid:
        raise ItemError(_wrong("guid", guid or None, "text"))
    try:
        values = _fields(data)
        is_typed = tuple(map(type, values)) == TYPES  # not isinstance: true is no number
    except KeyError:
        is_typed = False
    if not is_typed:
        raise ItemError(
            first_few(
                _wrong(f"data.{name}", data.get(name), KINDS[kind])
                for name, kind in FIELDS.items()
                if type(data.get(name)) is not kind
            )
        )
    return _checked(guid, *values)


def _checked(
    guid: str,
    story: str,
    body: str,
    headline: str,
    lang: str,
    status: str,
    subjects: list[Any],
    take: int,
    urgency: int,
    version: str,
) -> Item:
    """The item, given the fields in the order of FIELDS and of the right types."""
    problems = []
    if len(headline) > MAX_HEADLINE:
        problems.append(f"data.headline has {len(headline)} characters, over {MAX_HEADLINE}")
    text = " ".join(headline.split())
    if not text:
        problems.append("data.headline is empty")
    if not story:
        problems.append("data.altId is empty")
    if not {*map(type, subjects)} <= {str}:
        problems.append("data.subjects holds what is not text")
    if not 0 <= take <= MAX_TAKE:
        problems.append(f"data.takeSequence is not between 0 and {MAX_TAKE}")
    moment = datetime.min
    try:
        moment = datetime.fromisoformat(version)
        if moment.tzinfo is not UTC:
            moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        problems.append(f"data.versionCreated is no ISO 8601 time ({version[:40]!r})")
    if problems:
        raise ItemError(first_few(problems))
    has_body = bool(body) and not body.isspace()
    codes = frozenset(subjects)
    # By position: by name it takes a tenth of the time of the whole line.
    return Item(guid, story, text, lang, codes, moment, take, urgency, has_body, status)


def _wrong(name: str, value: object, kind: str) -> str:
    return f"{name} is missing" if value is None else f"{name} is not {kind}"


def _not_json(line: bytes, error: orjson.JSONDecodeError) -> str:
    try:
        line.decode()
    except UnicodeDecodeError as found:  # orjson does not say where
        return f"is not UTF-8 at byte {found.start} (0x{line[found.start]:02x})"
    return f"is not JSON at character {error.pos}: {error.msg}"
