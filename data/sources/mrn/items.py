"""The items of a Machine Readable News archive: parsing and checking a line."""

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
"""Field of an item's ``data`` that is read -> its JSON type."""
TYPES = tuple(FIELDS.values())
_fields = itemgetter(*FIELDS)
KINDS = {str: "text", list: "a list", int: "a whole number"}
MAX_HEADLINE = 2000
"""Most characters of a headline. Headlines of a wire service have less than 300; a longer one is
damage, or a body in the wrong field."""

MAX_TAKE = 9999
"""Highest number of a take, a part of a story."""


class NewsItem(NamedTuple):
    """The fields of an item that the reader needs."""

    guid: str
    """Id of this version and take; the same in both generations of the archive."""
    story: str
    """``altId``: id of the story, the same in all its versions and takes."""
    headline: str
    """Headline with single spaces, and none at the ends."""
    lang: str
    """Language code of the archive, e.g. ``en``."""
    subjects: frozenset[str]
    """Subject codes with their prefixes, e.g. ``N2:ESGENV``."""
    moment: datetime
    """``versionCreated`` in UTC."""
    take: int
    """``takeSequence``, 1 for the first part of a version."""
    urgency: int
    """1 for alerts, 3 for articles."""
    has_body: bool
    """Whether there is text below the headline."""
    status: str
    """``pubStatus``."""


class ItemError(ValueError):
    """A line is not a valid item; the text is the reason."""


def parse_item(line: bytes) -> NewsItem:
    """Parse a line of an archive.

    Args:
        line: One JSON object, without the comma after it.

    Raises:
        ItemError: The line is not UTF-8 or not JSON, contains half of a surrogate pair, lacks a
            field or has one of another type, has a headline that is empty or longer than
            :data:`MAX_HEADLINE`, or a ``versionCreated`` that is not an ISO 8601 time.
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
        is_typed = tuple(map(type, values)) == TYPES  # isinstance would accept true as a number
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
) -> NewsItem:
    """Check the values of fields, which are in the order of FIELDS and have the right types."""
    problems = []
    if len(headline) > MAX_HEADLINE:
        problems.append(f"data.headline has {len(headline)} characters, over {MAX_HEADLINE}")
    text = " ".join(headline.split())
    if not text:
        problems.append("data.headline is empty")
    if not story:
        problems.append("data.altId is empty")
    if not {*map(type, subjects)} <= {str}:
        problems.append("data.subjects has entries that are not text")
    if not 0 <= take <= MAX_TAKE:
        problems.append(f"data.takeSequence is not between 0 and {MAX_TAKE}")
    moment = datetime.min
    try:
        moment = datetime.fromisoformat(version)
        if moment.tzinfo is not UTC:
            moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        problems.append(f"data.versionCreated is not an ISO 8601 time ({version[:40]!r})")
    if problems:
        raise ItemError(first_few(problems))
    has_body = bool(body) and not body.isspace()
    codes = frozenset(subjects)
    # By position, because keywords take a tenth of the time of the whole line.
    return NewsItem(guid, story, text, lang, codes, moment, take, urgency, has_body, status)


def _wrong(name: str, value: object, kind: str) -> str:
    return f"{name} is missing" if value is None else f"{name} is not {kind}"


def _not_json(line: bytes, error: orjson.JSONDecodeError) -> str:
    try:
        line.decode()
    except UnicodeDecodeError as bad:  # orjson does not give the position
        return f"is not UTF-8 at byte {bad.start} (0x{line[bad.start]:02x})"
    return f"is not JSON at character {error.pos}: {error.msg}"
